"""Reading whole sessions: at first in full, later only what is new (G7, G8).

Messages are read in chunks: SQLite joins the bodies of some hundred rows to one JSON array, which is decoded at once.
That is half again as fast as row by row, and the thread asks for the interpreter's lock once a chunk, not once a row,
so that a busy event loop neither waits for a long read nor slows it down. A chunk that can't be decoded is read
again row by row, which carries what only `json` can read (L94), and names what is corrupt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages
from bamboo_sessions.domain.message import Message, from_body
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import SessionKey, State
from bamboo_sessions.storage.sqlite.connection import reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.sessions import SessionRow, find, read_head, with_counters
from bamboo_sessions.storage.sqlite.tuning import (
    CHUNK_BYTES_MAX,
    CHUNK_MESSAGES_MAX,
    LOOP_BYTES_MAX,
    LOOP_MESSAGES_MAX,
    ROW_BITS,
)

_MESSAGES: Final = msgspec.json.Decoder(list[Message])
_CHUNK: Final = """
    SELECT CAST('[' || group_concat(body, ',' ORDER BY row) || ']' AS BLOB) FROM messages
    WHERE row BETWEEN ? AND ? AND removed_revision IS NULL"""
_ROWS: Final = "SELECT body FROM messages WHERE row BETWEEN ? AND ? AND removed_revision IS NULL ORDER BY row"
_POSITIONS: Final = """
    SELECT group_concat(position, ',' ORDER BY row) FROM messages
    WHERE row BETWEEN ? AND ? AND removed_revision IS NULL"""
_ORDER: Final = """
    SELECT row, message_id, added_revision FROM messages
    WHERE session = ? AND removed_revision IS NULL ORDER BY position"""


class TooLong(Exception):
    """The read is too long for the event loop's thread."""


def read(connection: apsw.Connection, key: SessionKey, *, small: bool = False) -> State:
    """The whole session, or what its deletion left, or `None`; `small` refuses long reads with `TooLong`."""
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        return _whole(connection, row, small=small)


def read_newer(connection: apsw.Connection, key: SessionKey, known: Snapshot, *, small: bool = False) -> State:
    """As `read`, reading only what came after `known`; `known` itself if nothing did."""
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        if row.incarnation != known.head.incarnation or row.revision < known.revision:
            return _whole(connection, row, small=small)
        if row.revision == known.revision:
            return known
        return _newer(connection, row, known, small=small)


def _newer(connection: apsw.Connection, row: SessionRow, known: Snapshot, *, small: bool) -> Snapshot:
    if row.reshaped_revision <= known.revision:
        count = row.message_count - len(known.messages)
        _check_small(count, row.message_bytes - known.messages_bytes, small=small)
        messages = known.messages.extended(_appended(connection, row, count))
    else:
        _check_small(row.message_count, 0, small=small)
        messages = _reshaped(connection, row, known)
    head = with_counters(known.head, row) if row.head_revision <= known.revision else read_head(connection, row)
    return Snapshot(head, messages, row.message_bytes)


def _whole(connection: apsw.Connection, row: SessionRow, *, small: bool) -> Snapshot:
    _check_small(row.message_count, row.message_bytes, small=small)
    messages = _in_order(connection, row) if row.message_count else NO_MESSAGES
    return Snapshot(read_head(connection, row), messages, row.message_bytes)


def _check_small(count: int, size: int, *, small: bool) -> None:
    if small and (count > LOOP_MESSAGES_MAX or size > LOOP_BYTES_MAX):
        raise TooLong


def _in_order(connection: apsw.Connection, row: SessionRow) -> FrozenMessages:
    first = (row.key << ROW_BITS) + 1
    messages = [*_between(connection, row, first, first + row.row_count - 1)]
    _check_count(row, len(messages), row.message_count)
    if row.reshaped_revision:  # else the rows were written in the order of the conversation
        positions = _positions(connection, row, first)
        messages = [messages[index] for index in sorted(range(len(messages)), key=positions.__getitem__)]
    return FrozenMessages(messages)


def _between(connection: apsw.Connection, row: SessionRow, first: int, last: int) -> Iterator[Message]:
    """The living messages in a range of rows."""
    average = row.message_bytes // max(1, row.message_count) + 1
    step = max(1, min(CHUNK_MESSAGES_MAX, CHUNK_BYTES_MAX // average))
    for start in range(first, last + 1, step):
        yield from _chunk(connection, row, start, min(start + step - 1, last))


def _chunk(connection: apsw.Connection, row: SessionRow, first: int, last: int) -> list[Message]:
    try:
        joined = value_of(connection, _CHUNK, (first, last))
        return _MESSAGES.decode(joined) if joined is not None else []
    except (ValueError, RecursionError, apsw.TooBigError):
        rows = rows_of(connection, _ROWS, (first, last))
        return [message_of(row.session_id, body) for (body,) in rows]


def message_of(session_id: str, body: bytes | None) -> Message:
    """The message in `body`; raises `StorageCorruptError`, naming the session."""
    try:
        return from_body(body or b"")
    except StorageCorruptError as exc:
        raise StorageCorruptError(f"Session {session_id!r}: {exc}", hint=exc.hint) from exc


def _positions(connection: apsw.Connection, row: SessionRow, first: int) -> list[int]:
    joined = value_of(connection, _POSITIONS, (first, first + row.row_count - 1))
    return [int(position) for position in joined.split(",")] if joined else []


def _appended(connection: apsw.Connection, row: SessionRow, count: int) -> list[Message]:
    """The last `count` messages, which nothing has changed since they were added."""
    last = (row.key << ROW_BITS) + row.row_count
    messages = [*_between(connection, row, last - count + 1, last)]
    _check_count(row, len(messages), count)
    return messages


def _check_count(row: SessionRow, found: int, counted: int) -> None:
    if found != counted:
        raise StorageCorruptError(
            f"Session {row.session_id!r} has {found} messages where {counted} are counted.",
            hint="Run `bamboo-sessions check --repair` on this store.",
        )


def _reshaped(connection: apsw.Connection, row: SessionRow, known: Snapshot) -> FrozenMessages:
    """The messages in their order now, reusing those that are known."""
    by_id = {message.id: message for message in known.messages}
    messages = []
    for number, message_id, added in rows_of(connection, _ORDER, (row.key,)):
        message = by_id.get(message_id) if added <= known.revision else None
        if message is None:
            found = row_of(connection, "SELECT body FROM messages WHERE row = ?", (number,))
            message = message_of(row.session_id, found[0] if found else None)
        messages.append(message)
    _check_count(row, len(messages), row.message_count)
    return FrozenMessages(messages)
