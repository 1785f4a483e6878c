"""Reading a stretch of a history: the newest messages, those before one, those after one; also at an old revision.

A message that was removed keeps its place, so a reader who stands there can page on. One message more than asked for
is fetched, which tells whether the history goes on in the direction of reading; the other direction is asked for only
if there is an anchor, behind which there could be something.
"""

from __future__ import annotations

from itertools import islice

import apsw

from bamboo_sessions.domain.errors import MessageNotFoundError
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.query import Window, WindowQuery
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import Line, is_purged, messages_of
from bamboo_sessions.storage.sqlite.history.log import Log, log_at, log_of
from bamboo_sessions.storage.sqlite.sessions.rows import find
from bamboo_sessions.storage.sqlite.transactions.budget import Budget
from bamboo_sessions.storage.sqlite.transactions.connection import reading


def read_window(
    connection: apsw.Connection, key: SessionKey, query: WindowQuery, *, small: bool = False
) -> Window | Tombstone | None:
    """A stretch of the history, or what deletion left, or `None`; `small` refuses long reads with `TooLong`."""
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        if query.at_revision is None:
            log = log_of(connection, row, Budget() if small else None)
        else:
            log = log_at(connection, row, query.at_revision)
        after, before = (_anchor(log, anchor) for anchor in (query.after, query.before))
        lines, has_more = _lines(log, after, before, query.count)
        if query.at_revision is not None:
            _check_there(key.session_id, lines)
        return Window(
            messages=tuple(messages_of(key.session_id, [line.body for line in lines])),
            has_earlier=has_more if after is None else _has_up_to(log, after),
            has_later=(has_more and after is not None) or (before is not None and _has_from(log, after, before)),
            message_count=row.message_count if query.at_revision is None else log.count(),
            revision=row.revision if query.at_revision is None else query.at_revision,
        )


def _anchor(log: Log, message_id: str | None) -> int | None:
    """Where a message stands; raises `MessageNotFoundError` if it was never in the history."""
    if message_id is None:
        return None
    found = ids.find(log.connection, log.session, ids.MESSAGE, [message_id]).get(message_id)
    if found is None:
        raise MessageNotFoundError(log.session_id, message_id)
    return log.order.version([line.address for line in found])


def _lines(log: Log, after: int | None, before: int | None, count: int) -> tuple[list[Line], bool]:
    """At most `count` lines between two, in order, and whether there are more, further on."""
    backwards = after is None
    found = list(islice(log.lines(log.order.living(after, before), backwards=backwards), count + 1))
    has_more = len(found) > count
    return (found[:count][::-1] if backwards else found[:count]), has_more


def _has_up_to(log: Log, address: int) -> bool:
    """Whether a line lives at `address` or in front of it."""
    return log.order.lives(address) or _has_any(log, log.order.living(before=address))


def _has_from(log: Log, after: int | None, before: int) -> bool:
    """Whether a line lives at `before` or behind it, and behind `after`."""
    is_in_order = after is None or log.order.place(after) < log.order.place(before)
    if is_in_order and log.order.lives(before):
        return True
    behind = before if is_in_order else after
    return _has_any(log, log.order.living(after=behind))


def _has_any(log: Log, spans: list[tuple[int, int]]) -> bool:
    return next(log.lines(spans), None) is not None


def _check_there(session_id: str, lines: list[Line]) -> None:
    """Raise `MessageNotFoundError` if a message of the window can't be read, since its text was purged."""
    for line in lines:
        if is_purged(line.body):
            raise MessageNotFoundError(session_id, line.head.id)
