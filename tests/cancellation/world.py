"""What a call is cancelled in: a repository with sessions, on memory or on a SQLite file, and how its state is read."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.lowlevel
import apsw
import msgspec

from bamboo_sessions import (
    MemoryStorage,
    Message,
    PendingQuestion,
    Session,
    SessionRepository,
    SqliteStorage,
    ToolCall,
)
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.storage.commit import RecordScope, RecordWrite, SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import ListQuery, RecordQuery
from bamboo_sessions.testing import FaultyStorage, ManualClock
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import call, recording, result, user
from tests.cancellation.points import Points

T = TypeVar("T")
KEY: Final = SessionKey("default", "chat")
IDS: Final = ("chat", "child", "empty", "fork", "gone", "new", "pinned")
SHARED: Final = RecordScope("shared", "all")
_GENERATED_ID: Final = 36  # characters of a UUID

State = dict[str, Any]
"""All that storage holds, in plain values."""


class WatchedStorage(FaultyStorage):
    """Tells when a call passes, and lets others run on both sides of it, as a storage that is elsewhere does."""

    points: Points | None = None

    async def _do(self, call: str, work: Callable[[], Awaitable[T]]) -> T:
        await self._pass()
        answer = await super()._do(call, work)
        await self._pass()
        return answer

    async def _pass(self) -> None:
        if self.points is not None:
            self.points.reach()
        await anyio.lowlevel.checkpoint()


class World:
    """One repository, a working copy of `chat` with every kind of change in it, and somebody else's repository."""

    def __init__(self, inner: SessionStorage) -> None:
        self.clock = ManualClock()
        self.storage = WatchedStorage(inner)
        self.repo = _repository(self.storage, self.clock)
        self.others = _repository(inner, self.clock)
        self.copy = Session("chat")
        self.tasks = asyncio.all_tasks()
        self.release: Callable[[], None] = lambda: None

    async def take_copy(self) -> None:
        """Load the working copy and change everything in it."""
        copy = await self.repo.get("chat")
        copy.model = "mine"
        copy.metadata["mine"] = 1
        del copy.messages[1]
        copy.messages[-1] = user("edited", "last")
        copy.add_message(user("added"))
        copy.set_pending_question(PendingQuestion("c3", "ask", "why?", id="q2", asked_at=START))
        self.copy = copy

    async def hold_lock(self) -> None:
        """Be in the session's lock for a moment, so that a call has to wait for it."""
        release = await self.repo.persistence._locks.acquire(KEY)

        def once() -> None:
            if self.release is once:
                self.release = lambda: None
                release()

        self.release = once

    async def settle(self) -> None:
        """Wait for all that was begun, in the store and on the storage's thread."""
        self.release()
        await self.repo.persistence.tasks.finish()
        await self.storage.inner.write_records(recording(RecordWrite("no", "such", None), scope=SHARED))


def _repository(storage: SessionStorage, clock: ManualClock) -> SessionRepository:
    repo = SessionRepository.open(storage, clock=clock)._handle
    repo.persistence._committer._backoff = Backoff(first_seconds=1, longest_seconds=1, sleep=_one_step)
    repo._bound.tiers.tolerant._backoff = Backoff(first_seconds=1, longest_seconds=1, sleep=_for_ever)
    return repo


async def _one_step(_: float) -> None:
    await anyio.lowlevel.checkpoint()


async def _for_ever(_: float) -> None:
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def world_on(file: Path | None) -> AsyncIterator[World]:
    """A world on a copy of the SQLite file `file`, or in memory; afterwards no thread and no file is left open."""
    before = open_files()
    if file is None:
        inner: SessionStorage = MemoryStorage()
        await seed(inner)
    else:
        for old in file.parent.glob("used.db*"):
            old.unlink()
        used = file.with_name("used.db")
        shutil.copy(file, used)
        inner = SqliteStorage(used)
    world = World(inner)
    await world.others.__aenter__()
    await world.repo.__aenter__()
    try:
        yield world
    finally:
        world.release()
        await world.repo.aclose()
        await world.others.aclose()
    assert not [thread.name for thread in threading.enumerate() if "bamboo" in thread.name]
    assert open_files() == before


@contextmanager
def told_where(at: int, how: str) -> Iterator[None]:
    """A failure says at which point, and how, the call was cancelled."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"cancelled at point {at}: {how}")
        raise


async def seed(storage: SessionStorage) -> None:
    """Sessions of every kind."""
    clock = ManualClock()
    repo = SessionRepository.open(storage, clock=clock)._handle
    chat = Session("chat", "m1", title="Chat", metadata={"key": 1}, clock=clock)
    for message in (
        Message.system("rules", id="system", created_at=START),
        user("removed"),
        call("call", "c1"),
        result("result", "c1"),
        Message.assistant("", (ToolCall("c2", "ask"),), id="asks", created_at=START),
        user("last"),
    ):
        chat.add_message(message)
    chat.set_pending_question(PendingQuestion("c2", "ask", "really?", id="q1", asked_at=START))
    await repo.create(chat)
    await repo.create(chat.new_child("child"))
    await repo.create(Session("empty", clock=clock))
    await repo.create(Session("pinned", pinned=True, clock=clock))
    await repo.create(Session("gone", clock=clock))
    await repo.delete("gone")
    await repo.set_value("chat", "set", "by a person")
    await repo.records.put("kind", "key", b"1", session="chat")
    await repo.records.put("kind", "key", b"1", shared="all")


async def make_file(file: Path) -> None:
    """A SQLite file with the sessions of `seed`."""
    storage = SqliteStorage(file)
    await storage.open()
    await seed(storage)
    await storage.aclose()


async def state_of(storage: SessionStorage) -> State:
    """All that storage holds."""
    page = await storage.list_heads(ListQuery("default", limit=100))
    state: State = {
        id_: plain(await storage.read(SessionKey("default", id_)))
        for id_ in sorted({*IDS, *(head.id for head in page.heads)})
    }
    for scope in (SHARED, RecordScope("session", "chat")):
        records = await storage.scan_records("default", scope, RecordQuery("kind"))
        state[f"records of {scope.name}"] = msgspec.to_builtins(records)
    totals = await storage.usage_totals("default", None, include_children=False)
    state["usage"] = msgspec.to_builtins(totals)
    return state


def state_now(storage: MemoryStorage) -> State:
    """All that the memory engine holds, without giving up the control of the event loop."""
    reading = state_of(storage)
    try:
        reading.send(None)
    except StopIteration as stop:
        state: State = stop.value
        return state
    raise AssertionError("the memory engine waited")


def plain(state: Snapshot | Tombstone | None) -> Any:  # noqa: ANN401 - plain values
    """A session's state in plain values; ids that were made up on the way are left out."""
    if not isinstance(state, Snapshot):
        return msgspec.to_builtins(state)
    messages = [
        ("new" if len(message.id) == _GENERATED_ID else message.id, message.role, message.text)
        for message in state.messages
    ]
    # Sets are put in order: theirs depends on the hashes of this process, and on how they were made.
    return {"head": msgspec.to_builtins(state.head, order="deterministic"), "messages": messages}


def content_of(state: State) -> State:
    """Without the counters and clocks that every commit moves."""
    moved = {"revision", "updated_at", "incarnation", "metadata_version", "created_at", "questions"}
    content: State = {}
    for name, value in state.items():
        if not isinstance(value, dict) or name == "usage":
            content[name] = value
        elif "head" not in value:
            content[name] = "deleted"
        else:
            head = {key: each for key, each in value["head"].items() if key not in moved}
            questions = [(q["id"], q.get("state", "open"), q.get("answer")) for q in value["head"].get("questions", ())]
            content[name] = (head, questions, value["messages"])
    return content


def open_files() -> list[str]:
    """What this process has open; nothing where that can't be told."""
    found = []
    with suppress(OSError):
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # that of the folder itself is closed by now
                found.append(str(descriptor.readlink()))
    return sorted(found)


def check_free(file: Path) -> None:
    """Raise `apsw.BusyError` if anybody has left a transaction open on the file."""
    connection = apsw.Connection(str(file))
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()
