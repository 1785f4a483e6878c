"""The worlds that programs run in, and how one is run, judged, shrunk and written down."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bamboo_sessions import MemoryStorage
from bamboo_sessions.storage.commit import Commit, Committed
from bamboo_sessions.testing.lagging import LaggingDatabase
from tests.model.machine import Storage
from tests.model.operations import Operations
from tests.model.rules import take
from tests.model.shrinking import shrunk
from tests.model.steps import Step, drawn, steps_of, token_of


class OnFile(Operations):
    """Two repositories on one SQLite file, one of them with hardly any cache."""


class InMemory(Operations):
    """One repository on the reference engine."""

    two_repositories = False

    def _storage(self) -> Storage:
        return Storage(MemoryStorage())


class OnNetwork(Operations):
    """Two hosts, each of which hears of what the other one did when somebody looks, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self._database = LaggingDatabase(delay_seconds_max=None, clock=self.clock)

    def _storage(self) -> Storage:
        return Storage(self._database.connect())

    def hear(self) -> None:
        """All notifications arrive."""
        self._database.deliver()


class ForgetfulStorage(MemoryStorage):
    """A bug on purpose: a commit that edits a message and adds one to a session of some age forgets the edit."""

    async def commit(self, commit: Commit) -> Committed:
        """Commit, most of it."""
        head = await self.read_head(commit.key)
        if commit.edits and commit.insertions and head is not None and head.revision > 4:
            commit = msgspec.structs.replace(commit, edits=())
        return await super().commit(commit)


class Forgetful(InMemory):
    """A world that every program should fail in that is long enough."""

    def _storage(self) -> Storage:
        return Storage(ForgetfulStorage())


WORLDS: Final[dict[str, Callable[[], Operations]]] = {"file": OnFile, "memory": InMemory, "network": OnNetwork}
PLANTED: Final[dict[str, Callable[[], Operations]]] = {"forgetful": Forgetful}
"""Worlds that are wrong on purpose, to see that this is found."""


class DisagreementError(AssertionError):
    """A program after which system and model differ; the shortest one that was found, and how to run it again."""

    def __init__(self, world: str, steps: Sequence[Step]) -> None:
        self.token = token_of(world, steps)
        self.steps = tuple(steps)
        lines = [f"repeat it with  scripts/test tests/model --repeat {self.token}", *map(_line, steps)]
        super().__init__("\n  ".join(lines))


def explore(world: str, count: int) -> None:
    """Run programs that nobody has run before; raises `DisagreementError`."""
    chance = random.SystemRandom()
    for _ in range(count):
        steps = drawn(random.Random(chance.getrandbits(64)))
        if (failure := _failure(world, steps)) is not None:
            shortest = shrunk(steps, failure.is_repeated_by)
            raise DisagreementError(world, shortest) from (_failure(world, shortest) or failure).error


def repeat(token: str) -> None:
    """Run the program of a token; raises `DisagreementError`."""
    world, steps = steps_of(token)
    if (failure := _failure(world, steps)) is not None:
        raise DisagreementError(world, steps) from failure.error


class _Failure(NamedTuple):
    """What goes wrong in a world, and where in the tests that was found."""

    world: str
    error: Exception
    place: tuple[str, int | None]

    def is_repeated_by(self, steps: Sequence[Step]) -> bool:
        """Whether a shorter program fails at the same place."""
        other = _failure(self.world, steps)
        return other is not None and other.place == self.place


def _failure(world: str, steps: Sequence[Step]) -> _Failure | None:
    try:
        _run((WORLDS | PLANTED)[world](), steps)
    except Exception as error:  # noqa: BLE001 - whatever it is, the program can be repeated
        lines = traceback.extract_tb(error.__traceback__)
        ours = [line.lineno for line in lines if Path(line.filename).parent == Path(__file__).parent]
        return _Failure(world, error, (type(error).__name__, ours[-1]))
    return None


def _run(world: Operations, steps: Sequence[Step]) -> None:
    try:
        world.begin()
        for step in steps:
            take(world, step)
        world.check_at_the_end()
    finally:
        world.close()


def _line(step: Step) -> str:
    return f"{step.what}: session {step.sid}, {step.number}, {step.value}, {step.flag}"
