"""Reading a stretch of a history: the newest messages, those before one, those after one; also at an old revision.

A message that was removed keeps its place, so a reader who stands there can page on.
"""

from __future__ import annotations

from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain.errors import MessageNotFoundError
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.query import Window, WindowQuery
from bamboo_sessions.storage.sqlite.connection import Row, reading, row_of, rows_of
from bamboo_sessions.storage.sqlite.reads import messages_of
from bamboo_sessions.storage.sqlite.sessions import find

_LIVE: Final = "session = :session AND removed_revision IS NULL"
_LIVE_SINCE: Final = f"{_LIVE} AND added_revision <= :at"
_REMOVED_SINCE: Final = (
    "session = :session AND removed_revision IS NOT NULL AND removed_revision > :at AND added_revision <= :at"
)
_ANCHOR: Final = """
    SELECT position FROM messages WHERE session = :session AND message_id = :id
    ORDER BY added_revision <= :at AND ifnull(removed_revision > :at, true) DESC, row DESC LIMIT 1"""


class _Span(msgspec.Struct, frozen=True):
    """The messages of a session, now or at a revision, and the positions between which a window lies."""

    connection: apsw.Connection
    session: int
    at: int | None
    after: int | None
    before: int | None

    def rows(self, count: int) -> list[Row]:
        """Positions and bodies of the window's messages, in order."""
        bounds = "AND position > :after " if self.after is not None else ""
        bounds += "AND position < :before " if self.before is not None else ""
        if self.after is not None:
            return self._select(bounds, "ASC", count, columns="position, body")
        return self._select(bounds, "DESC", count, columns="position, body")[::-1]

    def exists(self, condition: str, place: int) -> bool:
        """Whether there is a message at such a position."""
        return bool(self._select(f"AND position {condition} :place", "ASC", 1, place))

    def count(self) -> int:
        """How many messages there are."""
        return len(self._select("", "ASC", -1))

    def _select(
        self, condition: str, order: str, limit: int, place: int = 0, *, columns: str = "position"
    ) -> list[Row]:
        """Living and removed messages have an index each: SQLite merges the two as it walks them."""
        halves = (_LIVE,) if self.at is None else (_LIVE_SINCE, _REMOVED_SINCE)
        source = " UNION ALL ".join(f"SELECT {columns} FROM messages WHERE {half} {condition}" for half in halves)  # noqa: S608
        sql = f"{source} ORDER BY position {order} LIMIT :limit"
        names = {"session": self.session, "at": self.at, "after": self.after, "before": self.before}
        return rows_of(self.connection, sql, {**names, "place": place, "limit": limit})


def read_window(connection: apsw.Connection, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
    """A stretch of the history, or what deletion left, or `None`."""
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        at = row.revision if query.at_revision is None else query.at_revision
        after, before = (_place(connection, key, row.key, anchor, at) for anchor in (query.after, query.before))
        span = _Span(connection, row.key, query.at_revision, after, before)
        rows = span.rows(query.count)
        has_earlier, has_later = _beyond(span, rows)
        return Window(
            messages=tuple(messages_of(key.session_id, [body for _, body in rows])),
            has_earlier=has_earlier,
            has_later=has_later,
            message_count=row.message_count if query.at_revision is None else span.count(),
            revision=at,
        )


def _place(connection: apsw.Connection, key: SessionKey, session: int, message_id: str | None, at: int) -> int | None:
    """The position of a message at a revision, or else of its last version; raises `MessageNotFoundError`."""
    if message_id is None:
        return None
    found = row_of(connection, _ANCHOR, {"session": session, "id": message_id, "at": at})
    if found is None:
        raise MessageNotFoundError(key.session_id, message_id)
    position: int = found[0]
    return position


def _beyond(span: _Span, rows: list[Row]) -> tuple[bool, bool]:
    """Whether there are messages before and after the window."""
    if rows:
        return span.exists("<", rows[0][0]), span.exists(">", rows[-1][0])
    if span.after is not None:
        return span.exists("<=", span.after), span.exists(">", span.after)
    return False, span.before is not None and span.exists(">=", span.before)
