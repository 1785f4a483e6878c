"""Purging: what removed and edited messages said is forgotten once it is old; that they were there is not (G4)."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.errors import MessageIdConflictError, MessageNotFoundError
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import HistorySource
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Window, WindowQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    SECOND,
    appending,
    change,
    creation,
    edited,
    ids_in,
    snapshot_of,
    user,
    users,
)

ALL = 1_000


async def _rewritten(storage: SessionStorage) -> Snapshot:
    """`a b c d`; at second 1 `a` is removed, at 2 `b` is edited, at 3 `c` is removed."""
    await storage.commit(creation("s", *users("a", "b", "c", "d")))
    await storage.commit(change(await snapshot_of(storage), at=START + SECOND, removals=("a",)))
    edits = (to_stored(edited(user("b"), "B")),)
    await storage.commit(change(await snapshot_of(storage), at=START + 2 * SECOND, edits=edits))
    await storage.commit(change(await snapshot_of(storage), at=START + 3 * SECOND, removals=("c",)))
    return await snapshot_of(storage)


class PurgingConformance(Conformance):
    """Old versions go; living messages, ids and hashes stay."""

    async def test_old_versions_are_purged_in_slices(self, storage: SessionStorage) -> None:
        """The oldest go first, as many as asked for, up to the time given; 0 says that none is left."""
        await _rewritten(storage)
        assert await storage.purge_versions(START + SECOND, ALL) == 0
        assert await storage.purge_versions(START + 3 * SECOND, 1) == 1
        assert await storage.purge_versions(START + 3 * SECOND, ALL) == 1
        assert await storage.purge_versions(START + 3 * SECOND, ALL) == 0
        assert await storage.purge_versions(START + 4 * SECOND, ALL) == 1

    async def test_a_purge_changes_nothing_that_lives(self, storage: SessionStorage) -> None:
        """The session is what it was, at the same revision, and goes on being changed."""
        before = await _rewritten(storage)
        assert await storage.purge_versions(START + 9 * SECOND, ALL) == 3
        after = await snapshot_of(storage)
        assert (after.head, list(after.messages)) == (before.head, list(before.messages))
        await storage.commit(appending("s", user("e")))
        assert await ids_in(storage) == ["b", "d", "e"]
        assert (await storage.check()).ok

    async def test_what_was_purged_is_known_still(self, storage: SessionStorage) -> None:
        """Writing a purged message again is a duplicate and brings nothing back; other content is a conflict (G4)."""
        await _rewritten(storage)
        await storage.purge_versions(START + 9 * SECOND, ALL)
        committed = await storage.commit(appending("s", user("a"), user("b")))
        assert set(committed.duplicates) == {"a", "b"}
        assert await ids_in(storage) == ["b", "d"]
        with pytest.raises(MessageIdConflictError):
            await storage.commit(appending("s", user("other", id="a")))

    async def test_a_revision_with_purged_messages_cannot_be_read(self, storage: SessionStorage) -> None:
        """A window with one of them is refused and names it; others are read, and a purged anchor keeps its place."""
        await _rewritten(storage)
        await storage.purge_versions(START + 2 * SECOND, ALL)
        with pytest.raises(MessageNotFoundError) as refused:
            await storage.read_window(KEY, WindowQuery(ALL, at_revision=1))
        assert refused.value.message_id == "a"
        for query in (WindowQuery(2, at_revision=1), WindowQuery(2, after="b", at_revision=1)):
            window = await storage.read_window(KEY, query)
            assert isinstance(window, Window)
            assert [message.id for message in window.messages] == ["c", "d"]
        newest = await storage.read_window(KEY, WindowQuery(ALL, after="a"))
        assert isinstance(newest, Window)
        assert [message.id for message in newest.messages] == ["b", "d"]

    async def test_a_revision_with_purged_messages_cannot_be_forked(self, storage: SessionStorage) -> None:
        """A fork that would have holes is refused, and nothing is made; one of a later revision works."""
        await _rewritten(storage)
        await storage.purge_versions(START + 2 * SECOND, ALL)
        with pytest.raises(MessageNotFoundError) as refused:
            await storage.commit(creation("fork", history_from=HistorySource("s", 1, None)))
        assert refused.value.message_id == "a"
        assert await storage.read(KEY._replace(session_id="fork")) is None
        await storage.commit(creation("fork", history_from=HistorySource("s", 2, None)))
        assert await ids_in(storage, "fork") == ["b", "c", "d"]
