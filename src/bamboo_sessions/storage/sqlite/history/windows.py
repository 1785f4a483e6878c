"""Reading a stretch of a history: the newest messages, those before one, those after one; also at an old revision.

A message that was removed keeps its place, so a reader who stands there can page on. One message more than asked for
is fetched, which tells whether the history goes on in the direction of reading; the other direction is asked for only
if there is an anchor, behind which there could be something.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import apsw
import msgspec

from bamboo_sessions.domain.errors import MessageNotFoundError
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.query import Window, WindowQuery
from bamboo_sessions.storage.sqlite.history.reads import messages_of
from bamboo_sessions.storage.sqlite.sessions.rows import find
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, bounded, bounded_rows
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of

_LIVE: Final = "session = :session AND removed_revision IS NULL"
_LIVE_SINCE: Final = f"{_LIVE} AND added_revision <= :at"
_REMOVED_SINCE: Final = (
    "session = :session AND removed_revision IS NOT NULL AND removed_revision > :at AND added_revision <= :at"
)
_ANCHOR: Final = """
    SELECT position FROM messages WHERE session = :session AND message_id = :id
    ORDER BY added_revision <= :at AND ifnull(removed_revision > :at, true) DESC, row DESC LIMIT 1"""

_BEHIND: Final = " AND position > :after"
_IN_FRONT: Final = " AND position < :before"
_UP_TO_AFTER: Final = " AND position <= :after"
_FROM_BEFORE: Final = " AND position >= :before"


@cache
def _sql(column: str, condition: str, order: str, *, is_past: bool) -> str:
    """A query for messages under a condition of the above, built once."""
    end = f"ORDER BY position {order} LIMIT :limit"
    if not is_past:
        return f"SELECT {column} FROM messages WHERE {_LIVE}{condition} {end}"  # noqa: S608 - constants
    halves = (  # living and removed messages have an index each: SQLite merges the two as it walks them
        f"SELECT {column}, position FROM messages WHERE {half}{condition}"  # noqa: S608 - constants
        for half in (_LIVE_SINCE, _REMOVED_SINCE)
    )
    return f"{' UNION ALL '.join(halves)} {end}"


class _Span(msgspec.Struct, frozen=True):
    """The messages of a session, now or at a revision, and the positions between which a window lies."""

    connection: apsw.Connection
    session: int
    at: int | None
    after: int | None
    before: int | None
    budget: Budget | None

    def bodies(self, limit: int) -> tuple[list[bytes], bool]:
        """At most `limit` messages of the window, in order, and whether it has more, further on."""
        within = "" if self.before is None else _IN_FRONT
        if self.after is not None:
            found = self._select(bounded("body", self.budget), _BEHIND + within, "ASC", limit + 1)
            return found[:limit], len(found) > limit
        found = self._select(bounded("body", self.budget), within, "DESC", limit + 1)
        return found[:limit][::-1], len(found) > limit

    def purged(self) -> str:
        """The id of the message of the window that can't be read, since its body was purged."""
        within = ("" if self.after is None else _BEHIND) + ("" if self.before is None else _IN_FRONT)
        order = "DESC" if self.after is None else "ASC"
        found: list[str] = self._select("message_id", f"{within} AND body IS NULL", order, 1)
        return found[0]

    def has(self, condition: str) -> bool:
        """Whether there is a message under one of the conditions above."""
        return bool(self._select("1", condition, "ASC", 1))

    def count(self) -> int:
        """How many messages there are."""
        return len(self._select("1", "", "ASC", -1))

    def _select(self, column: str, condition: str, order: str, limit: int) -> list[Any]:
        sql = _sql(column, condition, order, is_past=self.at is not None)
        names = {"session": self.session, "at": self.at, "after": self.after, "before": self.before, "limit": limit}
        return [row[0] for row in bounded_rows(self.connection, sql, names, self.budget)]


def read_window(
    connection: apsw.Connection, key: SessionKey, query: WindowQuery, *, small: bool = False
) -> Window | Tombstone | None:
    """A stretch of the history, or what deletion left, or `None`; `small` refuses long reads with `TooLong`."""
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        at = row.revision if query.at_revision is None else query.at_revision
        after, before = (_place(connection, key, row.key, anchor, at) for anchor in (query.after, query.before))
        span = _Span(connection, row.key, query.at_revision, after, before, Budget() if small else None)
        bodies, has_more = span.bodies(query.count)
        beyond = _FROM_BEFORE if after is None else _FROM_BEFORE + _BEHIND
        if None in bodies and query.at_revision is not None:
            raise MessageNotFoundError(key.session_id, span.purged())
        return Window(
            messages=tuple(messages_of(key.session_id, bodies)),
            has_earlier=has_more if after is None else span.has(_UP_TO_AFTER),
            has_later=(has_more and after is not None) or (before is not None and span.has(beyond)),
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
