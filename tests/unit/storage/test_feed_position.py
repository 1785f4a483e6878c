"""Positions of feeds whose commits are numbered, and which of the oldest commits may go."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import InputError, PositionExpiredError
from bamboo_sessions.storage.feed_position import FeedBounds, FeedPosition, check_kept, due, mark_of, parse_position
from bamboo_sessions.testing.clock import START

BOUNDS = FeedBounds(FeedPosition("e", 10, "ff"), FeedPosition("e", 20, "aa"))
DAY = timedelta(days=1)


@given(st.uuids().map(str), st.integers(0, 2**63 - 1), st.text())
def test_a_position_comes_back_from_its_text(epoch: str, number: int, commit_id: str) -> None:
    """Whatever epoch, number and commit, the text names the position again."""
    position = FeedPosition(epoch, number, mark_of(commit_id))
    assert parse_position(str(position)) == position


@given(st.text())
def test_other_texts_are_refused_or_understood(text: str) -> None:
    """No text crashes the parser: it is a position that prints as it was, or refused."""
    try:
        position = parse_position(text)
    except InputError:
        return
    assert str(position) == text


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_positions_sort_as_their_numbers_do(one: int, other: int) -> None:
    """As text, too, so that whoever keeps them can compare them; and they are short."""
    first, second = (str(FeedPosition("e", number, mark_of(str(number)))) for number in (one, other))
    assert (first < second) is (one < other)
    assert len(str(FeedPosition("x" * 36, one, mark_of("c")))) < 256


@pytest.mark.parametrize(("number", "mark"), [(10, "ff"), (15, "cc"), (20, "aa")])
def test_a_position_within_the_bounds_is_good(number: int, mark: str) -> None:
    """From the floor to the end one can resume, if the commit is the same."""
    check_kept(FeedPosition("e", number, mark), FeedPosition("e", number, mark), BOUNDS)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (FeedPosition("f", 15, "cc"), "other_epoch"),
        (FeedPosition("e", 21, "cc"), "restored"),
        (FeedPosition("e", 15, "dd"), "restored"),
        (FeedPosition("e", 15), "restored"),
        (FeedPosition("e", 9, "cc"), "pruned"),
    ],
)
def test_a_position_that_would_leave_a_gap_is_refused(position: FeedPosition, reason: str) -> None:
    """Another epoch, beyond the end, another commit at this number, or below the floor."""
    with pytest.raises(PositionExpiredError) as refused:
        check_kept(position, FeedPosition("e", position.number, "cc"), BOUNDS)
    assert (refused.value.reason, refused.value.oldest) == (reason, str(BOUNDS.oldest))


def test_L123_a_position_at_the_floor_is_believed_only_with_its_mark() -> None:
    """Of the commit that was pruned last the mark is kept: another one's position there is of a lost commit."""
    check_kept(BOUNDS.oldest, BOUNDS.oldest, BOUNDS)
    with pytest.raises(PositionExpiredError) as refused:
        check_kept(FeedPosition("e", 10, "ee"), BOUNDS.oldest, BOUNDS)
    assert refused.value.reason == "restored"


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([], 0),
        ([-3, -2], 2),
        ([-3, -2, 0, -5], 2),
        ([-1, -3], 0),
        ([1000, -3, 1000, -2, 1000, 0], 4),
        ([1000, 1000], 0),
        ([1000, 0], 0),
    ],
)
def test_which_may_go(days: list[int], expected: int) -> None:
    """Up to the first that isn't older than a day; one from the future goes with the next whose time can be right."""
    assert due([START + day * DAY for day in days], before=START - DAY, now=START) == expected


def test_marks_are_stored() -> None:
    """A commit's mark never changes, for positions are kept by subscribers; any id has one."""
    assert mark_of("commit") == "270568f4a75e"
    assert len(mark_of("\ud800")) == 12


def test_the_last_number_is_a_position() -> None:
    """The largest number that storage can hold is a position, the next one isn't."""
    assert parse_position(f"e:{2**63 - 1}:").number == 2**63 - 1
    with pytest.raises(InputError):
        parse_position(f"e:{2**63}:")
