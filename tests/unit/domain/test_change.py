"""What kinds of things a head's change is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bamboo_sessions import (
    PendingQuestion,
    Summary,
    TokenUsage,
)
from bamboo_sessions.domain.change import head_kinds
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.merge import POLICY, Policy
from bamboo_sessions.testing.conformance.kit import head_of

QUESTION = PendingQuestion("1", "ask", "Go?")

CHANGES: dict[str, Any] = {
    "title": "T",
    "title_version": 1,
    "title_generated": True,
    "pinned": True,
    "archived": True,
    "metadata_version": 1,
    "authoritative_keys": frozenset({"k"}),
    "owner": "ann",
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


@pytest.mark.parametrize("name", CHANGES)
def test_each_field_of_a_head_is_one_kind(name: str) -> None:
    """A change of any field is told as the kind that its policy makes it; an equal value is no change."""
    kinds = {
        Policy.AUTHORITATIVE: ("authoritative",),
        Policy.OWNER: ("authoritative",),
        Policy.QUESTIONS: ("questions",),
    }
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


def test_equal_questions_are_no_change() -> None:
    """Questions that were read again aren't a change; a value that no person set is one of the head."""
    before = msgspec.structs.replace(head_of("s"), questions=(QUESTION,), metadata={"k": 1})
    again = msgspec.structs.replace(before, questions=(msgspec.structs.replace(QUESTION),))
    assert head_kinds(before, again) == ()
    assert head_kinds(before, msgspec.structs.replace(before, metadata={"k": 2})) == ("head",)
