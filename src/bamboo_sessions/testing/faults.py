"""A storage that fails on purpose, in front of one that works.

`FaultyStorage(inner)` passes every call on to `inner` and makes exactly these faults, and no others:

| fault | what the caller meets | what `inner` holds afterwards |
|---|---|---|
| `fail(call)` | an error in place of the call | nothing of it: the call never reached `inner` |
| `fail(call, after=True)` | an error, `outcome_unknown`, in place of the answer | all of it: the commit is there |
| `fail(call, unknown=True)` | an error, `outcome_unknown` | nothing of it: the request was lost on its way |
| `fail(call, StorageCorruptError)` | what is stored can't be read (any `StorageError` class can be named) | as before |
| `stall(call)` | no answer until `release()`, then the real one | nothing of it until `release()` |
| `stall(call, after=True)` | likewise | all of it, while the caller still waits |
| `at_random(seed, …)` | the errors above, and stalls of a few steps of the event loop | one of the above |

Each is scripted for one call name (or every call): for the k-th call from now on, for so many calls, or while it is
switched on (`fault.stop()`, or `with storage.fail(…, times=None):`). The synchronous calls can't stall; a failing
`freshness` can't tell (`None`), a failing `peek` raises. Half-written commits, wrong answers and lost acknowledged
commits are not made here: no engine may ever do that, whatever happens.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self, TypeVar

from bamboo_sessions.domain.change import FeedBounds
from bamboo_sessions.domain.errors import SchemaVersionError, StorageError, StorageUnavailableError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseState
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.storage.commit import Commit, Committed, RecordScope, RecordWrite, SessionKey, State
from bamboo_sessions.storage.port import LeaseChange, Peek, Plan, Progress, SessionStorage
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

T = TypeVar("T")

READS: Final = frozenset(
    {
        "read",
        "read_newer",
        "read_head",
        "read_window",
        "list_heads",
        "find_commit",
        "read_lease",
        "usage_totals",
        "get_record",
        "scan_records",
        "feed_bounds",
        "read_changes",
        "search",
        "stats",
    }
)
"""The calls that only read."""

WRITES: Final = frozenset(
    {"commit", "transact", "delete_tree", "write_records", "prune_changes", "start_epoch", "change_lease", "check"}
)
"""The calls that write: after these an error leaves the outcome unknown."""

SYNCHRONOUS: Final = frozenset({"freshness", "peek"})
LIFE: Final = frozenset({"open", "aclose"})
CALLS: Final = READS | WRITES | SYNCHRONOUS | LIFE
"""All calls that can be made to fail."""

_PAUSE_STEPS_MAX: Final = 5


class Fault:
    """An error that is waiting for its call. As a context manager it ends with the block.

    `hits` counts how often it struck.
    """

    def __init__(
        self,
        call: str | None,
        error: StorageError | type[StorageError],
        *,
        nth: int,
        times: int | None,
        after: bool,
        unknown: bool | None,
    ) -> None:
        self.call = call
        self.after = after
        self.hits = 0
        self._error = error
        self._skip = nth - 1
        self._left = times
        self._unknown = unknown

    def stop(self) -> None:
        """Strike no more."""
        self._left = 0

    @property
    def is_over(self) -> bool:
        """Whether it will never strike again."""
        return self._left == 0

    def takes(self, call: str) -> bool:
        """Whether it strikes this call; counts the call."""
        if self.is_over or self.call not in {None, call}:
            return False
        if self._skip:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        self.hits += 1
        return True

    def error(self, call: str) -> StorageError:
        """What the caller of `call` gets."""
        if isinstance(self._error, StorageError):
            return self._error
        unknown = self._unknown
        if unknown is None:
            unknown = self.after and call in WRITES
        return _made(self._error, call, unknown=unknown)

    def __enter__(self) -> Self:
        """Be switched on for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be switched off."""
        self.stop()


class Stall(Fault):
    """A call that hangs until `release`. `reached` is set once it hangs."""

    def __init__(self, call: str | None, *, nth: int, times: int | None, after: bool) -> None:
        super().__init__(call, StorageUnavailableError, nth=nth, times=times, after=after, unknown=None)
        self.reached = asyncio.Event()
        self._released = asyncio.Event()

    async def hang(self) -> None:
        """Wait to be released."""
        self.reached.set()
        await self._released.wait()

    def release(self) -> None:
        """Let the call go on, and all later ones."""
        self._released.set()

    def stop(self) -> None:
        """Strike no more, and let go what hangs."""
        super().stop()
        self.release()


class FaultyStorage(SessionStorage):
    """`inner`, with faults. What isn't made to fail works.

    `calls` counts the calls by name, failing ones included.
    """

    def __init__(self, inner: SessionStorage) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._stalls: list[Stall] = []
        self._random: _AtRandom | None = None

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
        fault = Fault(_checked(call), error, nth=nth, times=times, after=after, unknown=unknown)
        self._faults.append(fault)
        return fault

    def stall(self, call: str | None, *, nth: int = 1, times: int | None = 1, after: bool = False) -> Stall:
        """Make a call hang before it happens, or after it; see `fail` for the arguments."""
        if call in SYNCHRONOUS:
            message = f"{call} is synchronous and can't hang."
            raise ValueError(message)
        stall = Stall(_checked(call), nth=nth, times=times, after=after)
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
        self._random = _AtRandom(random.Random(seed), chance, frozenset(calls), tuple(errors))

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
        await _strike(call, [fault for fault in due if not fault.after])
        result = await work()
        await _strike(call, [fault for fault in due if fault.after])
        return result

    # --- life

    async def open(self) -> None:
        """Pass on."""
        await self._do("open", self.inner.open)

    async def aclose(self) -> None:
        """Pass on."""
        await self._do("aclose", self.inner.aclose)

    # --- freshness

    def freshness(self) -> int | None:
        """Pass on; a fault means that it can't be told."""
        return None if self._due("freshness") else self.inner.freshness()

    def peek(self, key: SessionKey) -> Peek | None:
        """Pass on."""
        for fault in self._due("peek"):
            raise fault.error("peek")
        return self.inner.peek(key)

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

    async def list_heads(self, query: ListQuery) -> HeadPage:
        """Pass on."""
        return await self._do("list_heads", lambda: self.inner.list_heads(query))

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        """Pass on."""
        return await self._do("find_commit", lambda: self.inner.find_commit(key, commit_id))

    async def read_lease(self, key: SessionKey) -> LeaseState | None:
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

    async def scan_records(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
        """Pass on."""
        return await self._do("scan_records", lambda: self.inner.scan_records(namespace, scope, query))

    # --- the feed

    async def feed_bounds(self) -> FeedBounds:
        """Pass on."""
        return await self._do("feed_bounds", self.inner.feed_bounds)

    async def read_changes(self, namespace: str, after: int | None, limit: int) -> FeedPage:
        """Pass on."""
        return await self._do("read_changes", lambda: self.inner.read_changes(namespace, after, limit))

    async def prune_changes(self, before: datetime, limit: int) -> int:
        """Pass on."""
        return await self._do("prune_changes", lambda: self.inner.prune_changes(before, limit))

    async def start_epoch(self) -> FeedBounds:
        """Pass on."""
        return await self._do("start_epoch", self.inner.start_epoch)

    async def search(self, query: SearchQuery, *, on_progress: Progress | None = None) -> SearchPage:
        """Pass on."""
        return await self._do("search", lambda: self.inner.search(query, on_progress=on_progress))

    # --- writing

    async def commit(self, commit: Commit) -> Committed:
        """Pass on."""
        return await self._do("commit", lambda: self.inner.commit(commit))

    async def transact(self, key: SessionKey, plan: Plan) -> Committed | None:
        """Pass on."""
        return await self._do("transact", lambda: self.inner.transact(key, plan))

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Pass on."""
        return await self._do("delete_tree", lambda: self.inner.delete_tree(key, query))

    async def change_lease(self, key: SessionKey, change: LeaseChange, now: datetime) -> LeaseState:
        """Pass on."""
        return await self._do("change_lease", lambda: self.inner.change_lease(key, change, now))

    async def write_records(self, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> tuple[int, ...]:
        """Pass on."""
        return await self._do("write_records", lambda: self.inner.write_records(namespace, scope, writes))

    # --- upkeep

    async def check(self, *, repair: bool = False) -> CheckReport:
        """Pass on."""
        return await self._do("check", lambda: self.inner.check(repair=repair))

    async def stats(self) -> Mapping[str, int]:
        """Pass on."""
        return await self._do("stats", self.inner.stats)


class _Pause(Fault):
    """A few steps of the event loop: others get ahead."""

    def __init__(self, steps: int, *, after: bool) -> None:
        super().__init__(None, StorageUnavailableError, nth=1, times=1, after=after, unknown=None)
        self.steps = steps


class _AtRandom:
    """Draws faults from a seeded source."""

    def __init__(
        self,
        source: random.Random,
        chance: float,
        calls: frozenset[str],
        errors: tuple[type[StorageError], ...],
    ) -> None:
        for call in calls:
            _checked(call)
        self._source = source
        self._chance = chance
        self._calls = calls
        self._errors = errors

    def draw(self, call: str) -> list[Fault]:
        if call not in self._calls or self._source.random() >= self._chance:
            return []
        after = self._source.random() < 0.5
        if call not in SYNCHRONOUS and self._source.random() < 0.3:
            return [_Pause(self._source.randint(1, _PAUSE_STEPS_MAX), after=after)]
        lost = call in WRITES and not after and self._source.random() < 0.3
        error = self._source.choice(self._errors)
        return [Fault(call, error, nth=1, times=1, after=after, unknown=True if lost else None)]


async def _strike(call: str, faults: list[Fault]) -> None:
    """Stalls first, then the error, so that a call can hang and then fail."""
    for fault in faults:
        if isinstance(fault, Stall):
            await fault.hang()
        elif isinstance(fault, _Pause):
            for _ in range(fault.steps):
                await asyncio.sleep(0)
    for fault in faults:
        if not isinstance(fault, Stall | _Pause):
            raise fault.error(call)


def _made(error: type[StorageError], call: str, *, unknown: bool) -> StorageError:
    if issubclass(error, SchemaVersionError):
        return error(found=999, supported=1, location="The store behind FaultyStorage")
    return error(f"{call} failed on purpose.", outcome_unknown=unknown)


def _checked(call: str | None) -> str | None:
    if call is not None and call not in CALLS:
        message = f"{call!r} is no call of a storage; those are {', '.join(sorted(CALLS))}."
        raise ValueError(message)
    return call
