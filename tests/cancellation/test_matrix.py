"""Every public call, cancelled at every point: there is the whole commit or nothing, and all is as before (G10)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from inspect import iscoroutinefunction, isfunction, ismethod
from itertools import permutations
from pathlib import Path
from typing import Any

import anyio.lowlevel
import msgspec
import pytest

from bamboo_sessions import MemoryStorage, Session, SessionRepository, StoreAdmin
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import link_of
from bamboo_sessions.repository.records import Records
from bamboo_sessions.testing.clock import START
from tests.cancellation.calls import CALLS, LIVES, SYNCHRONOUS, Call
from tests.cancellation.points import HOW, How, Points
from tests.cancellation.world import (
    IDS,
    KEY,
    State,
    World,
    check_free,
    content_of,
    make_file,
    plain,
    state_now,
    state_of,
    told_where,
    world_on,
)

pytestmark = pytest.mark.anyio


class Expected(msgspec.Struct):
    """What a call that nobody cancels leaves behind: its points, all states on the way, and the one after a flush."""

    points: int
    states: list[State]
    final: State


@pytest.fixture
def ways(request: pytest.FixtureRequest) -> tuple[How, ...]:
    """How to cancel: in all ways in memory, and with `--long` on a file as well."""
    in_memory = "memory" in request.node.name
    return HOW if in_memory or request.config.getoption("--long") else ("cancel", "late")


@pytest.fixture(params=["memory", "sqlite"])
async def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The SQLite file to copy, or `None` for memory."""
    if request.param == "memory":
        return None
    await make_file(tmp_path / "sessions.db")
    return tmp_path / "sessions.db"


def test_every_public_call_is_in_the_matrix() -> None:
    """A new public method of the repository, of its records, or of the owner's handle is in the table of calls."""
    public = {name for name in dir(SessionRepository) if not name.startswith("_")} - SYNCHRONOUS
    public |= {f"records.{name}" for name in dir(Records) if not name.startswith("_")}
    owners = {name for name in dir(StoreAdmin) if not name.startswith("_")} - {"open", "aclose"}  # as the repository's
    public |= {f"StoreAdmin.{name}" for name in owners}
    assert public == {call.name for call in (*CALLS, *LIVES)}
    for name in SYNCHRONOUS:
        method = getattr(SessionRepository, name)
        assert not iscoroutinefunction(method)
        assert not (isfunction(method) or ismethod(method)) or name == "in_namespace"


def test_states_are_told_alike_whatever_the_order_of_their_sets() -> None:
    """Of nine keys two share one of a set's eight places, and the order in which they were put in shows."""
    head = SessionHead(id="s", root_session_id="s", created_at=START, updated_at=START)
    for one, other in permutations([f"key-{number}" for number in range(9)], 2):
        states = [
            Snapshot(msgspec.structs.replace(head, authoritative_keys=frozenset(keys)), FrozenMessages())
            for keys in ((one, other), (other, one))
        ]
        assert plain(states[0]) == plain(states[1])


@pytest.mark.parametrize("call", CALLS, ids=str)
async def test_a_cancelled_call_is_whole_or_nothing(call: Call, file: Path | None, ways: tuple[How, ...]) -> None:
    """G10: after a cancel at any point the state is one of the two, nothing leaks, and the call can be repeated."""
    expected = await _uncancelled(call)
    for at, how in _strikes(ways, expected.points):
        with told_where(at, how):
            async with world_on(file) as world:
                await _strike(call, world, Points(at, how), expected)
                await _check_clean(world)
                await _repeat(call, world, expected)
                await _check_clean(world)
            if file is not None:
                check_free(file.with_name("used.db"))


@pytest.mark.parametrize("call", [call for call in CALLS if call.saves], ids=str)
async def test_what_a_cancelled_save_committed_is_not_saved_again(
    call: Call, file: Path | None, ways: tuple[How, ...]
) -> None:
    """G10: what somebody changes after the commit of a cancelled save isn't put back by saving again."""
    expected = await _uncancelled(call)
    for at, how in _strikes(ways, expected.points):
        with told_where(at, how):
            async with world_on(file) as world:
                await _strike(call, world, Points(at, how), expected)
                committed = (await world.others.get("chat")).model == "mine"
                await world.others.update("chat", _set_theirs)
                await _repeat_save(call, world)
                final = await world.others.load("chat", fresh=True)
                assert final is not None
                assert final.model == ("theirs" if committed else "mine")


@pytest.mark.parametrize("call", LIVES, ids=str)
async def test_a_cancelled_opening_or_closing_leaves_nothing_open(call: Call, file: Path | None) -> None:
    """G10: opening and closing can be cancelled at any point and repeated; afterwards no thread and file is open."""
    async with world_on(None) as world:
        points = await _run(call, world, Points())
        await world.repo.__aenter__()
    for at, how in _strikes(HOW, points.count):
        with told_where(at, how):
            async with world_on(file) as world:
                await _run(call, world, Points(at, how))
                await call.make(world)
                await world.repo.__aenter__()
                await world.repo.flush()
                assert (await world.repo.get("chat")).title == "Chat"


def _strikes(ways: tuple[How, ...], points: int) -> Iterator[tuple[int, How]]:
    """All points and ways; storage that has threads may pass a few points more."""
    return ((at, how) for how in ways for at in range(1, points + 3))


async def _uncancelled(call: Call) -> Expected:
    """What becomes of `call` when nobody cancels it, on the reference engine."""
    async with world_on(None) as world:
        inner = world.storage.inner
        assert isinstance(inner, MemoryStorage)
        states: list[State] = []

        def passing() -> None:
            state = state_now(inner)
            if state not in states:
                states.append(state)

        if call.given:
            await call.given(world)
        points = await _run(call, world, Points(passing=passing), given=True)
        states.append(await state_of(inner))
        await world.repo.flush()
        return Expected(points.count, states, await state_of(inner))


async def _run(call: Call, world: World, points: Points, *, given: bool = False) -> Points:
    """Run `call`, and let the store end what it has begun."""
    if call.given and not given:
        await call.given(world)
    world.storage.points = points
    task = asyncio.create_task(points.run(call.make(world)))
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    world.release()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    world.storage.points = None
    if isinstance(outcome, BaseException):
        assert points.struck, outcome
        if not isinstance(outcome, asyncio.CancelledError | TimeoutError):
            raise outcome
    return points


async def _strike(call: Call, world: World, points: Points, expected: Expected) -> None:
    """Run `call` with a cancel; the state afterwards is one of those that a call passes."""
    await _run(call, world, points)
    await world.settle()
    state = await state_of(world.storage.inner)
    apart = [{name: (it, other[name]) for name, it in state.items() if it != other[name]} for other in expected.states]
    assert {} in apart, apart


async def _repeat(call: Call, world: World, expected: Expected) -> None:
    """The second call ends where the uncancelled one does."""
    try:
        await call.make(world)
    except Exception as exc:
        if call.refused_again is None or not isinstance(exc, call.refused_again):
            raise
    await world.repo.flush()
    await world.settle()
    if not call.repeats:
        assert content_of(await state_of(world.storage.inner)) == content_of(expected.final)


async def _repeat_save(call: Call, world: World) -> None:
    await call.make(world)
    await world.repo.flush()
    if call.name in {"flush", "save_best_effort"}:
        await world.repo.save(world.copy)


def _set_theirs(session: Session) -> None:
    session.model = "theirs"


async def _check_clean(world: World) -> None:
    """Locks are free and gone, no task is left but the one that retries, and the cache agrees with storage."""
    store = world.repo.persistence
    assert not len(store._locks)
    retries = world.repo._bound.tiers.tolerant._retries
    assert asyncio.all_tasks() - {retries} == world.tasks
    for id_ in IDS:
        cached, fresh = await world.repo.load(id_), await world.repo.load(id_, fresh=True)
        assert _seen(cached) == _seen(fresh)
        if KEY not in store.waiting:
            stored = await world.storage.inner.load_session(id_)
            assert _seen(cached) == _seen(stored)


def _seen(session: Session | None) -> Any:  # noqa: ANN401 - plain values
    return session and plain(link_of(session).base), session and [message.id for message in session.messages]
