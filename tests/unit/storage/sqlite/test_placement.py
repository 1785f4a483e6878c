"""Where messages go: gaps, new positions, results behind their calls (G3, L105)."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.storage.query import Window, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from tests.unit.storage.sqlite.commits import appending, insertion, key_of

pytestmark = pytest.mark.anyio


def _user(text: str) -> Message:
    return Message.user(text, id=text)


def _result(text: str, call: str = "call") -> Message:
    return Message.tool("", tool_call_id=call, id=text)


async def _ids(storage: SqliteStorage) -> list[str]:
    state = await storage.read(key_of("s"))
    assert isinstance(state, Snapshot)
    return [message.id for message in state.messages]


@pytest.mark.parametrize("after", ["a", FRONT])
async def test_a_hundred_insertions_at_one_place_find_room(storage: SqliteStorage, after: str) -> None:
    """An exhausted gap gives all positions anew; the order stays, at old revisions too."""
    await storage.commit(appending("s", _user("a"), _user("b"), _user("gone")))
    await storage.commit(appending("s", removals=("gone",)))
    known = await storage.read(key_of("s"))
    assert isinstance(known, Snapshot)
    for number in range(100):
        pair = [_user(f"{number}-1"), _user(f"{number}-2")]
        committed = await storage.commit(appending("s", insertions=(insertion(pair, after),)))
        assert committed.placed == (Insertion(tuple(pair), after),)
    inserted = [f"{number}-{half}" for number in range(99, -1, -1) for half in (1, 2)]
    expected = ["a", *inserted, "b"] if after == "a" else [*inserted, "a", "b"]
    assert await _ids(storage) == expected
    newer = await storage.read_newer(key_of("s"), known)
    assert isinstance(newer, Snapshot)
    assert [message.id for message in newer.messages] == expected
    window = await storage.read_window(key_of("s"), WindowQuery(10, at_revision=1))
    assert isinstance(window, Window)
    assert [message.id for message in window.messages] == ["a", "b", "gone"]
    await storage.commit(appending("s", _user("end")))
    assert await _ids(storage) == [*expected, "end"]


async def test_a_long_insertion_finds_room(storage: SqliteStorage) -> None:
    """More messages than a gap has positions go inside at once."""
    await storage.commit(appending("s", _user("a"), _user("b")))
    for _ in range(19):
        await storage.commit(appending("s", insertions=(insertion([Message.user("x")], "a"),)))
    many = [_user(f"m{number}") for number in range(200)]
    await storage.commit(appending("s", insertions=(insertion(many, "a"),)))
    assert (await _ids(storage))[:202][1:201] == [message.id for message in many]


async def test_L105_a_late_result_joins_its_call(storage: SqliteStorage) -> None:
    """Call, question of a person, result: the result goes behind its call and the results that are there."""
    calls = Message.assistant("", [ToolCall("one", "f"), ToolCall("two", "f")], id="calls")
    await storage.commit(appending("s", _user("a"), calls, _result("r1", "one"), _user("b")))
    committed = await storage.commit(appending("s", _result("r2", "two"), _user("c")))
    assert await _ids(storage) == ["a", "calls", "r1", "r2", "b", "c"]
    assert [placed.after for placed in committed.placed] == ["r1", None]


async def test_a_result_joins_the_newest_of_two_calls_with_one_id(storage: SqliteStorage) -> None:
    """Providers reuse call ids: the newest call is meant."""
    first, second = (Message.assistant("", [ToolCall("call", "f")], id=id_) for id_ in ("first", "second"))
    await storage.commit(appending("s", first, _result("r1"), second, _user("a")))
    await storage.commit(appending("s", _result("r2")))
    assert await _ids(storage) == ["first", "r1", "second", "r2", "a"]


async def test_a_result_whose_call_is_gone_goes_to_the_end(storage: SqliteStorage) -> None:
    """A removed call, or none at all, leaves the result at the end."""
    call = Message.assistant("", [ToolCall("call", "f")], id="c")
    await storage.commit(appending("s", call, _user("a")))
    await storage.commit(appending("s", removals=("c",)))
    await storage.commit(appending("s", _result("r"), _user("b"), _result("q", "never")))
    assert await _ids(storage) == ["a", "r", "b", "q"]
