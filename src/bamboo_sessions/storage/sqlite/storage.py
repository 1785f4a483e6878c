"""`sqlite:///path`: sessions in one local file, safe for any number of tasks and processes of one host.

Each call is one closure on one of the engine's threads, and one transaction: that keeps G1, G3 and G10; `commits` keeps
G2, G4 and G9. This class only decides which thread a read belongs to.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import apsw
import msgspec

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock, to_micros
from bamboo_sessions.domain.errors import BambooSessionsError, StorageError, StorageUnavailableError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseView, LeaseWish
from bamboo_sessions.domain.limits import BUSY_TIMEOUT_MS, FEED_PRUNE_ROWS_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.storage.checks import check_record_commit
from bamboo_sessions.storage.commit import Commit, Committed, RecordCommit, RecordScope, SessionKey, State
from bamboo_sessions.storage.feed_position import parse_position
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.port import Hear, News, Plan, Progress, SessionStorage
from bamboo_sessions.storage.query import (
    DeleteQuery,
    FeedPage,
    HeadPage,
    ListQuery,
    Record,
    RecordQuery,
    Window,
    WindowQuery,
)
from bamboo_sessions.storage.sqlite.history import ids, reads, windows
from bamboo_sessions.storage.sqlite.sessions import (
    commits,
    feed,
    leases,
    listing,
    made,
    news,
    ownership,
    records,
    trees,
    usage,
)
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.portable import PortableCommit, decoded, outcome_of
from bamboo_sessions.storage.sqlite.sessions.rows import find, living_revision
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, TooLong, weight_of
from bamboo_sessions.storage.sqlite.transactions.connection import (
    Durability,
    reading,
)
from bamboo_sessions.storage.sqlite.transactions.engine import Engine
from bamboo_sessions.storage.sqlite.transactions.errors import NONSENSE, not_understood, understanding
from bamboo_sessions.storage.sqlite.transactions.place import check_place
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_COMMIT_BYTES_MAX, LOOP_MESSAGES_MAX, ROW_BYTES_MAX
from bamboo_sessions.storage.sqlite.upkeep import counters, purge, run
from bamboo_sessions.storage.sqlite.upkeep.backup import back_up
from bamboo_sessions.storage.sqlite.upkeep.repair import backup_path

if TYPE_CHECKING:
    from bamboo_sessions.storage.search_query import SearchQuery

T = TypeVar("T")

_VERSION_BITS: Final = 32
"""`PRAGMA data_version` is a number of 32 bits."""


class _ReadState(Protocol):
    def __call__(self, connection: apsw.Connection, *, small: bool = False) -> State: ...


class SqliteStorage(SessionStorage):
    """Sessions in a SQLite file.

    Args:
        path: The file; it is made if there is none.
        durability: `"full"`: a commit that returned survives a power cut. `"relaxed"`: the last moments before a power
            cut may be lost; a crash of the process loses nothing either way.
        busy_timeout_ms: How long a write waits for another process's, in milliseconds.
        create_parents: Whether to make the folders above the file.
        clock: The time by which leases are meant and the feed is pruned; it also names the backups that `check` makes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        create_parents: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._path = Path(path).absolute()
        self._durability: Durability = durability
        self._busy_timeout_ms = busy_timeout_ms
        self._create_parents = create_parents
        self._clock = clock
        self._apply = partial(_apply, str(self._path), clock)
        self._life = asyncio.Lock()
        self._engine = self._new_engine()
        self._news = news.NewsDesk()

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._path

    @property
    def url(self) -> str:
        return f"sqlite:///{self._path}"

    def _read_on_loop(self, work: Callable[[apsw.Connection], T]) -> T:
        return self._engine.read_on_loop(work)

    def _new_engine(self) -> Engine:
        return Engine(str(self._path), self._durability, self._busy_timeout_ms, partial(_carry_out, self._apply))

    # --- life

    async def open(self) -> None:
        async with self._life:
            if not self._engine.is_open:
                check_place(self._path, create_parents=self._create_parents)
                await self._engine.aclose()  # what a cancelled call may have left
                self._engine = self._new_engine()
                await self._engine.open()

    async def aclose(self) -> None:
        async with self._life:
            if self._engine.is_open:
                self._engine.check_not_forked()
            await self._engine.aclose()

    def __del__(self) -> None:
        engine: Engine | None = getattr(self, "_engine", None)
        if engine is not None and engine.is_open:
            engine.abandon()
            if not engine.is_inherited:  # a forked child can't close it
                complaint = f"{self._path} was never closed: await aclose()"
                warnings.warn(complaint, ResourceWarning, stacklevel=2, source=self)

    # --- what this process has heard

    def still_newest(self, key: SessionKey, revision: int, token: int | None) -> int | None:
        try:
            version = self._engine.read_on_loop(news.version_of)
            now = self._engine.number << _VERSION_BITS | version  # the version means nothing to other connections
            if now == token:
                return now
            newest = self._engine.read_on_loop(lambda c: living_revision(c, key))
        except StorageError:  # the reading call, which may wait, will say what is wrong
            return None
        return now if newest == revision else None

    def listen(self, hear: Hear) -> Callable[[], None]:
        return self._news.add(hear, self._read_on_loop)

    # --- reading

    async def read(self, key: SessionKey) -> State:
        def work(connection: apsw.Connection, *, small: bool = False) -> State:
            return reads.read(connection, key, small=small)

        return await self._read_state(work)

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        def work(connection: apsw.Connection, *, small: bool = False) -> State:
            return reads.read_newer(connection, key, known, small=small)

        return await self._read_state(work)

    async def _read_state(self, work: _ReadState) -> State:
        """Read on this thread if it turns out to be short, else on the reader thread."""
        try:
            return self._engine.read_on_loop(lambda c: work(c, small=True))
        except (StorageUnavailableError, TooLong):
            return await self._engine.read(work)

    async def _read(self, work: Callable[[apsw.Connection], T], *, small: bool) -> T:
        """Read on this thread if it is small and nothing is locked, else on the reader thread."""
        return await self._read_bounded(lambda c, _: work(c), small=small)

    async def _read_bounded(self, work: Callable[[apsw.Connection, bool], T], *, small: bool = True) -> T:
        """As `_read`; `work` is told whether it has to be small, and may raise `TooLong` then."""
        if small:
            try:
                return self._engine.read_on_loop(lambda c: work(c, True))
            except (StorageUnavailableError, TooLong):  # another process recovers or closes the file just now
                pass
        return await self._engine.read(lambda c: work(c, False))

    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        def work(connection: apsw.Connection, small: bool) -> SessionHead | Tombstone | None:
            with reading(connection):
                row = find(connection, key)
                if row is None or not row.is_living:
                    return None if row is None else row.tombstone
                return read_head(connection, row, Budget() if small else None)

        return await self._read_bounded(work)

    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        small = query.count <= LOOP_MESSAGES_MAX and query.at_revision is None
        return await self._read_bounded(lambda c, s: windows.read_window(c, key, query, small=s), small=small)

    async def find_message(self, namespace: str, message_id: str) -> tuple[str, Message] | None:
        return await self._engine.read(lambda c: reads.find_message(c, namespace, message_id))

    async def list_heads(self, query: ListQuery) -> HeadPage:
        return await self._read_bounded(
            lambda c, small: listing.list_heads(c, query, small=small), small=listing.is_cheap(query)
        )

    async def read_lease(self, key: SessionKey) -> LeaseView | None:
        return await self._read(lambda c: leases.read(c, key, self._clock.now()), small=True)

    async def usage_totals(
        self, namespace: str, session_id: str | None, *, include_children: bool
    ) -> TokenUsageTotals | Tombstone | None:
        def work(connection: apsw.Connection) -> TokenUsageTotals | Tombstone | None:
            with reading(connection):
                return usage.totals(connection, namespace, session_id, include_children=include_children)

        return await self._engine.read(work)

    async def get_record(self, namespace: str, scope: RecordScope, kind: str, key: str) -> Record | None:
        found = await self.get_records(namespace, scope, kind, [key])
        return found[0] if found else None

    async def get_records(
        self, namespace: str, scope: RecordScope, kind: str, keys: Sequence[str]
    ) -> tuple[Record, ...]:
        return await self._read_bounded(lambda c, s: records.get(c, namespace, scope, kind, keys, small=s))

    async def scan_records(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
        return await self._engine.read(lambda c: records.scan(c, namespace, scope, query))

    async def scan_record_keys(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[str, ...]:
        return await self._engine.read(lambda c: records.scan_keys(c, namespace, scope, query))

    # --- the feed

    def check_position(self, position: str) -> None:
        parse_position(position)

    async def feed_position(self) -> str:
        return str((await self._read(feed.bounds, small=True)).newest)

    async def read_changes(self, namespace: str, after: str | None, limit: int) -> FeedPage:
        try:
            return self._engine.read_on_loop(lambda c: feed.read_changes(c, namespace, after, limit, small=True))
        except (StorageUnavailableError, TooLong):
            return await self._engine.read(lambda c: feed.read_changes(c, namespace, after, limit))

    async def prune_changes(self, older_than: timedelta, *, limit: int = FEED_PRUNE_ROWS_MAX) -> int:
        def work(connection: apsw.Connection) -> int:
            now = self._clock.now()
            records.prune(connection, to_micros(now - older_than), limit)
            feed.forget(connection, now - older_than, limit)
            return feed.prune(connection, older_than, limit, now)

        return await self._engine.write(work)

    async def start_epoch(self) -> str:
        return await self._engine.write(feed.start_epoch)

    async def search(self, query: SearchQuery, *, on_progress: Progress | None = None) -> SearchPage:
        self._engine.check_usable()
        return await self._engine.search.search(query, on_progress)

    # --- writing

    async def commit(self, commit: Commit) -> Committed:
        weight = weight_of(commit)
        is_short = weight is not None and weight <= LOOP_COMMIT_BYTES_MAX
        done = await self._engine.write(
            lambda c: self._apply(c, commit),
            weight or commit.size,
            is_short=is_short,
            portable=PortableCommit(commit, self._apply) if is_short else None,
        )
        if commit.history_from is not None or commit.size > ROW_BYTES_MAX:
            self._engine.write_behind(ids.fill)
        self._news.tell(News(commit.key, has_commit=True))
        return done

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        return await self._read(lambda c: made.find_commit(c, key, commit_id), small=True)

    async def settle(self, key: SessionKey, commit_id: str) -> int | None:
        revision = await self.find_commit(key, commit_id)
        if revision is None:
            revision = await self._engine.write(lambda c: made.settle(c, key, commit_id, self._clock.now()))
        return revision

    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        def work(connection: apsw.Connection) -> Committed | None:
            with understanding(str(self._path)):
                state = reads.read(connection, key) if known is None else reads.read_newer(connection, key, known)
            commit = plan(state)
            return None if commit is None else self._apply(connection, commit)

        done = await self._engine.write(work)
        self._news.tell(News(key, has_commit=True))
        return done

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        deleted = await self._engine.write(lambda c: trees.delete_tree(c, key, query, self._clock.now()))
        for session_id in deleted:
            self._news.tell(News(SessionKey(key.namespace, session_id), has_commit=True))
        return deleted

    async def set_owner(self, key: SessionKey, change: OwnerChange) -> tuple[SessionHead, ...]:
        def work(connection: apsw.Connection) -> tuple[SessionHead, ...]:
            with understanding(str(self._path)):
                return ownership.set_owner(connection, key, change, self._clock.now())

        heads = await self._engine.write(work)
        for head in heads:
            self._news.tell(News(SessionKey(key.namespace, head.id), has_commit=True))
        return heads

    async def change_lease(self, key: SessionKey, wish: LeaseWish) -> LeaseView:
        view, is_changed = await self._engine.write(lambda c: leases.change(c, key, wish, self._clock.now()))
        if is_changed:
            self._news.tell(News(key, has_commit=False))
        return view

    async def write_records(self, commit: RecordCommit) -> tuple[int, ...]:
        check_record_commit(commit)
        return await self._engine.write(lambda c: records.write(c, commit, self._clock.now()), commit.size)

    # --- upkeep

    async def purge_versions(self, before: datetime, limit: int) -> int:
        return await self._engine.write(lambda c: purge.purge_versions(c, before, limit))

    async def next_namespace(self, after: str | None) -> str | None:
        return await self._engine.read(lambda c: counters.next_namespace(c, after))

    async def check(self, namespace: str | None = None, *, repair: bool = False) -> CheckReport:
        if repair:
            report = await run.mend(self._engine, backup_path(self._path, self._clock.now()), namespace)
        else:
            report = await run.find_problems(self._engine, namespace)
        if namespace is not None:
            return report
        problems = await self._engine.search.check(repair=repair)
        return msgspec.structs.replace(report, problems=(*report.problems, *problems))

    async def backup(self, target: Path, *, on_progress: Progress | None = None) -> CheckReport:
        return await back_up(self._engine, target, on_progress)

    async def stats(self, namespace: str | None = None) -> Mapping[str, int]:
        if namespace is not None:
            return await self._engine.read_aside(lambda c: counters.of_namespace(c, namespace))
        counts = await self._engine.read_aside(lambda c: counters.of_store(c, self._path))
        return {**counts, "search_bytes": self._engine.search.size}


def _apply(path: str, clock: Clock, connection: apsw.Connection, commit: Commit) -> Committed:
    try:
        return commits.apply(connection, commit, clock.now())
    except BambooSessionsError:
        raise
    except NONSENSE as exc:
        raise not_understood(path, exc) from exc


def _carry_out(
    apply: Callable[[apsw.Connection, Commit], Committed], text: bytes, connection: apsw.Connection
) -> bytes:
    """Make a commit of another process's."""
    return outcome_of(apply(connection, decoded(text)))
