"""The two stores that the demo puts under the same load: ours, and the plain one that most programs begin with.

`NaiveStore` loads a whole session, lets the caller change it, and writes the whole session back under a lock, into one
JSON file for each session, flushed to the disk and renamed in place. Every single write is sound. What it lacks is the
merge: a copy that is old when it is written takes back what others did meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion, answered, find
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import copy_without_base, freeze, record_answer
from bamboo_sessions.repository import SessionRepository


class Store(Protocol):
    """What the demo asks of a store. Each call returns once its change is durable."""

    async def create(self, session: Session) -> None:
        """Store a new session."""
        ...

    async def load(self, session_id: str) -> Session:
        """A working copy."""
        ...

    async def save(self, session: Session) -> int:
        """Store a working copy as a whole; how many messages of others came into it."""
        ...

    async def append(self, session_id: str, message: Message) -> None:
        """Add a message to the latest state."""
        ...

    async def rename(self, session_id: str, title: str) -> int:
        """Set the title; the `metadata_version` now."""
        ...

    async def pin(self, session_id: str, pinned: bool) -> int:
        """Pin or unpin; the `metadata_version` now."""
        ...

    async def set_value(self, session_id: str, key: str, value: str) -> int:
        """Set a metadata value; the `metadata_version` now."""
        ...

    async def ask(self, session_id: str, question: PendingQuestion) -> None:
        """Ask a person."""
        ...

    async def answer(self, session_id: str, question_id: str, text: str) -> None:
        """Answer; raises `QuestionError` if that isn't possible any more."""
        ...

    def stored(self) -> AsyncIterator[Session]:
        """Everything that is stored."""
        ...


class DurableStore:
    """A `SessionRepository`."""

    def __init__(self, sessions: SessionRepository) -> None:
        self._sessions = sessions

    async def create(self, session: Session) -> None:
        """See `Store`."""
        await self._sessions.create(session)

    async def load(self, session_id: str) -> Session:
        """See `Store`."""
        return await self._sessions.get(session_id)

    async def save(self, session: Session) -> int:
        """See `Store`."""
        return len((await self._sessions.save(session)).merged)

    async def append(self, session_id: str, message: Message) -> None:
        """See `Store`."""
        await self._sessions.append(session_id, message)

    async def rename(self, session_id: str, title: str) -> int:
        """See `Store`."""
        return (await self._sessions.rename(session_id, title)).metadata_version

    async def pin(self, session_id: str, pinned: bool) -> int:
        """See `Store`."""
        return (await self._sessions.pin(session_id, pinned)).metadata_version

    async def set_value(self, session_id: str, key: str, value: str) -> int:
        """See `Store`."""
        return (await self._sessions.set_value(session_id, key, value)).metadata_version

    async def ask(self, session_id: str, question: PendingQuestion) -> None:
        """See `Store`."""
        await self._sessions.ask(session_id, question)

    async def answer(self, session_id: str, question_id: str, text: str) -> None:
        """See `Store`."""
        await self._sessions.answer(session_id, question_id, text)

    async def stored(self) -> AsyncIterator[Session]:
        """See `Store`."""
        async for head in self._sessions.iter_sessions():
            yield await self._sessions.get(head.id)


class _File(msgspec.Struct):
    head: SessionHead
    messages: list[Message]


_file: Final = msgspec.json.Decoder(_File)


class NaiveStore:
    """Whole sessions in JSON files, with a lock in this process and no merge."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()

    async def create(self, session: Session) -> None:
        """See `Store`."""
        await self.save(session)

    async def load(self, session_id: str) -> Session:
        """See `Store`."""
        async with self._lock:
            return self._read(self._path(session_id))

    async def save(self, session: Session) -> int:
        """See `Store`. What the copy hasn't, the file hasn't any more."""
        async with self._lock:
            self._write(session)
        return 0

    async def append(self, session_id: str, message: Message) -> None:
        """See `Store`."""
        await self._change(session_id, lambda session: session.add_message(message))

    async def rename(self, session_id: str, title: str) -> int:
        """See `Store`."""
        return await self._set(session_id, lambda session: setattr(session, "title", title))

    async def pin(self, session_id: str, pinned: bool) -> int:
        """See `Store`."""
        return await self._set(session_id, lambda session: setattr(session, "pinned", pinned))

    async def set_value(self, session_id: str, key: str, value: str) -> int:
        """See `Store`."""
        return await self._set(session_id, lambda session: session.metadata.update({key: value}))

    async def ask(self, session_id: str, question: PendingQuestion) -> None:
        """See `Store`."""
        await self._change(session_id, lambda session: session.set_pending_question(question))

    async def answer(self, session_id: str, question_id: str, text: str) -> None:
        """See `Store`. An answered question is refused, as far as the file remembers it."""

        def change(session: Session) -> None:
            question = find(session_id, session.questions, question_id)
            settled = answered(session_id, question, text, answer_id=None, at=SYSTEM_CLOCK.now())
            if settled is not None:
                record_answer(session, settled)
                call, id = settled.tool_call_id, settled.answer_message_id
                place = next((i for i, m in enumerate(session.messages) if call in {c.id for c in m.tool_calls}), None)
                session.messages.insert(
                    len(session.messages) if place is None else place + 1, Message.tool(text, tool_call_id=call, id=id)
                )

        await self._change(session_id, change)

    async def stored(self) -> AsyncIterator[Session]:
        """See `Store`."""
        for path in sorted(self._folder.glob("*.json")):
            yield self._read(path)

    async def _set(self, session_id: str, change: Callable[[Session], Any]) -> int:
        def with_version(session: Session) -> None:
            change(session)
            session.metadata_version += 1

        version: int = (await self._change(session_id, with_version)).metadata_version
        return version

    async def _change(self, session_id: str, change: Callable[[Session], None]) -> Session:
        async with self._lock:
            session = self._read(self._path(session_id))
            change(session)
            self._write(session)
            return session

    def _path(self, session_id: str) -> Path:
        """An id may hold what a file name can't."""
        return self._folder / f"{blake2b(session_id.encode(), digest_size=16).hexdigest()}.json"

    def _read(self, path: Path) -> Session:
        content = json.decode(path.read_bytes(), _file, what=str(path))
        return copy_without_base(content.head, FrozenMessages(content.messages))

    def _write(self, session: Session) -> None:
        draft = freeze(session)
        path = self._path(session.id)
        temporary = path.with_suffix(f".{os.getpid()}.new")
        with temporary.open("wb") as file:
            file.write(json.encode(_File(draft.head, list(draft.messages))))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
