"""A simulated world: processes with a repository each, their clients, and the history of what these did."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeVar

import msgspec

from bamboo_sessions import (
    BambooSessionsError,
    LockedSessionStore,
    RunLease,
    Session,
    SessionCache,
    SessionChange,
    SessionRepository,
)
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.domain.ids import id_source
from bamboo_sessions.testing.clock import START
from tests.simulation.loop import SimulatedLoop, process
from tests.simulation.network import Link, Store, operation

T = TypeVar("T")

LOG: Final = "log"
"""A session to which messages are added at the end, and nothing else happens."""

CHAT: Final = "chat"
"""A session that lives for ever, and to which everything else happens."""

LIFE: Final = "life"
"""A session that is deleted and created again."""

Outcome = Literal["ok", "refused", "failed", "unknown"]


class Operation(msgspec.Struct):
    """What a client did, when, and what came of it. `unknown`: it may have happened, and may yet happen."""

    number: int
    client: str
    process: str
    session: str
    what: str
    argument: Any
    start: int
    end: int | None = None
    outcome: Outcome = "unknown"
    result: Any = None
    error: str | None = None


class SkewedClock:
    """The simulated time, as a machine sees it whose clock is wrong."""

    def __init__(self, loop: SimulatedLoop, ahead_seconds: float) -> None:
        self._loop = loop
        self._ahead_seconds = ahead_seconds

    def now(self) -> datetime:
        """The present time of this machine."""
        return START + timedelta(seconds=self._loop.time() + self._ahead_seconds)


class Plan(msgspec.Struct, frozen=True):
    """How bad a world is. All are drawn from the seed."""

    processes: int
    clients: int
    rounds: int
    crashes: int
    faults: float
    slowest: float
    impatience: float
    pauses: int = 0
    outages: int = 0
    page: int | None = None

    @classmethod
    def drawn(cls, chance: random.Random) -> Plan:
        """One of the worlds."""
        return cls(
            processes=chance.randint(1, 3),
            clients=chance.randint(3, 7),
            rounds=chance.randint(3, 9),
            crashes=chance.choice((0, 0, 1, 2)),
            faults=chance.choice((0.0, 0.0, 0.05, 0.2)),
            slowest=chance.choice((0.0, 0.01, 0.1)),
            impatience=chance.choice((0.0, 0.1, 0.4)),
        )


Ending = Literal["all", "left", "refused"]


class Follow(msgspec.Struct):
    """One time that a subscriber read the feed: from where, what it was told, and how that ended, if it is known.

    `all`: the iteration ended, as there was no more; `left`: the subscriber ended it; `refused`: there would be a gap.
    """

    after: str | None
    start: int
    changes: list[SessionChange] = msgspec.field(default_factory=list)
    ending: Ending | None = None
    end: int = 0
    reason: str = ""
    oldest: str = ""


class Told(msgspec.Struct):
    """What a subscriber has recorded, which outlives its process."""

    process: str
    position: str | None = None
    """Where to resume."""
    follows: list[Follow] = msgspec.field(default_factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether the feed could not be resumed when this was tried last."""
        return bool(self.follows) and self.follows[-1].ending == "refused"

    @property
    def last(self) -> SessionChange | None:
        """The newest change that it was told."""
        return next((follow.changes[-1] for follow in reversed(self.follows) if follow.changes), None)


class World:
    """Everything in a simulation, and its history."""

    def __init__(self, loop: SimulatedLoop, seed: int, *, lag: int | None = None) -> None:
        self.loop = loop
        self.seed = seed
        self.chance = random.Random(f"world {seed}")
        self.plan = Plan.drawn(self.chance)
        self.store = Store(loop, lag)
        self.history: list[Operation] = []
        self.processes: dict[str, Process] = {}
        self.told: list[Told] = []
        self.forks: list[str] = []
        self.runs: dict[str, RunLease] = {}
        """Who runs on each session, or did so until its process crashed."""
        self.findings: list[str] = []
        self.reached = self.store.reached
        self.first_of_turns: set[str] = set()
        self.last_of_turns: set[str] = set()
        self.anchors: dict[str, str] = {}
        """Behind which message an addition inside was put, by the ids of both."""
        self.unsaved: set[tuple[str, str]] | None = None
        """Processes and sessions whose accepted work was refused in the end; `None` if it didn't come to that."""
        self.calls: dict[str, str] = {}
        """Calls of tools whose results come separately, and their sessions."""
        self._made = 0

    def id(self, what: str) -> str:
        """A word that never was before."""
        self._made += 1
        return f"{what}-{self._made}"

    def begin_turn(self, ids: tuple[str, ...]) -> None:
        """Somebody will write these messages, which have to stay together."""
        self.first_of_turns.add(ids[0])
        self.last_of_turns.add(ids[-1])

    def subscribe(self, name: str) -> Told:
        """A record for a subscriber in the process `name`: one that a crashed subscriber left, or a new one."""
        for told in self.told:
            if self.loop.is_crashed(told.process):
                told.process = name
                return told
        self.told.append(Told(name))
        return self.told[-1]

    async def run_as(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in a task of the process `name`."""
        before = process.set(name)
        try:
            task = self.loop.create_task(work)
        finally:
            process.reset(before)
        return await task


class Work(msgspec.Struct):
    """What an agent has done to its copy and nobody has acknowledged yet."""

    turns: list[tuple[str, ...]] = msgspec.field(default_factory=list)
    removed: list[str] = msgspec.field(default_factory=list)
    asked: list[str] = msgspec.field(default_factory=list)
    edited: dict[str, str] = msgspec.field(default_factory=dict)


class Process:
    """A process: a repository of its own, over a link of its own. Made inside the process."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        chance = random.Random(world.chance.getrandbits(64))
        plan = world.plan
        self.link = Link(world.store, chance, slowest=plan.slowest, faults=plan.faults, page=plan.page)
        cache = SessionCache(chance.choice((0, 4_000, 1_000_000)))
        self._chance = chance
        self.clock = SkewedClock(world.loop, chance.choice((0.0, 0.0, -3_600.0, 2.0, 3_600.0)))
        self.repo = self.repository(cache, self.clock)
        world.processes[name] = self

    def repository(self, cache: SessionCache, clock: SkewedClock) -> SessionRepository:
        """A repository over this process's link."""
        backoff = Backoff(0.001, 0.02, self._chance.random)
        store = LockedSessionStore(self.link, cache, clock=clock, backoff=backoff)
        repo = SessionRepository(cache, self.link, store)
        repo._bound.tiers.tolerant._backoff = Backoff(0.05, 5.0, self._chance.random)
        return repo

    def client(self, name: str) -> Client:
        """Somebody who works in this process."""
        return Client(self, name, random.Random(self.world.chance.getrandbits(64)))


class Client:
    """Somebody who does things, and notes what came of them."""

    def __init__(self, of: Process, name: str, chance: random.Random) -> None:
        self.name = name
        self.process = of
        self.world = of.world
        self.repo = of.repo
        self.chance = chance
        self.copy: Session | None = None
        self.work = Work()
        self.is_accepted = True
        """Whether the last save was acknowledged, or accepted to be made later: the copy isn't needed any more."""

    async def pause(self) -> None:
        """Do nothing for a while."""
        await asyncio.sleep(self.chance.choice((0.0, 0.001, 0.02, 0.2)))  # noqa: TID251 - simulated time

    async def do(
        self, what: str, session: str, call: Coroutine[Any, Any, T], argument: object = None
    ) -> tuple[Operation, T | None]:
        """Do something and note it; now and then, lose patience."""
        loop = self.world.loop
        number = len(self.world.history) + 1
        done = Operation(number, self.name, self.process.name, session, what, argument, loop.steps)
        self.world.history.append(done)
        operation.set(number)
        impatient = self.chance.random() < self.world.plan.impatience
        patience = self.chance.random() * 4 * self.world.plan.slowest if impatient else None
        limit = asyncio.timeout(patience)
        result: T | None = None
        try:
            async with limit:
                result = await call
            done.outcome = "ok"
        except TimeoutError as exc:
            done.outcome = "unknown" if limit.expired() or getattr(exc, "outcome_unknown", True) else "failed"
        except BambooSessionsError as exc:
            done.error = type(exc).__name__
            done.outcome = "unknown" if exc.outcome_unknown else "failed" if exc.retryable else "refused"
        if done.outcome != "unknown":
            done.end = loop.steps
        loop.note(f"{self.name} {what} {session} {argument} {done.outcome} {done.error}")
        return done, result


def seeded_ids(seed: int) -> None:
    """Draw the ids of this context from the seed."""
    chance = random.Random(f"ids {seed}")
    id_source.set(lambda: f"{chance.getrandbits(128):032x}")
