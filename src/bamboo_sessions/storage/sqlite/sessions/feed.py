"""The change feed: reads the log of commits, in commit order, and prunes it (G11).

The log is written by each commit in its own transaction, and only one transaction writes at a time, so that its
numbers rise in commit order and none can appear below one that was seen. What is kept is read in the same
transaction as the changes: pruning in between is noticed, never skipped over.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import apsw

from bamboo_sessions.domain.change import SessionChange
from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import FEED_PAGE_IDS_MAX
from bamboo_sessions.storage.feed_position import FeedBounds, FeedPosition, check_kept, due, mark_of, parse_position
from bamboo_sessions.storage.query import FeedPage
from bamboo_sessions.storage.sqlite.transactions.budget import TooLong
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_HEADS_MAX, LOOP_MESSAGES_MAX

_META: Final = "SELECT name, value FROM meta WHERE name IN ('epoch', 'pruned_up_to', 'pruned_mark')"
_NEWEST: Final = "SELECT position, commit_id FROM changes ORDER BY position DESC LIMIT 1"
_AT: Final = "SELECT commit_id FROM changes WHERE position = ?"
_ROWS: Final = """
    SELECT changes.position, commit_id, sessions.namespace, sessions.session_id, changes.session, changes.revision,
    kinds, at, first_row, row_count
    FROM changes LEFT JOIN sessions ON sessions.key = changes.session
    WHERE changes.position > ? ORDER BY changes.position LIMIT ?"""
_OLDEST: Final = "SELECT position, commit_id, logged_at FROM changes ORDER BY position LIMIT ?"
_FIRST_RIGHT: Final = "SELECT logged_at FROM changes WHERE logged_at <= ? ORDER BY position LIMIT 1"
_FORGET: Final = """
    DELETE FROM burnt WHERE (commit_id, namespace, session_id) IN
    (SELECT commit_id, namespace, session_id FROM burnt WHERE at < ? LIMIT ?)"""
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
        if meta.keys() != {"epoch", "pruned_up_to", "pruned_mark"}:
            raise StorageCorruptError("The store has lost its epoch.", hint="Restore a backup.")
        oldest = FeedPosition(meta["epoch"], meta["pruned_up_to"], meta["pruned_mark"])
        newest = row_of(connection, _NEWEST)
        return FeedBounds(oldest, oldest if newest is None else _position(oldest.epoch, *newest))


def _position(epoch: str, number: int, commit_id: str) -> FeedPosition:
    return FeedPosition(epoch, number, mark_of(commit_id))


def read_changes(
    connection: apsw.Connection, namespace: str, after: str | None, limit: int, *, small: bool = False
) -> FeedPage:
    """The changes of a namespace behind `after` (`None`: all that is kept); `small` refuses long reads (`TooLong`)."""
    with reading(connection):
        kept = bounds(connection)
        start = kept.oldest if after is None else _checked(connection, parse_position(after), kept)
        if small and kept.newest.number - start.number > LOOP_HEADS_MAX:
            raise TooLong
        rows = _within(_Row(*found) for found in rows_of(connection, _ROWS, (start.number, limit)))
        ours = [row for row in rows if _namespace_of(row) == namespace]
        if small and sum(row.row_count for row in ours) > LOOP_MESSAGES_MAX:
            raise TooLong
        through = _position(start.epoch, rows[-1].number, rows[-1].commit_id) if rows else start
        changes = tuple(_change(connection, start.epoch, row) for row in ours)
        return FeedPage(changes, str(through), is_end=through.number >= kept.newest.number)


def _checked(connection: apsw.Connection, position: FeedPosition, kept: FeedBounds) -> FeedPosition:
    """The position, if every commit behind it is kept."""
    there = kept.oldest
    if position.number != there.number:
        commit_id = value_of(connection, _AT, (position.number,))
        there = FeedPosition(position.epoch, position.number, "" if commit_id is None else mark_of(commit_id))
    check_kept(position, there, kept)
    return position


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


def prune(connection: apsw.Connection, older_than: timedelta, limit: int, now: datetime) -> int:
    """Forget the oldest commits, `limit` at most, by the times at which they were logged; how many.

    Rows of a clock that was ahead are passed over, and go with the next one whose time can be right.
    """
    before = now - older_than
    oldest = rows_of(connection, _OLDEST, (limit,))
    times = [from_micros(logged_at) for _, _, logged_at in oldest]
    if all(at > now for at in times):
        times.extend(from_micros(at) for (at,) in rows_of(connection, _FIRST_RIGHT, (to_micros(now),)))
    oldest = oldest[: due(times, before=before, now=now)]
    if not oldest:
        return 0
    number, commit_id, _ = oldest[-1]
    connection.execute("DELETE FROM changes WHERE position <= ?", (number,))
    for name, value in (("pruned_up_to", number), ("pruned_mark", mark_of(commit_id))):
        connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
    return len(oldest)


def forget(connection: apsw.Connection, before: datetime, limit: int) -> None:
    """Forget the ids of commits that never happened, `limit` of them at most."""
    connection.execute(_FORGET, (to_micros(before), limit))


def start_epoch(connection: apsw.Connection) -> str:
    """A new epoch."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_id(),))
    return str(bounds(connection).newest)
