"""What a store can be asked to do in a benchmark. The standard library only.

A session's messages are given as texts; the first is a person's, the next the model's, and so on in turn. Each call is
what the store's own documentation tells its users to do, with the settings that it ships with.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "benchmarks.stores"


class Unsupported(Exception):
    """The store has no such thing."""


class Store(ABC):
    """A store over one file (or folder), opened by `open`.

    Args:
        path: Where it keeps its data.
    """

    bulk = True
    """Whether `fill` takes many messages in one go; else it is called with a few, so that it can be given up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    async def open(self) -> None:
        """Make it ready for the first call."""

    @abstractmethod
    async def close(self) -> None:
        """Let the file go; a log of its own is merged into it."""

    async def prepare(self, session: str) -> None:  # noqa: B027 - most have to do nothing
        """Take in hand what `append` needs, as an agent has that is in the middle of its run."""

    @abstractmethod
    async def append(self, session: str, texts: Sequence[str]) -> None:
        """Add one turn, in the way of an agent that runs: durable on return, if the store can."""

    async def append_blind(self, session: str, texts: Sequence[str]) -> None:
        """Add one turn without having loaded the session."""
        raise Unsupported

    async def fill(self, session: str, texts: Sequence[str]) -> None:
        """Add many messages, as fast as the store can."""
        await self.append(session, texts)

    @abstractmethod
    async def load(self, session: str) -> int:
        """Load all messages as objects; how many there are."""

    async def load_packed(self, session: str) -> int:
        """As `load`, from one document."""
        raise Unsupported

    async def last(self, session: str, count: int) -> int:
        """Load the last `count` messages as objects; how many came."""
        raise Unsupported

    async def commit_elsewhere(self) -> None:
        """Commit something to another session, by another way than this store object."""
        raise Unsupported

    async def save_unchanged(self, session: str) -> None:
        """Save the session in hand, which hasn't changed."""
        raise Unsupported

    async def writes(self) -> int:
        """How many commits were made by this store object."""
        raise Unsupported

    async def add_sessions(self, first: int, count: int) -> None:
        """Create sessions with the numbers `first` …; each has a title, every tenth is owned by "alice"."""
        raise Unsupported

    async def page(self, owner: str | None) -> int:
        """The 50 sessions changed last, of all or of one owner; how many came."""
        raise Unsupported


def owner_of(number: int) -> str:
    """Whom session `number` belongs to."""
    return "alice" if number % 10 == 0 else "bob"


def store_class(name: str) -> type[Store]:
    """The class of the store called `name`."""
    found: type[Store] = importlib.import_module(f"{PACKAGE}.{name}").STORE
    return found
