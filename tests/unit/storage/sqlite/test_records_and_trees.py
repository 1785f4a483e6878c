"""Records and trees: the engine and the reference engine tell the same stories, errors and all.

Each example is a list of steps on a few sessions, kinds and keys, so that they meet: creations below one another, forks
with records, whole sessions written over living ones, deletions, and writes of records by themselves and in commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.errors import BambooSessionsError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, HistorySource, RecordScope, RecordWrite
from bamboo_sessions.storage.memory import MemoryStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, ListQuery, RecordQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import appending, creation, head_of, key_of, recording, user

IDS: Final = ("a", "b", "c", "d")
KINDS: Final = ("k", "l")
SCOPES: Final = (
    *(RecordScope("session", id_) for id_ in IDS),
    RecordScope("shared", "a"),
    RecordScope("shared", "app"),
)


class Step(NamedTuple):
    """One call, and what it is made of, for whoever reads a failure."""

    what: object
    call: Callable[[SessionStorage], Awaitable[object]]

    def __repr__(self) -> str:
        return repr(self.what)


_ids: Final = st.sampled_from(IDS)
_commit_ids: Final = st.uuids().map(str) | st.sampled_from(["commit 1", "commit 2"])


def _mostly(usual: object, *odd: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - any value
    """Now and then one of `odd`."""
    return st.sampled_from([usual] * (4 * len(odd)) + list(odd))


_keys: Final = st.sampled_from(["x", "y"]) | _mostly("x", "é", "\U0001f600", "\uffff", "", "\ud800", "n\0", "x" * 513)


@st.composite
def _writes(draw: st.DrawFn) -> tuple[RecordWrite, ...]:
    return tuple(
        RecordWrite(
            draw(st.sampled_from(KINDS)),
            draw(_keys),
            draw(st.sampled_from([None, b"", b"1", b"2"])),
            if_absent=draw(_mostly(False, True, "skip")),
            if_version=draw(_mostly(None, 1, 2, 3, 4)),
            scope=draw(st.none() | _mostly(SCOPES[0], *SCOPES)),
        )
        for _ in range(draw(st.integers(0, 4)))
    )


@st.composite
def _heads(draw: st.DrawFn, id_: str) -> SessionHead:
    return head_of(
        id_,
        parent_session_id=draw(_mostly(None, *IDS) | st.sampled_from(["a", "b"])),
        root_session_id=draw(_mostly(id_, *IDS)),
        spawn_depth=draw(_mostly(0, 1, 2)),
        owner=draw(st.sampled_from([None, "ann", "ben"]) | _mostly(None, "", "\ud800")),
        kind=draw(_mostly("child", "root", "child\0")),
        pinned=draw(st.booleans()),
        metadata_version=draw(_mostly(0, 1, 2**53, 2**62, 2**63, -1)),
    )


@st.composite
def _creations(draw: st.DrawFn) -> Step:
    id_ = draw(_ids)
    kinds = draw(st.sampled_from([None, (), ("k",), ("l", "none")]))
    source = HistorySource(draw(_mostly("a", *IDS)), draw(st.integers(1, 4)), None, kinds)
    commit = creation(
        id_,
        *(user(text) for text in draw(st.lists(st.sampled_from(["m", "n"]), max_size=1))),
        head=draw(_heads(id_)),
        commit_id=draw(_commit_ids),
        records=draw(_writes()),
        history_from=draw(st.none() | st.just(source)),
        reuse_deleted=draw(_mostly(True, False)),
    )
    if draw(st.booleans()):
        commit = msgspec.structs.replace(commit, expected=None, head=None, initial_head=commit.head)
    return _committing(commit)


@st.composite
def _appends(draw: st.DrawFn) -> Step:
    commit = appending(
        draw(_mostly("a", *IDS)),
        *(user(text) for text in draw(st.lists(st.sampled_from(["m", "n", "o"]), max_size=2, unique=True))),
        commit_id=draw(_commit_ids),
        records=draw(_writes()),
        incarnation=draw(_mostly(None, 1, 2, 3)),
        if_last_message=draw(_mostly(None, "", "m", "n")),
    )
    return _committing(commit)


def _committing(commit: Commit) -> Step:
    async def step(storage: SessionStorage) -> object:
        committed = await storage.commit(commit)
        if committed.replayed:  # what was placed then isn't kept in a file
            return msgspec.structs.replace(committed, placed=(), duplicates=(), changed=True, head=None)
        return committed

    return Step(commit, step)


@st.composite
def _record_commits(draw: st.DrawFn) -> Step:
    commit = recording(
        *draw(_writes()),
        scope=draw(_mostly(SCOPES[-1], *SCOPES)),
        commit_id=draw(_commit_ids),
        incarnation=draw(_mostly(None, 1, 2, 3)),
    )
    return Step(commit, lambda storage: storage.write_records(commit))


@st.composite
def _deletions(draw: st.DrawFn) -> Step:
    key = key_of(draw(_ids))
    query = DeleteQuery(
        at=START,
        keep_pinned=draw(st.booleans()),
        only_empty=draw(st.sampled_from([False, False, True])),
        if_revision=draw(_mostly(None, 1, 2, 3)),
        commit_id=draw(st.none() | _commit_ids),
    )

    async def step(storage: SessionStorage) -> object:
        deleted = await storage.delete_tree(key, query)
        return deleted[:1], set(deleted)

    return Step(("delete", key, query), step)


@st.composite
def _whole_sessions(draw: st.DrawFn) -> Step:
    id_, parent = draw(_ids), draw(st.none() | _ids)
    pinned = draw(st.booleans())

    async def step(storage: SessionStorage) -> object:
        session = Session(id_, parent_session_id=parent, pinned=pinned, created_at=START, updated_at=START)
        await storage.save_session(session)
        return None

    return Step(("whole", id_, parent, pinned), step)


STORIES: Final = st.lists(
    st.one_of(_creations(), _creations(), _appends(), _appends(), _record_commits(), _deletions(), _whole_sessions()),
    min_size=1,
    max_size=14,
)


async def _outcome(call: Awaitable[object]) -> object:
    try:
        return await call
    except BambooSessionsError as exc:
        return type(exc), str(exc), exc.hint


async def _shown(storage: SessionStorage) -> list[object]:
    """All that can be seen of sessions, records and messages."""
    seen: list[object] = []
    for id_ in IDS:
        state = await storage.read(key_of(id_))
        seen.append((state.head, list(state.messages)) if isinstance(state, Snapshot) else state)
    filters: tuple[dict[str, Any], ...] = ({}, {"root": "a"}, {"parent": "b"}, {"owner": "ann"}, {"pinned": True})
    for query in (ListQuery("default", order="created_at", **fields) for fields in filters):
        page = await storage.list_heads(query)
        seen.append(page.heads)
    for scope, kind in product(SCOPES, KINDS):
        seen.append(await storage.scan_records("default", scope, RecordQuery(kind)))
        backwards = RecordQuery(kind, reverse=True, start="x", end="é")
        seen.append(await storage.scan_record_keys("default", scope, backwards))
        seen.append(await storage.get_records("default", scope, kind, ["y", "none", "x"]))
    seen.extend([await storage.find_message("default", id_) for id_ in ("m", "n", "o")])
    changes = (await storage.read_changes("default", None, 100)).changes
    seen.append([(change.session_id, change.revision, change.kinds, set(change.message_ids)) for change in changes])
    return seen


async def _tell(story: list[Step], folder: Path) -> None:
    memory, sqlite = MemoryStorage(), SqliteStorage(folder / "sessions.db", durability="relaxed")
    await sqlite.open()
    planted = [creation("a"), creation("b", head=head_of("b", parent_session_id="a"))]
    story = [*map(_committing, planted), *story]
    try:
        for step in story:
            assert await _outcome(step.call(sqlite)) == await _outcome(step.call(memory)), step
            assert await _shown(sqlite) == await _shown(memory), step
        report = await sqlite.check()
        assert report.ok, report.problems
    finally:
        await sqlite.aclose()


@given(STORIES)
def test_records_and_trees_are_what_the_reference_says(story: list[Step]) -> None:
    """After each step of any story both engines have given the same answer, and show the same."""
    with TemporaryDirectory() as folder:
        asyncio.run(_tell(story, Path(folder)))
