"""A store with a little of everything, and what becomes of it when bits of its files flip."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from bamboo_sessions import Message, PendingQuestion, Session, SessionRepository, TokenUsageRecord, ToolCall
from bamboo_sessions.domain.errors import InputError, StorageError
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.clock import START
from tests.power_cut.mirror import CHILD, FORK, KIND, SESSIONS, state_of
from tests.power_cut.recovery import NAME, folder

S = SESSIONS[0]
PAGE: Final = 4096


class Store(msgspec.Struct):
    """The files of a closed store, and those of one that a killed process left with a log.

    `states` are those of the latter: before each of the commits in the log, and after the last.
    """

    closed: dict[str, bytes]
    killed: dict[str, bytes]
    states: list[str]


async def prepare(path: Path) -> Store:
    """Make the store."""
    clock = ManualClock()
    async with SessionRepository.open(SqliteStorage(path), clock=clock) as sessions:
        for id_ in SESSIONS[:3]:
            await sessions.create(Session(id_, clock=clock))
        call = Message.assistant("let me see", [ToolCall("call", "look", "{}")], id="m1", created_at=START)
        result = Message.tool("seen", tool_call_id="call", id="m2", created_at=START)
        await sessions.append(S, _user("m0"), call, result, _user("m3"))
        await sessions.rename(S, "A title that a person chose")
        await sessions.set_value(S, "colour", "red")
        await sessions.ask(S, PendingQuestion("c1", "ask", "Which?", id="q1", asked_at=START))
        await sessions.answer(S, "q1", "this one", answer_id="a1")
        await sessions.ask(S, PendingQuestion("c2", "ask", "And now?", id="q2", asked_at=START))
        await sessions.append_token_usage_record(S, TokenUsageRecord(id="u1", at=START, input_tokens=300, model="m"))
        await sessions.records.put(KIND, "k", b"value of a record", session=S)
        await sessions.records.put(KIND, "k", b"value of all", shared="app")
        copy = await sessions.get(S)
        copy.messages[0] = msgspec.structs.replace(copy.messages[0], content="edited")
        del copy.messages[3]
        await sessions.save(copy)
        await sessions.fork(S, new_id=FORK)
        await sessions.create(copy.new_child(CHILD))
        await sessions.append(SESSIONS[1], *(_user(f"n{number}") for number in range(12)))
        await sessions.delete(SESSIONS[2])
    closed = _files(path.parent)
    storage = SqliteStorage(path)
    async with SessionRepository.open(storage, clock=clock) as sessions:
        states = [await state_of(storage)]
        await sessions.append(CHILD, _user("in the log"))
        states.append(await state_of(storage))
        await sessions.rename(CHILD, "also in the log")
        states.append(await state_of(storage))
        return Store(closed, _files(path.parent), states)


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


def _user(id: str) -> Message:
    return Message.user(f"the text of {id}", id=id, created_at=START)


class Seen(msgspec.Struct):
    """What was read of a store (`None`: an error said why not), whether a check is content, and errors not ours."""

    state: str | None
    is_clean: bool
    leaks: list[str]


async def look(path: Path) -> Seen:
    """Open, read all, and check."""
    seen = Seen(None, False, [])
    storage = SqliteStorage(path, durability="relaxed")
    try:
        await storage.open()
    except (StorageError, InputError):
        return seen
    try:
        try:
            seen.state = await state_of(storage)
        except StorageError:
            pass
        except Exception as exc:  # noqa: BLE001 - that's what is looked for
            seen.leaks.append(f"reading: {exc!r}")
        try:
            seen.is_clean = (await storage.check()).ok
        except StorageError:
            pass
        except Exception as exc:  # noqa: BLE001 - as above
            seen.leaks.append(f"checking: {exc!r}")
    finally:
        await storage.aclose()
    return seen


Verdict = Literal["harmless", "reported", "refused", "shortened"]
"""The state is the same; a check reports damage; reading or opening says so; the log ends earlier."""


class Flip(msgspec.Struct, frozen=True):
    """One bit of one file."""

    file: str
    offset: int
    bit: int


def verdicts(
    files: Mapping[str, bytes], flips: Iterable[Flip], earlier: Collection[str] = ()
) -> Iterator[tuple[Flip, Verdict | str]]:
    """What became of the store after each flip; anything but a `Verdict` is a failure.

    `earlier` are states that it may have after a flip in its log.
    """
    with folder() as place:
        good = asyncio.run(_look_at(place, files))
        assert good.state is not None
        assert good.is_clean
        for flip in flips:
            damaged = bytearray(files[flip.file])
            damaged[flip.offset] ^= 1 << flip.bit
            seen = asyncio.run(_look_at(place, {**files, flip.file: bytes(damaged)}))
            yield flip, "shortened" if seen.is_clean and seen.state in earlier else _verdict(seen, good)


async def _look_at(place: Path, files: Mapping[str, bytes]) -> Seen:
    for file in place.iterdir():
        file.unlink()
    for name, content in files.items():
        (place / name).write_bytes(content)
    return await look(place / NAME)


def _verdict(seen: Seen, good: Seen) -> Verdict | str:
    if seen.leaks:
        return "; ".join(seen.leaks)
    if seen.state is None:
        return "refused"
    if not seen.is_clean:
        return "reported"
    return "harmless" if seen.state == good.state else "silently something else"
