"""Positions of the feed, and what kinds of things a head's change is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions import (
    InputError,
    PendingQuestion,
    PositionExpiredError,
    SubscriberTooSlowError,
    Summary,
    TokenUsage,
)
from bamboo_sessions.domain.change import FeedBounds, FeedPosition, check_position, head_kinds, mark_of, parse_position
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.merge import POLICY, Policy
from bamboo_sessions.testing.conformance.kit import head_of

BOUNDS = FeedBounds(FeedPosition("e", 10), FeedPosition("e", 20, "aa"))
QUESTION = PendingQuestion("1", "ask", "Go?")

CHANGES: dict[str, Any] = {
    "title": "T",
    "title_version": 1,
    "title_generated": True,
    "pinned": True,
    "archived": True,
    "metadata_version": 1,
    "authoritative_keys": frozenset({"k"}),
    "model": "m",
    "provider": "p",
    "reasoning_effort": "high",
    "workspace": "/w",
    "token_usage": TokenUsage(input_tokens=1),
    "run_state": "running",
    "summary": Summary("text", "m1"),
    "metadata": {"plain": 1},
    "questions": (QUESTION,),
}


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
    assert position.number == int(text.split(":")[1])


@pytest.mark.parametrize(("number", "mark"), [(10, ""), (10, "bb"), (15, "cc"), (20, "aa"), (20, "")])
def test_a_position_within_the_bounds_is_good(number: int, mark: str) -> None:
    """From the floor to the end one can resume, if the commit is the same or nobody knows."""
    there = FeedPosition("e", number, mark if number > 10 else "")
    for was_following in (False, True):
        check_position(FeedPosition("e", number, mark), there, BOUNDS, was_following=was_following)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (FeedPosition("f", 15), "other_epoch"),
        (FeedPosition("e", 21), "restored"),
        (FeedPosition("e", 15, "dd"), "restored"),
        (FeedPosition("e", 9), "pruned"),
    ],
)
def test_a_position_that_would_leave_a_gap_is_refused(position: FeedPosition, reason: str) -> None:
    """Another epoch, beyond the end, another commit at this number, or below the floor."""
    there = FeedPosition("e", position.number, "cc" if position.number > 10 else "")
    with pytest.raises(PositionExpiredError) as refused:
        check_position(position, there, BOUNDS, was_following=False)
    assert (refused.value.reason, refused.value.oldest) == (reason, "e:10:")
    kind = SubscriberTooSlowError if reason == "pruned" else PositionExpiredError
    with pytest.raises(kind):
        check_position(position, there, BOUNDS, was_following=True)


@pytest.mark.parametrize("name", CHANGES)
def test_each_field_of_a_head_is_one_kind(name: str) -> None:
    """A change of any field is told as the kind that its policy makes it; an equal value is no change."""
    kinds = {Policy.AUTHORITATIVE: ("authoritative",), Policy.QUESTIONS: ("questions",)}
    before = head_of()
    after = msgspec.structs.replace(before, **{name: CHANGES[name]})
    assert head_kinds(before, after) == kinds.get(POLICY[name], ("head",))
    assert head_kinds(after, msgspec.structs.replace(after, **{name: CHANGES[name]})) == ()


def test_every_field_that_can_change_is_looked_at() -> None:
    """The fields tried above are all that a commit can change."""
    left_out = {name for name, policy in POLICY.items() if policy in {Policy.FIXED, Policy.CLOCK}}
    assert set(CHANGES) == set(SessionHead.__struct_fields__) - left_out


def test_a_value_that_a_person_set_is_authoritative_wherever_it_was_changed() -> None:
    """Of one map, the keys in the authoritative group and the others are told apart."""
    before = head_of(metadata={"set": 1, "plain": 1}, authoritative_keys=frozenset({"set"}))
    for metadata, kinds in (
        ({"set": 2, "plain": 1}, ("authoritative",)),
        ({"set": 1, "plain": 2}, ("head",)),
        ({"set": 2}, ("authoritative", "head")),
        ({"set": 1.0, "plain": 1}, ("authoritative",)),
    ):
        assert head_kinds(before, msgspec.structs.replace(before, metadata=metadata)) == kinds


def test_a_new_session_names_its_questions_only() -> None:
    """Everything of a new head is new; that it asks is worth telling."""
    assert head_kinds(None, head_of(title="T", model="m")) == ()
    assert head_kinds(None, head_of(questions=(QUESTION,))) == ("questions",)


def test_marks_are_stored() -> None:
    """A commit's mark never changes, for positions are kept by subscribers; any id has one."""
    assert mark_of("commit") == "270568f4a75e"
    assert len(mark_of("\ud800")) == 12


def test_the_last_number_is_a_position() -> None:
    """The largest number that storage can hold is a position, the next one isn't."""
    assert parse_position(f"e:{2**63 - 1}:").number == 2**63 - 1
    with pytest.raises(InputError):
        parse_position(f"e:{2**63}:")


def test_a_position_without_a_mark_is_trusted() -> None:
    """Where nobody knows the commit's mark, its number decides."""
    check_position(FeedPosition("e", 15), FeedPosition("e", 15, "aa"), BOUNDS, was_following=False)
    check_position(FeedPosition("e", 15, "aa"), FeedPosition("e", 15), BOUNDS, was_following=False)


def test_equal_questions_are_no_change() -> None:
    """Questions that were read again aren't a change; a value that no person set is one of the head."""
    before = msgspec.structs.replace(head_of("s"), questions=(QUESTION,), metadata={"k": 1})
    again = msgspec.structs.replace(before, questions=(msgspec.structs.replace(QUESTION),))
    assert head_kinds(before, again) == ()
    assert head_kinds(before, msgspec.structs.replace(before, metadata={"k": 2})) == ("head",)
