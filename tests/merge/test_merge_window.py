"""Merging a small change of a long history costs as much as the part that differs, and gives the same."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.history import CHUNK_MESSAGES, FrozenMessages
from bamboo_sessions.domain.merge_history import _merge, _merge_window, _Sides, merge_history
from bamboo_sessions.domain.merge_window import window_of
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.message_list import MessageList
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.testing import strategies
from tests.merge.helpers import call, history, message, result


@given(strategies.divergences(), st.booleans(), st.booleans(), st.booleans())
def test_a_window_gives_what_the_whole_gives(
    diverged: strategies.Divergence, before: bool, behind: bool, additions_only: bool
) -> None:
    """Whatever stands before and behind the part that differs, result and report are those of a full merge.

    But for results that were orphans before: whether they are told again isn't looked at here.
    """
    front = [message("p1"), call("p2", "call-1"), result("p3", "call-1"), message("p4")] if before else []
    end = [message("s1"), call("s2", "call-2"), result("s3", "call-2"), message("s4")] if behind else []
    mine = freeze(diverged.mine)
    sides = (diverged.base.messages, mine.messages, freeze(diverged.theirs).messages)
    base, own, durable = (FrozenMessages([*front, *side, *end]) for side in sides)
    delta = _merge_window(base, own, durable, mine.replaced, additions_only=additions_only)
    whole = _merge(_Sides.of(base, own, durable, additions_only=additions_only), mine.replaced)
    assert delta == msgspec.structs.replace(whole, orphaned=delta.orphaned)


def _edit_the_last(messages: MessageList) -> None:
    messages[-1] = Message.user("edited", id=messages[-1].id)


def _insert_in_the_middle(messages: MessageList) -> None:
    messages.insert(5_000, Message.user("new"))


_CHANGES: list[Callable[[MessageList], object]] = [
    _edit_the_last,
    _insert_in_the_middle,
    lambda messages: messages.pop(),
    lambda messages: messages.insert(0, Message.user("new")),
    lambda messages: messages.__delitem__(slice(10, 20)),
]


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize("others", [False, True])
def test_a_small_change_of_a_long_history_looks_at_a_small_part(
    change: Callable[[MessageList], object], others: bool
) -> None:
    """Of 10,000 messages a handful is merged, and all chunks but the touched ones are shared with what is committed."""
    base = FrozenMessages(history(str(number) for number in range(10_000)))
    copy, theirs = MessageList(base), MessageList(base)
    change(copy)
    if others:
        change(theirs)
    mine, durable = copy.frozen(), theirs.frozen()
    window = window_of(base, mine, durable)
    assert window is not None
    assert max(len(window.base), len(window.mine), len(window.durable)) < 20
    delta = merge_history(base, mine, durable, replaced=copy.replaced)
    assert len(delta.messages.unshared(durable)) <= 2 * CHUNK_MESSAGES


def test_a_result_whose_call_is_outside_is_merged_with_the_whole() -> None:
    """Its call may be anywhere before the part that differs, so that part isn't enough."""
    base = FrozenMessages([call("c", "1"), *history("abd")])
    mine = FrozenMessages([*base[:3], result("r", "1"), base[3]])
    assert window_of(base, mine, base) is None
    assert [one.id for one in merge_history(base, mine, base, replaced={}).messages] == ["c", "r", "a", "b", "d"]
