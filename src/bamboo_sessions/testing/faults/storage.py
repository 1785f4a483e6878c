"""`FaultyStorage`: the script of faults, and every call passed on through it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from bamboo_sessions.domain.errors import StorageError, StorageUnavailableError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseView, LeaseWish
from bamboo_sessions.domain.limits import FEED_PRUNE_ROWS_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.storage.commit import Commit, Committed, RecordCommit, RecordScope, SessionKey, State
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.port import Hear, Plan, Progress, SessionStorage
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
from bamboo_sessions.storage.search_query import SearchQuery
from bamboo_sessions.testing.faults.at_random import AtRandom
from bamboo_sessions.testing.faults.calls import READS, SYNCHRONOUS, WRITES, checked
from bamboo_sessions.testing.faults.fault import Fault, Stall, strike

T = TypeVar("T")


class FaultyStorage(SessionStorage):
    """`inner`, with faults. What isn't made to fail works.

    `calls` counts the calls by name, failing ones included.
    """

    def __init__(self, inner: SessionStorage) -> None:
        self.inner = inner
        self.is_exact = inner.is_exact  # type: ignore[misc] # it is that of the storage behind
        self.calls: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._stalls: list[Stall] = []
        self._random: AtRandom | None = None

    # --- the script

    def fail(
        self,
        call: str | None,
        error: StorageError | type[StorageError] = StorageUnavailableError,
        *,
        nth: int = 1,
        times: int | None = 1,
        after: bool = False,
        unknown: bool | None = None,
    ) -> Fault:
        """Make a call fail.

        Args:
            call: The name of a call (one of `CALLS`); `None`: every call.
            error: A class of errors, or the very error to raise.
            nth: The first call to strike, counted from now on: 1 is the next one.
            times: How many calls to strike; `None`: all, until `stop()`.
            after: Let the call happen, then raise.
            unknown: The error's `outcome_unknown`; by default true for writing calls with `after`.
        """
        fault = Fault(checked(call), error, nth=nth, times=times, after=after, unknown=unknown)
        self._faults.append(fault)
        return fault

    def stall(self, call: str | None, *, nth: int = 1, times: int | None = 1, after: bool = False) -> Stall:
        """Make a call hang before it happens, or after it; see `fail` for the arguments."""
        if call in SYNCHRONOUS:
            message = f"{call} is synchronous and can't hang."
            raise ValueError(message)
        stall = Stall(checked(call), nth=nth, times=times, after=after)
        self._faults.append(stall)
        self._stalls.append(stall)
        return stall

    def at_random(
        self,
        seed: int,
        *,
        chance: float,
        calls: Iterable[str] = READS | WRITES,
        errors: Sequence[type[StorageError]] = (StorageUnavailableError,),
    ) -> None:
        """From now on strike these calls with this chance: before, after, lost, or slow; the same seed, the same."""
        self._random = AtRandom(random.Random(seed), chance, frozenset(calls), tuple(errors))

    def heal(self) -> None:
        """End all faults, and let go what hangs."""
        for fault in [*self._faults, *self._stalls]:
            fault.stop()
        self._faults.clear()
        self._stalls.clear()
        self._random = None

    # --- making faults

    def _due(self, call: str) -> list[Fault]:
        self.calls[call] += 1
        due = [fault for fault in self._faults if fault.takes(call)]
        self._faults = [fault for fault in self._faults if not fault.is_over]
        if self._random is not None:
            due.extend(self._random.draw(call))
        return due

    async def _do(self, call: str, work: Callable[[], Awaitable[T]]) -> T:
        due = self._due(call)
        await strike(call, [fault for fault in due if not fault.after])
        result = await work()
        await strike(call, [fault for fault in due if fault.after])
        return result

    # --- life

    async def open(self) -> None:
        """Pass on."""
        await self._do("open", self.inner.open)

    async def aclose(self) -> None:
        """Pass on."""
        await self._do("aclose", self.inner.aclose)

    # --- what this process has heard

    def still_newest(self, key: SessionKey, revision: int, token: int | None) -> int | None:
        """Pass on; a fault means that it can't be told."""
        return None if self._due("still_newest") else self.inner.still_newest(key, revision, token)

    def listen(self, hear: Hear) -> Callable[[], None]:
        """Pass on."""
        return self.inner.listen(hear)

    # --- reading

    async def read(self, key: SessionKey) -> State:
        """Pass on."""
        return await self._do("read", lambda: self.inner.read(key))

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        """Pass on."""
        return await self._do("read_newer", lambda: self.inner.read_newer(key, known))

    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        """Pass on."""
        return await self._do("read_head", lambda: self.inner.read_head(key))

    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        """Pass on."""
        return await self._do("read_window", lambda: self.inner.read_window(key, query))

    async def find_message(self, namespace: str, message_id: str) -> tuple[str, Message] | None:
        """Pass on."""
        return await self._do("find_message", lambda: self.inner.find_message(namespace, message_id))

    async def list_heads(self, query: ListQuery) -> HeadPage:
        """Pass on."""
        return await self._do("list_heads", lambda: self.inner.list_heads(query))

    async def read_lease(self, key: SessionKey) -> LeaseView | None:
        """Pass on."""
        return await self._do("read_lease", lambda: self.inner.read_lease(key))

    async def usage_totals(
        self, namespace: str, session_id: str | None, *, include_children: bool
    ) -> TokenUsageTotals | Tombstone | None:
        """Pass on."""
        return await self._do(
            "usage_totals", lambda: self.inner.usage_totals(namespace, session_id, include_children=include_children)
        )

    async def get_record(self, namespace: str, scope: RecordScope, kind: str, key: str) -> Record | None:
        """Pass on."""
        return await self._do("get_record", lambda: self.inner.get_record(namespace, scope, kind, key))

    async def get_records(
        self, namespace: str, scope: RecordScope, kind: str, keys: Sequence[str]
    ) -> tuple[Record, ...]:
        """Pass on."""
        return await self._do("get_records", lambda: self.inner.get_records(namespace, scope, kind, keys))

    async def scan_records(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
        """Pass on."""
        return await self._do("scan_records", lambda: self.inner.scan_records(namespace, scope, query))

    async def scan_record_keys(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[str, ...]:
        """Pass on."""
        return await self._do("scan_record_keys", lambda: self.inner.scan_record_keys(namespace, scope, query))

    # --- the feed

    def check_position(self, position: str) -> None:
        """Pass on; no fault."""
        self.inner.check_position(position)

    async def feed_position(self) -> str:
        """Pass on."""
        return await self._do("feed_position", self.inner.feed_position)

    async def read_changes(self, namespace: str, after: str | None, limit: int) -> FeedPage:
        """Pass on."""
        return await self._do("read_changes", lambda: self.inner.read_changes(namespace, after, limit))

    async def prune_changes(self, older_than: timedelta, *, limit: int = FEED_PRUNE_ROWS_MAX) -> int:
        """Pass on."""
        return await self._do("prune_changes", lambda: self.inner.prune_changes(older_than, limit=limit))

    async def purge_versions(self, before: datetime, limit: int) -> int:
        """Pass on."""
        return await self._do("purge_versions", lambda: self.inner.purge_versions(before, limit))

    async def start_epoch(self) -> str:
        """Pass on."""
        return await self._do("start_epoch", self.inner.start_epoch)

    async def search(self, query: SearchQuery, *, on_progress: Progress | None = None) -> SearchPage:
        """Pass on."""
        return await self._do("search", lambda: self.inner.search(query, on_progress=on_progress))

    # --- writing

    async def commit(self, commit: Commit) -> Committed:
        """Pass on."""
        return await self._do("commit", lambda: self.inner.commit(commit))

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        """Pass on."""
        return await self._do("find_commit", lambda: self.inner.find_commit(key, commit_id))

    async def settle(self, key: SessionKey, commit_id: str) -> int | None:
        """Pass on."""
        return await self._do("settle", lambda: self.inner.settle(key, commit_id))

    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        """Pass on."""
        return await self._do("transact", lambda: self.inner.transact(key, plan, known))

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Pass on."""
        return await self._do("delete_tree", lambda: self.inner.delete_tree(key, query))

    async def set_owner(self, key: SessionKey, change: OwnerChange) -> tuple[SessionHead, ...]:
        """Pass on."""
        return await self._do("set_owner", lambda: self.inner.set_owner(key, change))

    async def change_lease(self, key: SessionKey, wish: LeaseWish) -> LeaseView:
        """Pass on."""
        return await self._do("change_lease", lambda: self.inner.change_lease(key, wish))

    async def write_records(self, commit: RecordCommit) -> tuple[int, ...]:
        """Pass on."""
        return await self._do("write_records", lambda: self.inner.write_records(commit))

    # --- upkeep

    async def next_namespace(self, after: str | None) -> str | None:
        """Pass on."""
        return await self._do("next_namespace", lambda: self.inner.next_namespace(after))

    async def check(self, namespace: str | None = None, *, repair: bool = False) -> CheckReport:
        """Pass on."""
        return await self._do("check", lambda: self.inner.check(namespace, repair=repair))

    async def backup(self, target: Path, *, on_progress: Progress | None = None) -> CheckReport:
        """Pass on."""
        return await self._do("backup", lambda: self.inner.backup(target, on_progress=on_progress))

    async def stats(self, namespace: str | None = None) -> Mapping[str, int]:
        """Pass on."""
        return await self._do("stats", lambda: self.inner.stats(namespace))
