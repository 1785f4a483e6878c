"""The simulated storage: one memory engine, reached by each process over a link that is slow and loses messages.

A request that was sent is served, whatever becomes of who sent it: a cancelled or crashed caller's commit may still
arrive. The store keeps a log of all states that it went through, which is what reads are judged by.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from bamboo_sessions import MemoryStorage, StorageUnavailableError
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.storage.commit import Commit, Committed, RevisionConflict, SessionKey, State
from bamboo_sessions.storage.port import Plan, SessionStorage
from bamboo_sessions.storage.query import FeedPage
from bamboo_sessions.testing import FaultyStorage
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.faults import READS, SYNCHRONOUS, WRITES
from bamboo_sessions.testing.lagging import LaggingDatabase, LaggingStorage
from tests.simulation.loop import SimulatedLoop, process

T = TypeVar("T")

operation: Final[ContextVar[int]] = ContextVar("operation", default=0)
"""The number of the client's operation that the running task works for."""


fence: Final[ContextVar[int | None]] = ContextVar("fence", default=None)
"""The token of the run lease that the running request writes through."""


class Version(NamedTuple):
    """A state of one session: from which step on, by which operation, what it was, and through which run lease."""

    step: int
    operation: int
    state: Snapshot | Tombstone | None
    fence: int | None = None


class Made(NamedTuple):
    """A commit: at which step, of which session, and the revision that it made."""

    step: int
    session_id: str
    revision: int


class Kept(NamedTuple):
    """What the store keeps of its feed from a step on: the commits behind the number `floor`, in an epoch."""

    step: int
    epoch: str
    floor: int


class StoreClock:
    """The store's own time, which is right."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """The present time."""
        return START + timedelta(seconds=self._loop.time())


class Store:
    """The shared storage, the states of each session that it went through, and its commits in their order.

    Args:
        loop: The loop that everything runs on.
        lag: If given, processes hear of one another's commits late, twice or not at all; what of that, it decides.
    """

    def __init__(self, loop: SimulatedLoop, lag: int | None = None) -> None:
        self.loop = loop
        clock = StoreClock(loop)
        self.database = None if lag is None else LaggingDatabase(lag, delay_seconds_max=0.1, clock=clock)
        self.engine = MemoryStorage(clock=clock) if self.database is None else self.database.engine
        self.log: defaultdict[str, list[Version]] = defaultdict(lambda: [Version(0, 0, None)])
        self.commits: list[Made] = []
        self.reached: Counter[str] = Counter()
        self.kept = [self._kept()]
        self.engine.listen(lambda _: self.note(operation.get()))

    @property
    def is_exact(self) -> bool:
        """Whether processes know at once of each commit that was acknowledged to others."""
        return self.database is None

    def connect(self) -> SessionStorage:
        """The storage, as one process has it."""
        return self.engine if self.database is None else self.database.connect()

    def note(self, number: int) -> None:
        """Log what has changed."""
        for key, stored in self.engine._contents.sessions.items():
            state = stored if isinstance(stored, Tombstone) else stored.snapshot
            versions = self.log[key.session_id]
            last = versions[-1].state
            if last is None or last_revision(last) != last_revision(state):
                versions.append(Version(self.loop.steps, number, state, fence.get()))
                self.commits.append(Made(self.loop.steps, key.session_id, last_revision(state)))
        if self._kept()[1:] != self.kept[-1][1:]:
            self.kept.append(self._kept())

    def _kept(self) -> Kept:
        oldest = self.engine._contents.feed.bounds.oldest
        return Kept(self.loop.steps, oldest.epoch, oldest.number)

    def state(self, session_id: str) -> Snapshot | Tombstone | None:
        """What is stored now."""
        return self.log[session_id][-1].state


class Link(FaultyStorage):
    """One process's way to the store.

    Args:
        store: The store.
        chance: Decides latencies and faults.
        slowest: The longest way in one direction, in seconds.
        faults: How probable a fault is, for each call.
        page: The most changes of the feed that are handed out at once.
    """

    def __init__(
        self, store: Store, chance: random.Random, *, slowest: float, faults: float, page: int | None = None
    ) -> None:
        super().__init__(store.connect())
        self._store = store
        self._chance = chance
        self._slowest = slowest
        self._page = page
        self._process = process.get()
        self._read: set[SessionKey] = set()
        self.back_at = 0.0
        """When the store can be reached again, if it can't now."""
        if faults:
            self.at_random(chance.getrandbits(32), chance=faults, calls=READS | WRITES | SYNCHRONOUS)

    async def commit(self, commit: Commit) -> Committed:
        """Pass on."""
        self._check_first_try(commit)
        before = fence.set(commit.fence)
        try:
            committed = await super().commit(commit)
        except RevisionConflict:
            self._reached("commit: conflict")
            raise
        finally:
            fence.reset(before)
        self._reached("commit: id known, answered again", committed.replayed)
        return committed

    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        """Pass on."""

        def noted(state: State) -> Commit | None:
            commit = plan(state)
            if commit is not None:
                self._check_first_try(commit)
            fence.set(commit.fence if commit is not None else None)
            return commit

        self._reached("commit: inside a transaction")
        return await super().transact(key, noted, known)

    def _check_first_try(self, commit: Commit) -> None:
        """An engine may rely on it that nothing was made with the id of a first try."""
        was_made = (commit.key, commit.commit_id) in self._store.engine._contents.commits
        assert not (commit.is_first_try and was_made), f"{commit.commit_id} is no first try"

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        """Pass on."""
        revision = await super().find_commit(key, commit_id)
        self._reached("settle: it never was" if revision is None else "settle: it was made")
        return revision

    @property
    def losses(self) -> int:
        """How often the process noticed that it had been deaf for a while."""
        return self.inner.connection if isinstance(self.inner, LaggingStorage) else 0

    def still_newest(self, key: SessionKey, revision: int, token: int | None) -> int | None:
        """Pass on."""
        answer = super().still_newest(key, revision, token)
        self._reached("cache: still the newest", answer is not None)
        return answer

    async def read(self, key: SessionKey) -> State:
        """Pass on."""
        state = await super().read(key)
        self._reached("cache: read anew after eviction", isinstance(state, Snapshot) and key in self._read)
        self._read.add(key)
        return state

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        """Pass on."""
        self._reached("cache: read what is newer")
        return await super().read_newer(key, known)

    async def read_changes(self, namespace: str, after: str | None, limit: int) -> FeedPage:
        """Pass on; a page may be shorter than what was asked for."""
        return await super().read_changes(namespace, after, min(limit, self._page or limit))

    def _reached(self, branch: str, really: bool = True) -> None:
        self._store.reached[branch] += really

    async def _do(self, call: str, work: Callable[[], Awaitable[T]]) -> T:
        if self._store.loop.is_crashed(self._process):
            raise asyncio.CancelledError
        context = copy_context()
        context.run(process.set, "storage")
        request = asyncio.get_running_loop().create_task(self._serve(call, work), context=context)
        request.add_done_callback(_look)
        return await asyncio.shield(request)

    async def _serve(self, call: str, work: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self._chance.random() * self._slowest)  # noqa: TID251 - simulated time
        if self._store.loop.is_crashed(self._process) and self._chance.random() < 0.5:
            raise ConnectionResetError  # it was still in the dead process
        late = self._store.loop.is_crashed(self._process) and call == "commit"
        self._reached("commit: arrived after its process had crashed", late)
        if self._store.loop.time() < self.back_at:
            message = f"{call}: the store can't be reached."
            raise StorageUnavailableError(message)
        try:
            return await super()._do(call, lambda: self._logged(work))
        finally:
            await asyncio.sleep(self._chance.random() * self._slowest)  # noqa: TID251 - simulated time

    async def _logged(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        finally:
            self._store.note(operation.get())


def _look(request: asyncio.Task[Any]) -> None:
    if not request.cancelled():
        request.exception()


def last_revision(state: Snapshot | Tombstone | None) -> int:
    """The revision of a state; 0 if there is none."""
    return state.revision if state is not None else 0


def key_of(session_id: str) -> SessionKey:
    """A key in the one namespace."""
    return SessionKey("default", session_id)
