"""Durability: what was acknowledged is there when the data is opened again."""

from __future__ import annotations

import asyncio

import pytest

from bamboo_sessions.domain.errors import MessageIdConflictError, SessionDeletedError
from bamboo_sessions.domain.usage import TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.storage.commit import RecordScope, RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, ListQuery, RecordQuery, Window, WindowQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance, MakeStorage
from bamboo_sessions.testing.conformance.histories import History
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    change,
    content,
    creation,
    ids_in,
    key_of,
    recording,
    scope_of,
    snapshot_of,
    user,
    users,
)


class DurabilityConformance(Conformance):
    """G1: a storage that is opened on the same data shows everything, and goes on where the last one stopped."""

    async def test_opening_and_closing_twice(self, storage: SessionStorage) -> None:
        """`open` and `aclose` are idempotent, and a closed storage can be opened again."""
        await storage.open()
        await storage.commit(creation("s", user("a")))
        await storage.aclose()
        await storage.aclose()
        await storage.open()
        assert await ids_in(storage) == ["a"]

    async def test_everything_is_there_again(self, storage: SessionStorage, make_storage: MakeStorage) -> None:
        """Sessions, every revision of their messages, records and the ledger survive."""
        self._needs_durability()
        history = History(storage, seed=5)
        await history.run(25)
        usage = (TokenUsageRecord(id="u", at=START, input_tokens=7),)
        await storage.commit(appending("s", usage=usage, records=(RecordWrite("k", "a", b"1"),)))
        await storage.write_records(recording(RecordWrite("k", "a", b"2"), scope=RecordScope("shared", "app")))
        before = await snapshot_of(storage)
        rows = await storage.list_heads(ListQuery("default", total=True))
        await storage.aclose()

        again = await make_storage()
        assert content(await snapshot_of(again)) == content(before)
        assert await again.list_heads(ListQuery("default", total=True)) == rows
        for revision, snapshot in enumerate(history.snapshots, start=1):
            window = await again.read_window(KEY, WindowQuery(1_000, at_revision=revision))
            assert isinstance(window, Window)
            assert list(window.messages) == list(snapshot.messages)
        for scope, value in ((scope_of("s"), b"1"), (RecordScope("shared", "app"), b"2")):
            (record,) = await again.scan_records("default", scope, RecordQuery("k"))
            assert (record.key, record.value) == ("a", value)
        totals = await again.usage_totals("default", "s", include_children=False)
        assert totals == TokenUsageTotals(calls=1, input_tokens=7)
        await again.aclose()

    async def test_promises_outlive_the_process(self, storage: SessionStorage, make_storage: MakeStorage) -> None:
        """G4, G9: commit ids, removed messages and tombstones are known again, and counters go on."""
        self._needs_durability()
        first = creation("s", *users("a", "b"))
        await storage.commit(first)
        await storage.commit(change(await snapshot_of(storage), removals=("a",)))
        await storage.commit(creation("gone", user("x")))
        await storage.delete_tree(key_of("gone"), DeleteQuery(at=START))
        await storage.aclose()

        again = await make_storage()
        assert await again.settle(KEY, first.commit_id) == 1
        assert (await again.commit(first)).replayed
        assert (await again.commit(appending("s", user("a")))).duplicates == ("a",)
        with pytest.raises(MessageIdConflictError):
            await again.commit(appending("s", user("other", id="a")))
        with pytest.raises(SessionDeletedError):
            await again.commit(appending("gone", user("y")))
        assert (await again.commit(creation("gone", reuse_deleted=True))).revision == 3
        assert (await again.commit(appending("s", user("c")))).revision == 3
        assert await ids_in(again) == ["b", "c"]
        await again.aclose()

    async def test_L85_many_open_at_once(self, storage: SessionStorage, make_storage: MakeStorage) -> None:
        """Many storages opened at once on the same data all succeed, and all see it."""
        self._needs_durability()
        await storage.commit(creation("s", user("a")))
        many = await asyncio.gather(*(make_storage() for _ in range(8)))
        try:
            assert [await ids_in(each) for each in many] == [["a"]] * 8
        finally:
            for each in many:
                await each.aclose()

    async def test_the_other_sees_each_commit(self, storage: SessionStorage, second: SessionStorage) -> None:
        """What one storage acknowledged, the next call of another one sees."""
        await storage.commit(creation())
        known = await snapshot_of(second)
        for number in range(10):
            writer, reader = (storage, second) if number % 2 else (second, storage)
            await writer.commit(appending("s", user(str(number))))
            assert content(await snapshot_of(reader)) == content(await snapshot_of(writer))
            newer = await reader.read_newer(KEY, known)
            assert newer == await snapshot_of(reader)

    async def test_a_check_finds_nothing_wrong(self, storage: SessionStorage) -> None:
        """After random changes and deletions the engine's own check is content, and counts what there is."""
        for seed in range(3):
            await History(storage, seed, session_id=f"s{seed}").run(20)
        await storage.delete_tree(key_of("s0"), DeleteQuery(at=START))
        report = await storage.check()
        assert report.ok, report.problems
        assert report.sessions == 2
        stats = await storage.stats()
        assert all(value >= 0 for value in stats.values())

    def _needs_durability(self) -> None:
        if not self.durable:
            pytest.skip("this storage forgets its data when it is closed (durable = False)")
