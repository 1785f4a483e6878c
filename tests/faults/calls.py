"""Every public call of a repository that touches the disk, on a store with some sessions in it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from bamboo_sessions import Message, PendingQuestion, Session, SessionRepository, TokenUsageRecord
from bamboo_sessions.domain import json
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.clock import START
from tests.power_cut.mirror import CHILD, FORK, KIND, SESSIONS, state_of

S = SESSIONS[0]
_FRESH: Final = SessionKey("default", "fresh")
Call = Callable[[SessionRepository], Awaitable[object]]
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _message(id: str, size: int = 10) -> Message:
    return Message.user(f"{id} " + "x" * size, id=id, created_at=START)


async def _save(sessions: SessionRepository) -> object:
    copy = await sessions.get(S)
    copy.messages[0] = msgspec.structs.replace(copy.messages[0], content="edited")
    del copy.messages[1]
    copy.add_message(_message("saved", 20_000))
    copy.model = "another model"
    return await sessions.save(copy)


async def _checkpoint(sessions: SessionRepository) -> object:
    copy = await sessions.get(S)
    copy.add_message(_message("checkpointed"))
    return await sessions.checkpoint(copy)


async def _replace(sessions: SessionRepository) -> object:
    return await sessions.replace_history(S, [_message("new")])


async def _scan(sessions: SessionRepository) -> object:
    return [record async for record in sessions.records.scan(KIND, session=S)]


WRITES: Final[dict[str, Call]] = {
    "create": lambda r: r.create(Session("fresh", clock=ManualClock())),
    "load_or_create": lambda r: r.load_or_create("fresh"),
    "append": lambda r: r.append(S, _message("one", 9_000), _message("two")),
    "append to a new one": lambda r: r.append("fresh", _message("one"), create=True),
    "save": _save,
    "checkpoint": _checkpoint,
    "rename": lambda r: r.rename(S, "A new title"),
    "set_value": lambda r: r.set_value(S, "colour", "red"),
    "ask": lambda r: r.ask(S, PendingQuestion("c", "ask", "?", id="q2", asked_at=START)),
    "answer": lambda r: r.answer(S, "q1", "yes", answer_id="a1"),
    "update": lambda r: r.update(S, lambda session: session.metadata.update(seen=True)),
    "truncate": lambda r: r.truncate(S, after_message_id="m0"),
    "clear": lambda r: r.clear(S),
    "replace_history": _replace,
    "fork": lambda r: r.fork(S, new_id=FORK),
    "delete": lambda r: r.delete(S),
    "put": lambda r: r.records.put(KIND, "k", b"new" * 3_000, session=S),
    "count": lambda r: r.append_token_usage_record(S, TokenUsageRecord(id="u2", at=START, input_tokens=1)),
}
"""What changes something. `load_or_create` writes nothing until it is saved, and must not invent anything."""

READS: Final[dict[str, Call]] = {
    "load": lambda r: r.load(S),
    "load fresh": lambda r: r.load(S, fresh=True),
    "load what is not there": lambda r: r.load("nobody"),
    "load what is large": lambda r: r.load(SESSIONS[1]),
    "history": lambda r: r.history(S, limit=2),
    "list": lambda r: r.list_sessions(order="created_at", total=True),
    "usage": lambda r: r.token_usage(S, include_children=True),
    "record": lambda r: r.records.get(KIND, "k", session=S),
    "scan": _scan,
}


async def prepare(path: Path) -> None:
    """Make the store that the calls work on."""
    async with SessionRepository.open(SqliteStorage(path), clock=ManualClock()) as sessions:
        await sessions.create(Session(S, clock=ManualClock()))
        await sessions.append(S, *(_message(f"m{number}", 500) for number in range(5)))
        await sessions.ask(S, PendingQuestion("c", "ask", "?", id="q1", asked_at=START))
        await sessions.append(SESSIONS[1], *(_message(f"n{number}", 1_000) for number in range(150)), create=True)
        await sessions.create((await sessions.get(S)).new_child(CHILD))
        await sessions.records.put(KIND, "k", b"old", session=S)
        record = TokenUsageRecord(id="u1", at=START, input_tokens=3)
        await sessions.append_token_usage_record(S, record)


def plain(value: object) -> bytes:
    """A result as bytes, less ids that are random."""
    if isinstance(value, Session):
        draft = freeze(value)
        value = (draft.head, list(draft.messages))
    return _UUID.sub(b"uuid", json.encode(value))


async def state(path: Path) -> str:
    """A hash of all that is in the store, which is clean."""
    storage = SqliteStorage(path)
    await storage.open()
    try:
        report = await storage.check()
        assert report.ok, report.problems
        heads = await storage.read_head(_FRESH)
        return await state_of(storage) + (heads.id + str(heads.message_count) if isinstance(heads, SessionHead) else "")
    finally:
        await storage.aclose()
