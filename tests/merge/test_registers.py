"""Registers, the map and the summary: merged three-way, each on its own."""

from typing import Any

import pytest

from bamboo_sessions.domain.head import Summary
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import (
    Policy,
    fields_of,
)
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.usage import TokenUsage
from tests.merge.helpers import changed, load, message, save, snapshot

# --- registers and the map


REGISTERS: list[tuple[str, Any, Any]] = [
    ("model", "mine", "theirs"),
    ("provider", "mine", "theirs"),
    ("reasoning_effort", "high", "low"),
    ("workspace", "/mine", "/theirs"),
    ("token_usage", TokenUsage(input_tokens=1), TokenUsage(input_tokens=2)),
    ("run_state", {"status": "mine"}, "theirs"),
]


def test_every_register_is_tested() -> None:
    """The cases below cover all registers of the table."""
    assert {name for name, _, _ in REGISTERS} == set(fields_of(Policy.REGISTER))


@pytest.mark.parametrize(("name", "mine", "theirs"), REGISTERS)
def test_registers_are_merged_one_by_one(name: str, mine: object, theirs: object) -> None:
    """Changed by me → mine; by them → theirs; by both → the saver's, reported; a clearing is a change."""
    base = snapshot()
    copy = load(base)
    assert getattr(save(copy, changed(base, {name: theirs})).head, name) == theirs
    setattr(copy, name, mine)
    assert getattr(save(copy, changed(base, append="x")).head, name) == mine
    both = save(copy, changed(base, {name: theirs}))
    assert getattr(both.head, name) == mine
    assert both.conflicts == (MergeConflict(name, "mine"),)
    assert save(copy, changed(base, {name: mine})).conflicts == ()
    filled = changed(base, {name: theirs})
    copy = load(filled)
    setattr(copy, name, None)
    assert getattr(save(copy, changed(filled, append="x")).head, name) is None


def test_the_map_is_merged_key_by_key() -> None:
    """Each key is a register of its own; a removal is a change."""
    base = snapshot(metadata={"same": 1, "mine": 1, "theirs": 1, "both": 1, "gone": 1, "gone there": 1, "fought": 1})
    durable = changed(base, {"metadata": {"same": 1, "mine": 1, "theirs": 2, "both": 2, "gone": 1, "new there": 1}})
    copy = load(base)
    copy.metadata.update({"mine": 3, "both": 3, "new": 3, "fought": 3})
    del copy.metadata["gone"]
    merged = save(copy, durable)
    assert merged.head.metadata == {
        "same": 1,
        "mine": 3,
        "theirs": 2,
        "both": 3,
        "new": 3,
        "new there": 1,
        "fought": 3,
    }
    assert set(merged.conflicts) == {MergeConflict("metadata.both", "mine"), MergeConflict("metadata.fought", "mine")}


def test_missing_is_not_null() -> None:
    """In the map a key with the value `null` is there, and a key that is missing isn't (L06)."""
    base = snapshot(metadata={"a": None, "b": None})
    copy = load(base)
    del copy.metadata["a"]
    copy.metadata["c"] = None
    merged = save(copy, changed(base, append="x"))
    assert merged.head.metadata == {"b": None, "c": None}


# --- the summary


def test_a_summary_is_a_register() -> None:
    """It is taken from the side that changed it, and fought over like any other."""
    base = snapshot("ab")
    copy = load(base)
    copy.summary = Summary("mine", "a")
    assert save(copy, changed(base, append="x")).head.summary == Summary("mine", "a")
    theirs = changed(base, {"summary": Summary("theirs", "b")})
    assert save(load(base), theirs).head.summary == Summary("theirs", "b")
    both = save(copy, theirs)
    assert both.head.summary == Summary("mine", "a")
    assert both.conflicts == (MergeConflict("summary", "mine"),)


def test_a_summary_is_dropped_with_its_message() -> None:
    """Once the message that it covers isn't live, the summary is gone: in any order of the two changes."""
    base = snapshot("ab", summary=Summary("text", "a"))
    copy = load(base)
    del copy.messages[0]
    assert save(copy, base).head.summary is None
    assert save(copy, changed(base, append="x")).head.summary is None
    copy = load(snapshot("ab"))
    copy.summary = Summary("text", "a")
    assert save(copy, Snapshot(changed(snapshot("ab")).head, FrozenMessages([message("b")]))).head.summary is None
    copy = load(base)
    copy.summary = Summary("never there", "z")
    assert save(copy, base).head.summary is None
    first = Session("s")
    first.summary = Summary("text", "z")
    assert save(first, None).head.summary is None


def test_a_summary_of_a_message_saved_with_it_stays() -> None:
    """A compaction may add the message that its summary covers."""
    base = snapshot("ab")
    copy = load(base)
    copy.messages[:] = [message("s")]
    copy.summary = Summary("text", "s")
    assert save(copy, changed(base, append="x")).head.summary == Summary("text", "s")
