"""The engine agrees with the reference engine on every commit, read, window, listing and total."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest

from bamboo_sessions.domain.call_groups import groups_of
from bamboo_sessions.domain.errors import BambooSessionsError
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Committed, RecordScope, State
from bamboo_sessions.storage.memory import MemoryStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import ORDERS, DeleteQuery, ListQuery, RecordQuery, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from tests.unit.storage.sqlite.commits import START, CommitSource, key_of

pytestmark = pytest.mark.anyio


async def _outcome(call: Awaitable[object]) -> object:
    try:
        return await call
    except BambooSessionsError as exc:
        return type(exc), str(exc)


def _comparable(outcome: object) -> object:
    """A replay gives back less on a file: what was placed then isn't kept."""
    if isinstance(outcome, Committed) and outcome.replayed:
        return outcome.revision, outcome.incarnation, outcome.updated_at, outcome.message_count
    return outcome


def _content(state: object) -> object:
    return (state.head, list(state.messages)) if isinstance(state, Snapshot) else state


def _assert_groups_stay_whole(before: State, now: State) -> None:
    """Nothing was put between the messages of a call group (L124)."""
    if isinstance(before, Snapshot) and isinstance(now, Snapshot):
        places = {message.id: place for place, message in enumerate(now.messages)}
        groups = [range(group.start, group.end) for group in groups_of(now.messages)]
        for group in groups_of(before.messages):
            first, last = (places[before.messages[end].id] for end in (group.start, group.end - 1))
            assert any(first in each and last in each for each in groups)


class _Both:
    """The same calls on both engines."""

    def __init__(self, one: SessionStorage, other: SessionStorage, source: CommitSource) -> None:
        self.one, self.other, self.source = one, other, source
        self.snapshots: dict[str, list[Snapshot]] = {id_: [] for id_ in source.ids}

    async def step(self) -> None:
        random = self.source.random
        session_id = random.choice(self.source.ids)
        key = key_of(session_id)
        if random.random() < 0.04:
            query = DeleteQuery(START, keep_pinned=random.random() < 0.5)
            deleted = await self.other.delete_tree(key, query)
            assert set(await self.one.delete_tree(key, query)) == set(deleted)
        else:
            before = await self.other.read(key)
            commit = self.source.commit(session_id, before)
            expected = await _outcome(self.other.commit(commit))
            assert _comparable(await _outcome(self.one.commit(commit))) == _comparable(expected)
            if commit.expected is None:
                _assert_groups_stay_whole(before, await self.other.read(key))
        await self.compare(session_id)

    async def compare(self, session_id: str) -> None:
        key = key_of(session_id)
        state = await self.other.read(key)
        assert _content(await self.one.read(key)) == _content(state)
        assert await self.one.read_head(key) == await self.other.read_head(key)
        revision = state.revision if isinstance(state, Snapshot) else 0
        for each in (self.one, self.other):
            assert (each.still_newest(key, revision, None) is not None) is isinstance(state, Snapshot)
        for known in self.source.random.sample(self.snapshots[session_id], min(3, len(self.snapshots[session_id]))):
            assert _content(await self.one.read_newer(key, known)) == _content(state)
        mine = await self.one.read(key)
        if isinstance(mine, Snapshot):
            assert mine.messages_bytes == sum(len(to_stored(message).body) for message in mine.messages)
            self.snapshots[session_id].append(mine)
        await self.compare_windows(session_id)

    async def compare_windows(self, session_id: str) -> None:
        random, key = self.source.random, key_of(session_id)
        ids = [None, *(message.id for message in self.source.known_messages[-30:])]
        revision = random.choice([None, random.randrange(20)])
        count = random.randrange(1, 6)
        one, other = random.choice(ids), random.choice(ids)
        for after, before in ((None, None), (one, None), (None, one), (one, other)):
            query = WindowQuery(count, after=after, before=before, at_revision=revision)
            expected = await _outcome(self.other.read_window(key, query))
            assert await _outcome(self.one.read_window(key, query)) == expected, query

    async def compare_lists(self) -> None:
        filters: list[dict[str, object]] = [
            {},
            {"owner": "o1"},
            {"owner_prefix": "o"},
            {"pinned": True},
            {"pinned": False, "archived": False},
            {"parent": "a"},
            {"root": "b"},
            {"has_question": True},
            {"has_question": False},
            {"run_status": "run\ud800"},
            {"kind": "root", "updated_before": START + timedelta(milliseconds=20)},
        ]
        for fields, order, limit in product(filters, ORDERS, (1, 2)):
            query = ListQuery("default", limit=limit, order=order, total=True, **fields)  # type: ignore[arg-type]
            while True:
                page = await self.other.list_heads(query)
                assert await self.one.list_heads(query) == page
                if page.next_cursor is None:
                    break
                query = ListQuery("default", limit=limit, order=order, total=True, cursor=page.next_cursor, **fields)  # type: ignore[arg-type]
        for session_id, children in product((None, *self.source.ids), (True, False)):
            expected = await self.other.usage_totals("default", session_id, include_children=children)
            assert await self.one.usage_totals("default", session_id, include_children=children) == expected
        for session_id, reverse in product(self.source.ids, (True, False)):
            query_records = RecordQuery("k", prefix="r", reverse=reverse)
            scope = RecordScope("session", session_id)
            expected_records = await self.other.scan_records("default", scope, query_records)
            assert await self.one.scan_records("default", scope, query_records) == expected_records


@pytest.mark.parametrize("seed", range(20))
async def test_random_commits_give_what_the_reference_gives(tmp_path: Path, seed: int) -> None:
    """After each of many random commits and deletions, both engines show the same; no append parts a call group."""
    storage = SqliteStorage(tmp_path / "sessions.db", durability="relaxed")
    await storage.open()
    both = _Both(storage, MemoryStorage(), CommitSource(seed))
    for _ in range(120):
        await both.step()
    await both.compare_lists()
    report = await storage.check()
    assert report.ok, report.problems
    await storage.aclose()
