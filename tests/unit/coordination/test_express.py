"""The express lane: which saves take it, and that it ends in all things as the general way does."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from bamboo_sessions import (
    BambooSessionsError,
    LockedSessionStore,
    MemoryStorage,
    Session,
    SessionCache,
    SqliteStorage,
    StorageTimeoutError,
    StorageUnavailableError,
)
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.express import additions
from bamboo_sessions.coordination.saving import plan_save
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, freeze, is_clean, link_of
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.conformance.kit import appending, call, head_of, result, user, users
from tests.unit.coordination.kit import KEY, no_wait

BASE: Final = Snapshot(
    head_of(revision=3, incarnation=1, message_count=3),
    FrozenMessages([user("a"), call("c", "1"), user("b")]),
    300,
)


def _taken(change: Callable[[Session], object], newest: Snapshot = BASE, **terms: Any) -> list[str] | None:  # noqa: ANN401 - of `plan_save`
    """What the lane would add for a copy of `BASE` that `change` was done to; `None`: the general way."""
    session = copy_of(BASE, ManualClock(BASE.head.updated_at + timedelta(seconds=1)))
    change(session)
    plan = plan_save(session, now=BASE.head.updated_at, **terms)
    added = additions(plan, newest)
    return None if added is None else [message.id for message in added]


def _model(session: Session) -> None:
    session.model = "m"
    session.add_message(user("d"))


def _metadata(session: Session) -> None:
    session.metadata["plan"] = 1
    session.add_message(user("d"))


def _time(session: Session) -> None:
    session.add_message(user("d"))
    session.updated_at += timedelta(days=1)


@pytest.mark.parametrize(
    ("change", "added"),
    [
        (lambda session: session.messages.extend(users("d", "e")), ["d", "e"]),
        (lambda session: (session.messages.append(user("d")), len(session.messages[0].id), session.metadata), ["d"]),
        (lambda session: session.messages.extend([call("f", "2"), result("r", "2")]), ["f", "r"]),
        (lambda session: session.messages.append(result("r", "2")), None),
        (lambda session: session.messages.append(result("r", "1")), None),
        (lambda _: None, None),
        (lambda session: session.messages.insert(0, user("d")), None),
        (lambda session: (session.messages.pop(), session.add_message(user("d"))), None),
        (_model, None),
        (_time, None),
        (_metadata, None),
    ],
)
def test_only_additions_take_the_lane(change: Callable[[Session], object], added: list[str] | None) -> None:
    """Messages at the end and nothing else; a tool's result only if it is where it belongs."""
    assert _taken(change) == added


@pytest.mark.parametrize(
    "terms",
    [
        {"commit_id": "mine"},
        {"if_revision": 3},
        {"if_last_message": "b"},
        {"records": (RecordWrite("k", "key", b""),)},
        {"refuse_conflicts": True},
        {"creating": True},
    ],
)
def test_saves_on_terms_take_the_general_way(terms: dict[str, Any]) -> None:
    """What is asked for besides is looked after in one place."""
    assert _taken(lambda session: session.add_message(user("d")), **terms) is None


def test_a_copy_that_is_behind_takes_the_general_way() -> None:
    """Others' commits have to be merged."""
    newer = msgspec.structs.replace(BASE, head=msgspec.structs.replace(BASE.head, revision=4))
    assert _taken(lambda session: session.add_message(user("d")), newer) is None


# --- the two ways are one


def _edit(copy: Session) -> None:
    copy.messages[-1:] = [user("edited", last.id) for last in copy.messages[-1:]]


_CHANGES: Final[dict[str, Callable[[Session, str], object]]] = {
    "add": lambda copy, name: copy.messages.extend([user(f"{name}1"), user(f"{name}2")]),
    "again": lambda copy, _: copy.messages.append(user("a")),
    "call": lambda copy, name: copy.messages.append(call(f"{name}-call", name)),
    "result": lambda copy, name: copy.messages.append(result(f"{name}-result", name)),
    "edit": lambda copy, _: _edit(copy),
    "remove": lambda copy, _: copy.messages.__delitem__(slice(1)),
    "set": Session.model.__set__,
}
"""What is done to a copy."""


class _World:
    """Two copies in one process, another process beside it, and a log of what all calls came to.

    In the world of the general way each save names its commit, which keeps it out of the lane.
    """

    def __init__(self, storage: SessionStorage, *, general: bool) -> None:
        self.clock = ManualClock()
        self.storage = FaultyStorage(storage)
        backoff = Backoff(first_seconds=0.001, longest_seconds=0.02, sleep=no_wait)
        self.store = LockedSessionStore(self.storage, SessionCache(), clock=self.clock, backoff=backoff)
        self.others = LockedSessionStore(storage, SessionCache(), clock=self.clock)
        self.general = general
        self.copies: list[Session] = []
        self.log: list[object] = []

    async def begin(self) -> None:
        """A session with a few messages, and the two copies."""
        await self.storage.open()
        session = Session("s", clock=self.clock)
        session.messages.extend(users("a", "b"))
        await self.store.merge_save(session)
        self.copies = [await self.loaded(), await self.loaded()]

    async def loaded(self) -> Session:
        """A new copy."""
        state = await self.store.load(KEY)
        assert isinstance(state, Snapshot)
        return copy_of(state, self.clock)

    async def run(self, step: tuple[str, int, str]) -> None:
        """One step of a program; whatever it comes to is logged."""
        what, which, name = step
        self.clock.move(timedelta(seconds=1))
        try:
            self.log.append(await self._done(what, which, name))
        except BambooSessionsError as exc:
            self.log.append((type(exc), str(exc)))
        self.log.append([_seen(copy) for copy in self.copies])
        entry = self.store.cache.entry(KEY)
        self.log.append(entry and (entry.snapshot, entry.size))
        self.log.append(msgspec.structs.replace(self.store.writes, unchanged=0))  # seen without a plan, or with one

    async def _done(self, what: str, which: int, name: str) -> object:
        copy = self.copies[which]
        match what:
            case "reload":
                self.copies[which] = await self.loaded()
            case "save" | "checkpoint":
                commit_id = f"save {len(self.log)}" if self.general and not is_clean(copy) else None
                return await self.store.merge_save(copy, additions_only=what == "checkpoint", commit_id=commit_id)
            case "append":
                return await self.store.append(appending("s", user(f"{name}1")))
            case "others append":
                await self.others.append(appending("s", user(f"{name}1")))
            case "other content":
                await self.others.append(appending("s", user("other", f"{name}2")))
            case "fail":
                self.storage.fail("commit", StorageUnavailableError)
            case "lose":
                self.storage.fail("commit", StorageTimeoutError, after=True)
            case _:
                _CHANGES[what](copy, name)
        return None

    async def end(self) -> list[object]:
        """The log, with the final state and the feed."""
        self.storage.heal()
        page = await self.storage.read_changes("default", None, 1_000)
        changes = [(change.revision, change.kinds, change.message_ids) for change in page.changes]
        self.log += [await self.storage.read(KEY), changes]
        await self.store.aclose()
        await self.storage.aclose()
        return self.log


def _seen(copy: Session) -> object:
    base = link_of(copy).base
    return freeze(copy), base and base.revision, link_of(copy).unsettled is None


_STEPS: Final = st.tuples(
    st.sampled_from(
        [
            *["add"] * 6,
            *["save"] * 8,
            *["call", "result"] * 2,
            *["again", "edit", "remove", "set", "reload", "checkpoint", "append"],
            *["others append", "other content", "fail", "lose"],
        ]
    ),
    st.integers(0, 1),
    st.sampled_from("xyz"),
)


async def _outcome(steps: list[tuple[str, int, str]], storage: SessionStorage, *, general: bool) -> list[object]:
    world = _World(storage, general=general)
    await world.begin()
    for step in steps:
        await world.run(step)
    return await world.end()


@given(st.lists(_STEPS, max_size=25))
@example([("remove", 0, "x"), ("save", 0, "x"), ("again", 0, "x"), ("add", 0, "x"), ("save", 0, "x")])
def test_the_lane_ends_as_the_general_way(steps: list[tuple[str, int, str]]) -> None:
    """States, reports, errors, copies, caches, counters and the feed are the same, whatever others do meanwhile."""
    event(f"{sum(what == 'save' for what, _, _ in steps) // 3 * 3} saves or more")
    lane = asyncio.run(_outcome(steps, MemoryStorage(), general=False))
    assert lane == asyncio.run(_outcome(steps, MemoryStorage(), general=True))


@settings(max_examples=20)
@given(st.lists(_STEPS, min_size=5, max_size=25))
def test_the_lane_ends_as_the_general_way_on_sqlite(steps: list[tuple[str, int, str]]) -> None:
    """The same on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        lane = asyncio.run(_outcome(steps, SqliteStorage(Path(folder) / "lane.db"), general=False))
        assert lane == asyncio.run(_outcome(steps, SqliteStorage(Path(folder) / "general.db"), general=True))
