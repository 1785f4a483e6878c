"""What a commit means to people: “renamed to …” where the feed says `authoritative`.

The feed tells kinds, not values. Words come from comparing a session's head with the one that was known before; where
none was known, or it was overtaken, the kind alone is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from bamboo_sessions.cli.documents import head_of
from bamboo_sessions.cli.text import counted, one_line
from bamboo_sessions.domain.change import ChangeKind, SessionChange
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.repository import SessionRepository

HEADS_MAX: Final = 10 * PAGE_MAX
"""Heads that are kept to compare with."""

_TITLE_CHARS_MAX: Final = 60

_PLAIN: Final[dict[ChangeKind, str]] = {
    "created": "created",
    "questions": "question settled",
    "authoritative": "title, pin, owner or values set",
    "head": "details changed",
    "usage": "tokens counted",
    "records": "records of an adapter written",
    "deleted": "deleted",
}


class Happenings:
    """Puts commits into words, in the order in which they come."""

    def __init__(self, sessions: SessionRepository) -> None:
        self._sessions = sessions
        self._known: dict[str, SessionHead] = {}

    async def prepare(self) -> None:
        """Get to know the sessions that changed last."""
        for head in (await self._sessions.list_sessions(limit=PAGE_MAX)).sessions:
            self._known[head.id] = head

    async def told(self, change: SessionChange) -> tuple[str | None, list[str]]:
        """The session's title, and what happened to it."""
        before, now = self._known.pop(change.session_id, None), None
        if "deleted" not in change.kinds:
            with suppress(StorageCorruptError):
                session = await self._sessions.load(change.session_id)
                now = head_of(session) if session is not None else None
        title = now or before
        if now is not None:
            self._known[change.session_id] = now
            while len(self._known) > HEADS_MAX:
                del self._known[next(iter(self._known))]
        return title.title if title is not None else None, list(_words(change, before, now))


def _words(change: SessionChange, before: SessionHead | None, now: SessionHead | None) -> Iterator[str]:
    added = len(change.message_ids)
    for kind in change.kinds:
        if kind == "messages":
            yield counted(added, "new message") if added else "messages edited or removed"
        elif kind == "questions" and now is not None and now.has_question:
            yield "asks a question"
        elif kind == "authoritative" and before is not None and now is not None:
            yield from list(_set_by_people(before, now)) or [_PLAIN[kind]]
        else:
            yield _PLAIN[kind]


def _set_by_people(before: SessionHead, now: SessionHead) -> Iterator[str]:
    if now.title != before.title:
        yield f"renamed to “{one_line(now.title or '', _TITLE_CHARS_MAX)}”"
    for name in ("pinned", "archived"):
        if getattr(now, name) != getattr(before, name):
            yield name if getattr(now, name) else {"pinned": "unpinned", "archived": "brought back"}[name]
    if now.owner != before.owner:
        yield f"given to {one_line(now.owner or 'nobody', _TITLE_CHARS_MAX)}"
    for key in sorted(now.authoritative_keys | before.authoritative_keys):
        if now.metadata.get(key) != before.metadata.get(key):
            yield f"{one_line(key, _TITLE_CHARS_MAX)} {'set' if key in now.metadata else 'removed'}"
