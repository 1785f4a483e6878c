"""The change feed: reads the log of commits, in commit order, and prunes it (G11).

The log is written by each commit in its own transaction, and only one transaction writes at a time, so that its
numbers rise in commit order and none can appear below one that was seen. What is kept is read in the same
transaction as the changes: pruning in between is noticed, never skipped over. The log is the history as well: pruning
moves a floor, and deletes the rows that have no part in any history, but for the newest, whose number must not come
again.
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
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import (
    heads_of,
    kinds_in,
    lines_of,
    shape_of,
    text_of,
    told_lines,
)
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, TooLong, check_short
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_HEADS_MAX

_META: Final = "SELECT name, value FROM meta WHERE name IN ('epoch', 'pruned_up_to', 'pruned_mark')"
_NEWEST: Final = "SELECT position, commit_id FROM commits ORDER BY position DESC LIMIT 1"
_AT: Final = "SELECT commit_id FROM commits WHERE position = ?"
_ROWS: Final = """
    SELECT commits.position, commit_id, sessions.namespace, sessions.session_id, commits.session, commits.revision,
    kinds, at, first, lines, ifnull(length(body), 0)
    FROM commits LEFT JOIN sessions ON sessions.key = commits.session
    WHERE commits.position > ? AND kinds <> 0 ORDER BY commits.position LIMIT ?"""
_OLDEST: Final = """
    SELECT position, commit_id, logged_at FROM commits WHERE position > ? AND kinds <> 0 ORDER BY position LIMIT ?"""
_FIRST_RIGHT: Final = """
    SELECT logged_at FROM commits WHERE position > ? AND kinds <> 0 AND logged_at <= ? ORDER BY position LIMIT 1"""
_GOING: Final = """
    SELECT session, position, kinds, commit_id, NULL FROM commits WHERE position > ? AND position <= ? AND kinds <> 0"""
_PRUNE: Final = """
    DELETE FROM commits WHERE position > ?1 AND position <= ?2 AND lines = 0 AND shape IS NULL
    AND position < (SELECT max(position) FROM commits)"""
_FORGET: Final = """
    DELETE FROM burnt WHERE (commit_id, namespace, session_id) IN
    (SELECT commit_id, namespace, session_id FROM burnt WHERE at < ? LIMIT ?)"""
_LINES: Final = "SELECT sum(lines), sum(length(body)) FROM commits WHERE position BETWEEN ? AND ? AND session = ?"
_BODIES: Final = """
    SELECT position, body, shape FROM commits WHERE position BETWEEN ? AND ? AND session = ? AND lines > 0
    ORDER BY position"""


class _Row(NamedTuple):
    number: int
    commit_id: bytes | str
    namespace: str | None
    session_id: str | None
    session: int
    revision: int
    kinds: int
    at: int
    first: int | None
    lines: int
    size: int


def bounds(connection: apsw.Connection) -> FeedBounds:
    """What is kept of the feed."""
    with reading(connection):
        meta: dict[str, Any] = dict(rows_of(connection, _META))
        if meta.keys() != {"epoch", "pruned_up_to", "pruned_mark"}:
            raise StorageCorruptError("The store has lost its epoch.", hint="Restore a backup.")
        oldest = FeedPosition(meta["epoch"], meta["pruned_up_to"], meta["pruned_mark"])
        newest = row_of(connection, _NEWEST)
        return FeedBounds(oldest, oldest if newest is None else _position(oldest.epoch, *newest))


def _position(epoch: str, number: int, commit_id: bytes | str) -> FeedPosition:
    return FeedPosition(epoch, number, mark_of(text_of(commit_id)))


def read_changes(
    connection: apsw.Connection, namespace: str, after: str | None, limit: int, *, small: bool = False
) -> FeedPage:
    """The changes of a namespace behind `after` (`None`: all that is kept); `small` refuses long reads (`TooLong`)."""
    with reading(connection):
        kept = bounds(connection)
        start = kept.oldest if after is None else _checked(connection, parse_position(after), kept)
        if small and kept.newest.number - start.number > LOOP_HEADS_MAX:
            raise TooLong
        found = (_Row(*row) for row in rows_of(connection, _ROWS, (start.number, limit)))
        rows = _within(row if row.first is None else _summed(connection, row) for row in found)
        ours = [row for row in rows if _namespace_of(row) == namespace]
        budget = Budget() if small else None
        check_short(sum(row.lines for row in ours), sum(row.size for row in ours), budget)
        through = _position(start.epoch, rows[-1].number, rows[-1].commit_id) if rows else start
        changes = tuple(_change(connection, start.epoch, row) for row in ours)
        return FeedPage(changes, str(through), is_end=through.number >= kept.newest.number)


def _checked(connection: apsw.Connection, position: FeedPosition, kept: FeedBounds) -> FeedPosition:
    """The position, if every commit behind it is kept."""
    there = kept.oldest
    if position.number != there.number:
        commit_id = value_of(connection, _AT, (position.number,))
        there = FeedPosition(position.epoch, position.number, "" if commit_id is None else mark_of(text_of(commit_id)))
    check_kept(position, there, kept)
    return position


def _summed(connection: apsw.Connection, row: _Row) -> _Row:
    """The row of a commit that has several, with the lines of all."""
    lines, size = rows_of(connection, _LINES, (row.first, row.number, row.session))[0]
    return row._replace(lines=lines, size=size or 0)


def _within(rows: Iterable[_Row]) -> list[_Row]:
    """The first rows, up to the bound on message ids; one at least."""
    taken: list[_Row] = []
    count = 0
    for row in rows:
        count += row.lines
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
    return SessionChange(
        position=str(_position(epoch, row.number, row.commit_id)),
        session_id=str(row.session_id),
        revision=row.revision,
        kinds=kinds_in(row.kinds),
        message_ids=tuple(_told_ids(connection, row)) if row.lines else (),
        at=from_micros(row.at),
    )


def _told_ids(connection: apsw.Connection, row: _Row) -> list[str]:
    """The ids of the messages that a commit added, in the order of the conversation."""
    rows = rows_of(connection, _BODIES, (row.first or row.number, row.number, row.session))
    shape = shape_of(rows[-1][2]) if rows and rows[-1][0] == row.number else shape_of(None)
    if not shape.quiet:
        return [head.id for _, body, _ in rows for head in heads_of(body)]
    return [line.head.id for position, body, _ in rows for line in told_lines(shape, lines_of(position, body))]


def prune(connection: apsw.Connection, older_than: timedelta, limit: int, now: datetime) -> int:
    """Forget the oldest commits, `limit` at most, by the times at which they were logged; how many.

    Rows of a clock that was ahead are passed over, and go with the next one whose time can be right.
    """
    floor = value_of(connection, "SELECT value FROM meta WHERE name = 'pruned_up_to'")
    oldest = rows_of(connection, _OLDEST, (floor, limit))
    times = [from_micros(logged_at) for _, _, logged_at in oldest]
    if all(at > now for at in times):
        times.extend(from_micros(at) for (at,) in rows_of(connection, _FIRST_RIGHT, (floor, to_micros(now))))
    oldest = oldest[: due(times, before=now - older_than, now=now)]
    if not oldest:
        return 0
    number, commit_id, _ = oldest[-1]
    for row in rows_of(connection, _GOING, (floor, number)):
        ids.remove(connection, ids.entries_of(*row))
    connection.execute(_PRUNE, (floor, number))
    for name, value in (("pruned_up_to", number), ("pruned_mark", mark_of(text_of(commit_id)))):
        connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
    return len(oldest)


def forget(connection: apsw.Connection, before: datetime, limit: int) -> None:
    """Forget the ids of commits that never happened, `limit` of them at most."""
    connection.execute(_FORGET, (to_micros(before), limit))


def start_epoch(connection: apsw.Connection) -> str:
    """A new epoch."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (new_id(),))
    return str(bounds(connection).newest)
