"""Where a message, a tool call or a commit of an id is: an index that is filled behind the writers.

Most ids needn't be asked for: a message id that is higher than all UUIDv7 ids of its session is new, and the first try
of a commit id is, too. So the index is brought up to date for many commits at once, which is cheaper than for each, by
a commit now and then. Whoever asks looks through the few rows behind it as well; nothing is believed that the rows
don't say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import apsw

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.storage.sqlite.history.lines import (
    Line,
    LineHead,
    heads_of,
    is_ascending_id,
    lines_of,
    stored_id,
)
from bamboo_sessions.storage.sqlite.transactions.connection import Row, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import IDS_COMMITS, IDS_LINES_MAX

MESSAGE: Final = 0
CALL: Final = 1
COMMIT: Final = 2

THROUGH: Final = "SELECT value FROM meta WHERE name = 'ids_through'"
_INDEXED: Final = "SELECT position FROM ids WHERE kind = ? AND id = ? AND session = ?"
_ROW: Final = "SELECT position, body FROM commits WHERE position = ? AND session = ? AND lines > 0"
_TAIL: Final = f"""
    SELECT position, body FROM commits WHERE session = ? AND lines > 0 AND position > ({THROUGH}) ORDER BY position"""  # noqa: S608
_OF_ALL: Final = f"""
    SELECT session, position, body FROM commits WHERE lines > 0 AND position IN (
        SELECT position FROM ids WHERE kind = {MESSAGE} AND id = ?1)
    UNION ALL SELECT session, position, body FROM commits WHERE lines > 0 AND position > ({THROUGH})"""  # noqa: S608
_COMMIT: Final = f"""
    SELECT position FROM ids WHERE kind = {COMMIT} AND id = ?1 AND session = ?2
    UNION ALL SELECT position FROM commits WHERE position > ({THROUGH}) AND session = ?2 AND commit_id = ?1"""  # noqa: S608
_COMMITS: Final = f"""
    SELECT position FROM ids WHERE kind = {COMMIT} AND id = ?1
    UNION ALL SELECT position FROM commits WHERE position > ({THROUGH}) AND commit_id = ?1 ORDER BY position"""  # noqa: S608
_NEXT: Final = f"""
    SELECT position, session, kinds, commit_id, lines, body FROM commits WHERE position > ({THROUGH})
    ORDER BY position LIMIT {IDS_LINES_MAX}"""  # noqa: S608 - constants
_ADD: Final = "INSERT OR IGNORE INTO ids (kind, id, session, position) VALUES (?, ?, ?, ?)"
_REMOVE: Final = "DELETE FROM ids WHERE kind = ? AND id = ? AND session = ? AND position = ?"
_HAS: Final = "SELECT 1 FROM ids WHERE kind = ? AND id = ? AND session = ? AND position = ?"
_FEW: Final = 16

Entry = tuple[int, bytes | str, int, int]
"""Kind, id, session and position."""


# --- asking


def is_new(ids: Sequence[str], last_id: str) -> bool:
    """Whether messages with these ids can't be in a session yet, and differ, as `last_id` tells."""
    for id_ in ids:
        if not (id_ > last_id and is_ascending_id(id_)):
            return False
        last_id = id_
    return True


def find(connection: apsw.Connection, session: int, kind: int, wanted: Collection[str]) -> dict[str, list[Line]]:
    """The lines of a session that have, or call, one of these ids: all versions, in the order of the log."""
    asked = [(kind, stored_id(id_), session) for id_ in wanted]
    positions = sorted({position for (position,) in connection.executemany(_INDEXED, asked)})
    rows: list[Row] = connection.executemany(_ROW, [(position, session) for position in positions]).fetchall()
    found: dict[str, list[Line]] = {}
    needles = _needles(wanted)
    for position, body in [*rows, *rows_of(connection, _TAIL, (session,))]:
        if needles is None or any(needle in body for needle in needles):
            for line, head in zip(lines_of(position, body), heads_of(body), strict=True):
                for id_ in {head.id} if kind == MESSAGE else head.calls:
                    if id_ in wanted:
                        found.setdefault(id_, []).append(line)
    return found


def _needles(wanted: Collection[str]) -> list[bytes] | None:
    """What a row has that names one of a few ids; `None`: that can't be told."""
    if len(wanted) > _FEW or not all(id_.isascii() for id_ in wanted):
        return None
    return [json.encode(id_) for id_ in wanted]


def find_everywhere(connection: apsw.Connection, message_id: str) -> Iterator[tuple[int, Line]]:
    """The sessions and lines that have a message of this id, living or not."""
    needles = _needles([message_id])
    for session, position, body in rows_of(connection, _OF_ALL, (stored_id(message_id),)):
        if needles is None or needles[0] in body:
            yield from ((session, line) for line in lines_of(position, body) if line.head.id == message_id)


def positions_of_commit(connection: apsw.Connection, commit_id: str, session: int | None = None) -> list[int]:
    """Where a commit of this id may be: of one session, or of all."""
    id_ = stored_id(commit_id)
    found = rows_of(connection, _COMMITS, (id_,)) if session is None else rows_of(connection, _COMMIT, (id_, session))
    return [position for (position,) in found]


# --- filling


def fill_now_and_then(connection: apsw.Connection, position: int) -> None:
    """After the commit at `position`: bring the index up to date if it is time."""
    if position % IDS_COMMITS == 0:
        fill(connection)


def fill(connection: apsw.Connection) -> bool:
    """Index what is behind the index, as much as a short transaction takes; whether there is more."""
    entries: list[Entry] = []
    through = lines = 0
    is_full = False
    cursor = connection.execute(_NEXT)
    for position, session, kinds, commit_id, count, body in cursor:
        lines += count
        is_full = bool(through) and lines > IDS_LINES_MAX
        if is_full:
            break
        through = position
        entries += entries_of(session, position, kinds, commit_id, body)
    cursor.close(force=True)
    if through:
        entries.sort(key=lambda entry: (entry[0], isinstance(entry[1], str), *entry[1:]))
        connection.executemany(_ADD, entries)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'ids_through'", (through,))
    return is_full


def entries_of(session: int, position: int, kinds: int, commit_id: bytes | str, body: bytes | None) -> list[Entry]:
    """What the index has of a row. Lines that can't be read have no ids; `check` reports them."""
    heads: list[LineHead] = []
    with suppress(StorageCorruptError):
        heads = [] if body is None else heads_of(body)
    named = [entry for head in heads for entry in _names(head)]
    if kinds:
        named.append((COMMIT, commit_id))
    return [(*name, session, position) for name in dict.fromkeys(named)]


def _names(head: LineHead) -> Iterable[tuple[int, bytes | str]]:
    yield MESSAGE, stored_id(head.id)
    yield from ((CALL, stored_id(id_)) for id_ in sorted(head.calls))


def remove(connection: apsw.Connection, entries: Iterable[Entry]) -> None:
    """Forget entries."""
    connection.executemany(_REMOVE, entries)


def has_all(connection: apsw.Connection, entries: Sequence[Entry]) -> bool:
    """Whether the index has these entries."""
    return len(connection.executemany(_HAS, entries).fetchall()) == len(entries)


def rebuild(connection: apsw.Connection, session: int) -> None:
    """Make all entries of a session anew."""
    through = value_of(connection, THROUGH)
    connection.execute("DELETE FROM ids WHERE session = ?", (session,))
    sql = "SELECT position, kinds, commit_id, body FROM commits WHERE session = ? AND position <= ? AND lines > 0"
    for row in rows_of(connection, sql, (session, through)):
        connection.executemany(_ADD, entries_of(session, *row))
