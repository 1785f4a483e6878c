"""Bringing conversations in: several at a time, so that their commits share transactions; each one atomic (G3).

What is there already is recognised by its message ids, so importing again changes nothing (G4).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Final

import msgspec

from bamboo_sessions.cli.lines import InputLine
from bamboo_sessions.cli.text import counted, one_line
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    InputError,
    SessionDeletedError,
    SessionExistsError,
    StorageCorruptError,
    StorageError,
)
from bamboo_sessions.domain.json import same
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository import SessionRepository

AT_ONCE_MAX: Final = 64
"""Conversations under way: enough for large transactions, few enough for memory."""

REASON_CHARS_MAX: Final = 500


class Tally:
    """What became of the conversations so far."""

    def __init__(self) -> None:
        self.imported = 0
        self.appended = 0
        self.unchanged = 0
        self.failed = 0
        self.new_messages = 0
        self.repeated_ids = 0

    def document(self) -> dict[str, int]:
        """The counts as a JSON document."""
        return dict(vars(self))


class Importer:
    """Imports conversations into one repository.

    Args:
        sessions: Where to.
        tally: Counts what becomes of each.
        tell: Gets a line for each conversation that failed, or that differs from what is stored in a way that an
            import doesn't change.
        recreate: Whether ids that were deleted may be used again.
        repeated_ids: How many messages of a session got another id than they came with.
    """

    def __init__(
        self,
        sessions: SessionRepository,
        tally: Tally,
        tell: Callable[[str], None],
        *,
        recreate: bool,
        repeated_ids: Callable[[Session], int] = lambda _: 0,
    ) -> None:
        self._sessions = sessions
        self._tally = tally
        self._tell = tell
        self._recreate = recreate
        self._repeated_ids = repeated_ids
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def bring_in(self, name: str, lines: AsyncIterable[InputLine], read: Callable[[InputLine], Session]) -> None:
        """Import all lines of the input called `name`. Conversations of one id go one after another.

        Raises:
            StorageError: The store failed, which has nothing to do with a single conversation.
        """
        async with asyncio.TaskGroup() as group:
            async for line in lines:
                where = f"{name}, line {line.number}"
                try:
                    session = read(line)
                except BambooSessionsError as exc:
                    self._failed(where, exc)
                    continue
                while (earlier := self._under_way.get(session.id)) or len(self._under_way) >= AT_ONCE_MAX:
                    await asyncio.wait(
                        [earlier] if earlier else self._under_way.values(), return_when=asyncio.FIRST_COMPLETED
                    )
                self._under_way[session.id] = group.create_task(self._one(where, session))

    async def _one(self, where: str, session: Session) -> None:
        if repeated := self._repeated_ids(session):
            self._tally.repeated_ids += repeated
            self._tell(f"Note: {where}: {counted(repeated, 'message')} got new ids, as earlier ones have theirs.")
        try:
            await self._store(where, session)
        except StorageCorruptError as exc:
            self._failed(where, exc)
        except StorageError:
            raise
        except BambooSessionsError as exc:
            self._failed(where, exc)
        finally:
            del self._under_way[session.id]

    async def _store(self, where: str, session: Session) -> None:
        known = await self._sessions.load(session.id)
        if known is None:
            try:
                await self._create(session)
            except SessionExistsError:  # somebody else made it just now
                known = await self._sessions.get(session.id)
            else:
                self._tally.imported += 1
                self._tally.new_messages += len(session.messages)
                return
        await self._extend(where, session, known)

    async def _create(self, session: Session) -> None:
        if self._recreate:
            await self._sessions.create(session)
        else:
            await self._sessions.save(session)

    async def _extend(self, where: str, session: Session, known: Session) -> None:
        new = 0
        if session.messages:
            messages = [_as_old_as(known, message, session) for message in session.messages]
            appended = await self._sessions.append(session.id, *messages, incarnation=known.incarnation)
            new = len(session.messages) - len(appended.duplicates)
        if new:
            self._tally.appended += 1
            self._tally.new_messages += new
        else:
            self._tally.unchanged += 1
        differs = [name for name in _kept(session) if not same(getattr(session, name), getattr(known, name))]
        if differs:
            self._tell(f"Note: {where}: session {session.id!r} keeps its own {' and '.join(differs)}.")

    def _failed(self, where: str, exc: BambooSessionsError) -> None:
        self._tally.failed += 1
        self._tell(f"Error: {where}: {one_line(_reason(exc), REASON_CHARS_MAX)}")


def _as_old_as(known: Session, message: Message, session: Session) -> Message:
    """A message that came without a time, and so is as old as its session, in the session that is there."""
    if message.created_at != session.created_at:
        return message
    return msgspec.structs.replace(message, created_at=known.created_at)


def _kept(session: Session) -> list[str]:
    """What of `session` an import doesn't change where there is one."""
    return ["model", "metadata", *(name for name in ("title", "owner") if getattr(session, name) is not None)]


def _reason(exc: BambooSessionsError) -> str:
    if isinstance(exc, SessionDeletedError):
        return f"{exc} --recreate makes it again."
    return f"{exc} {exc.hint}" if isinstance(exc, InputError) and exc.hint else str(exc)
