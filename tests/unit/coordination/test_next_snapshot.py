"""From a snapshot and a commit to the next snapshot, without reading."""

from __future__ import annotations

import msgspec
import pytest

from bamboo_sessions import MemoryStorage
from bamboo_sessions.coordination.next_snapshot import next_snapshot, with_insertions
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.storage.commit import Commit
from bamboo_sessions.testing.conformance.kit import (
    appending,
    change,
    content,
    creation,
    edited,
    head_of,
    insertion,
    result,
    snapshot_of,
    user,
    users,
)
from bamboo_sessions.testing.conformance.kit import call as tool_call

pytestmark = pytest.mark.anyio


async def test_a_commit_that_adds_can_be_followed() -> None:
    """Appends, insertions, joining results and new heads lead to the snapshot that storage has."""
    storage = MemoryStorage()
    await storage.commit(creation("s", user("a"), tool_call("c", "1"), user("b")))
    places = (insertion(users("0"), FRONT), insertion(users("a1"), "a"))
    commits: list[Commit] = [
        appending("s", user("z")),
        appending("s", result("r", "1"), user("y")),
        appending("s", insertions=places),
        appending("s", head=head_of(title="T")),
        appending("s", user("x"), user("z")),
    ]
    for commit in commits:
        before = await snapshot_of(storage)
        committed = await storage.commit(commit)
        after = next_snapshot(before, commit, committed)
        assert after is not None
        assert content(after) == content(await snapshot_of(storage))


async def test_what_cannot_be_told_is_not_told() -> None:
    """L09, L12: edits, removals, rewritings, replays, another life or a gap give `None`, never a guess."""
    storage = MemoryStorage()
    await storage.commit(creation("s", *users("a", "b", "c")))
    old = await snapshot_of(storage)
    append = appending("s", user("d"))
    appended = await storage.commit(append)
    current = await snapshot_of(storage)
    assert next_snapshot(current, append, await storage.commit(append)) is None
    assert next_snapshot(old, append, msgspec.structs.replace(appended, incarnation=2)) is None
    assert next_snapshot(old, append, msgspec.structs.replace(appended, message_count=9)) is None
    for fields in (
        {"removals": ("a",)},
        {"edits": (to_stored(edited(user("b"), "B")),)},
        {"insertions": (insertion(users("z")),), "removals": ("b", "c", "d"), "replace": True},
    ):
        state = await snapshot_of(storage)
        commit = change(state, **fields)
        assert next_snapshot(state, commit, await storage.commit(commit)) is None
    assert next_snapshot(old, append, await storage.commit(appending("s", user("e")))) is None


async def test_a_gap_is_noticed_though_the_count_is_right() -> None:
    """L12: if somebody removed one message and added another in between, the older snapshot can't be advanced."""
    storage = MemoryStorage()
    await storage.commit(creation("s", *users("a", "b")))
    old = await snapshot_of(storage)
    await storage.commit(change(old, removals=("a",), insertions=(insertion(users("c")),)))
    commit = appending("s", user("d"))
    committed = await storage.commit(commit)
    assert committed.message_count == len(old.messages) + 1
    assert next_snapshot(old, commit, committed) is None


def test_insertions_go_to_their_places() -> None:
    """Front, behind a message, and end, one after the other."""
    insertions = [Insertion(users("0"), FRONT), Insertion(users("a1", "a2"), "a"), Insertion(users("z"))]
    messages = with_insertions(FrozenMessages(users("a", "b")), insertions)
    assert [message.id for message in messages] == ["0", "a", "a1", "a2", "b", "z"]
