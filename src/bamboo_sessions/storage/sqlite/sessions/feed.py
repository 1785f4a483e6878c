"""The change feed: reads the log of commits, in commit order, and prunes it (G11).

The log is written by each commit in its own transaction, and only one transaction writes at a time, so that its
numbers rise in commit order and none can appear below one that was seen. What is kept is read in the same
transaction as the changes: pruning in between is noticed, never skipped over.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import takewhile
from typing import Any, Final, NamedTuple

import apsw

from bamboo_sessions.domain.change import FeedBounds, FeedPosition, SessionChange, mark_of
from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import FEED_PAGE_IDS_MAX
from bamboo_sessions.storage.query import FeedPage
from bamboo_sessions.storage.sqlite.transactions.budget import TooLong
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_HEADS_MAX, LOOP_MESSAGES_MAX

_META: Final = "SELECT name, value FROM meta WHERE name IN ('epoch', 'pruned_up_to')"
_NEWEST: Final = "SELECT position, commit_id FROM changes ORDER BY position DESC LIMIT 1"
_AT: Final = "SELECT commit_id FROM changes WHERE position = ?"
_ROWS: Final = """
    SELECT changes.position, commit_id, sessions.namespace, sessions.session_id, changes.session, changes.revision,
    kinds, at, first_row, row_count
    FROM changes LEFT JOIN sessions ON sessions.key = changes.session
    WHERE changes.position > ? ORDER BY changes.position LIMIT ?"""
_IDS: Final = "SELECT message_id FROM messages WHERE row BETWEEN ? AND ? AND session = ? ORDER BY position"


class _Row(NamedTuple):
    number: int
    commit_id: str
    namespace: str | None
    session_id: str | None
    session: int
    revision: int
    kinds: str
    at: int
    first_row: int
    row_count: int


def bounds(connection: apsw.Connection) -> FeedBounds:
    """What is kept of the feed."""
    with reading(connection):
        meta: dict[str, Any] = dict(rows_of(connection, _META))
        if meta.keys() != {"epoch", "pruned_up_to"}:
            raise StorageCorruptError("The store has lost its epoch.", hint="Restore a backup.")
        oldest = FeedPosition(meta["epoch"], meta["pruned_up_to"])
        newest = row_of(connection, _NEWEST)
        return FeedBounds(oldest, oldest if newest is None else _position(oldest.epoch, *newest))


def _position(epoch: str, number: int, commit_id: str | None) -> FeedPosition:
    return FeedPosition(epoch, number, "" if commit_id is None else mark_of(commit_id))


def read_changes(
    connection: apsw.Connection, namespace: str, after: int | None, limit: int, *, small: bool = False
) -> FeedPage:
    """The changes of a namespace behind `after` (`None`: all that is kept); `small` refuses long reads (`TooLong`)."""
    with reading(connection):
        kept = bounds(connection)
        epoch, start = kept.oldest.epoch, kept.oldest.number if after is None else after
        if small and kept.newest.number - start > LOOP_HEADS_MAX:
            raise TooLong
        rows = _within(_Row(*found) for found in rows_of(connection, _ROWS, (start, limit)))
        ours = [row for row in rows if _namespace_of(row) == namespace]
        if small and sum(row.row_count for row in ours) > LOOP_MESSAGES_MAX:
            raise TooLong
        there = _position(epoch, start, value_of(connection, _AT, (start,)))
        through = _position(epoch, rows[-1].number, rows[-1].commit_id) if rows else there
        return FeedPage(kept, there, through, tuple(_change(connection, epoch, row) for row in ours))


def _within(rows: Iterable[_Row]) -> list[_Row]:
    """The first rows, up to the bound on message ids; one at least."""
    taken: list[_Row] = []
    count = 0
    for row in rows:
        count += row.row_count
        if taken and count > FEED_PAGE_IDS_MAX:
            break
        taken.append(row)
    return taken


def _namespace_of(row: _Row) -> str:
    if row.namespace is None:
        raise StorageCorruptError(
            f"Commit {row.number} in the feed is of no session.", hint="Run `bamboo-sessions check` on this store."
        )
    return row.namespace


def _change(connection: apsw.Connection, epoch: str, row: _Row) -> SessionChange:
    ids: list[tuple[str]] = []
    if row.row_count:
        last = row.first_row + row.row_count - 1
        ids = rows_of(connection, _IDS, (row.first_row, last, row.session))
    return SessionChange(
        position=str(_position(epoch, row.number, row.commit_id)),
        session_id=str(row.session_id),
        revision=row.revision,
        kinds=tuple(row.kinds.split(",")),  # type: ignore[arg-type] # what kinds_of gave
        message_ids=tuple(id_ for (id_,) in ids),
        at=from_micros(row.at),
    )


def prune(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Forget the oldest commits, up to the first that isn't older than `before`; how many."""
    oldest = rows_of(connection, "SELECT position, at FROM changes ORDER BY position LIMIT ?", (limit,))
    due = list(takewhile(lambda row: row[1] < to_micros(before), oldest))
    if due:
        connection.execute("DELETE FROM changes WHERE position <= ?", (due[-1][0],))
        connection.execute("UPDATE meta SET value = ? WHERE name = 'pruned_up_to'", (due[-1][0],))
    return len(due)


def start_epoch(connection: apsw.Connection) -> FeedBounds:
    """A new epoch."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_id(),))
    return bounds(connection)
