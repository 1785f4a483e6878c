"""This project: SQLite, full durability (WAL, fsync at each group commit), all guarantees on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bamboo_sessions import Message, Session, SessionRepository
from benchmarks.stores.base import Store, owner_of

_AT_ONCE = 256


def messages_of(texts: Sequence[str]) -> list[Message]:
    """Texts as messages, a person's and the model's in turn."""
    return [Message.assistant(text) if place % 2 else Message.user(text) for place, text in enumerate(texts)]


class Ours(Store):
    """A repository, with working copies."""

    async def open(self) -> None:
        self._sessions = await SessionRepository.open(self.path)
        self._copies: dict[str, Session] = {}
        self._elsewhere: SessionRepository | None = None

    async def close(self) -> None:
        if self._elsewhere is not None:
            await self._elsewhere.aclose()
        await self._sessions.aclose()

    async def prepare(self, session: str) -> None:
        self._copies[session] = await self._sessions.load_or_create(session)

    async def append(self, session: str, texts: Sequence[str]) -> None:
        copy = self._copies[session]
        copy.messages.extend(messages_of(texts))
        await self._sessions.save(copy)

    async def append_blind(self, session: str, texts: Sequence[str]) -> None:
        await self._sessions.append(session, *messages_of(texts), create=True)

    async def load(self, session: str) -> int:
        loaded = await self._sessions.load(session)
        return 0 if loaded is None else len(loaded.messages)

    async def last(self, session: str, count: int) -> int:
        return len((await self._sessions.history(session, limit=count)).messages)

    async def commit_elsewhere(self) -> None:
        if self._elsewhere is None:
            self._elsewhere = await SessionRepository.open(self.path)
        await self._elsewhere.append("elsewhere", Message.user("A word."), create=True)

    async def save_unchanged(self, session: str) -> None:
        await self._sessions.save(self._copies[session])

    async def writes(self) -> int:
        return self._sessions.persistence.writes.commits

    async def add_sessions(self, first: int, count: int) -> None:
        for start in range(first, first + count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, first + count))
            await asyncio.gather(*(self._create(number) for number in numbers))

    async def _create(self, number: int) -> None:
        session = Session(f"chat-{number}", title=f"Order {number}", owner=owner_of(number))
        await self._sessions.create(session)

    async def page(self, owner: str | None) -> int:
        return len((await self._sessions.list_sessions(limit=50, owner=owner)).sessions)


STORE = Ours
