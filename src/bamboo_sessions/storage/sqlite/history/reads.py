"""Reading whole sessions: at first in full, later only what is new (G7, G8).

A short session is read by one statement, which sees one commit and needs no transaction. Of a long one, messages are
read in chunks: SQLite joins the bodies of some hundred rows to one text, which is decoded at once. That is half
again as fast as row by row, and the thread asks for the interpreter's lock once a chunk, not once a row, so that a
busy event loop neither waits for a long read nor slows it down. What can't be decoded together is read again row by
row, which carries what only `json` can read (L94), and names what is corrupt.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.message import Message, from_body
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import SessionKey, State
from bamboo_sessions.storage.sqlite.sessions.heads import head_of, read_document, read_head, with_counters
from bamboo_sessions.storage.sqlite.sessions.rows import COLUMNS, SessionRow, find, living_revision
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, bounded, bounded_rows, check_short
from bamboo_sessions.storage.sqlite.transactions.connection import DATA_VERSION, reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    CHUNK_BYTES_MAX,
    CHUNK_MESSAGES_MAX,
    LOOP_BYTES_MAX,
    LOOP_MESSAGES_MAX,
)

_MESSAGES: Final = msgspec.json.Decoder(Message)
_ROWS: Final = """
    SELECT position, body FROM messages WHERE session = ? AND removed_revision IS NULL AND position > ?
    ORDER BY position LIMIT ?"""
_CHUNK: Final = f"""
    SELECT CAST(group_concat(body, char(10)) AS BLOB), max(position), count(*) FROM ({_ROWS})"""  # noqa: S608
_SHORT: Final = f"""
    SELECT {COLUMNS}, CASE WHEN length(document) <= {LOOP_BYTES_MAX} THEN document END, CASE
        WHEN message_count <= {LOOP_MESSAGES_MAX} AND message_bytes <= {LOOP_BYTES_MAX} AND question_count = 0 THEN (
            SELECT CAST(ifnull(group_concat(body, char(10)), '') AS BLOB) FROM (
                SELECT body FROM messages WHERE session = key AND removed_revision IS NULL ORDER BY position))
        END
    FROM sessions LEFT JOIN heads ON heads.session = key WHERE namespace = ? AND session_id = ?"""  # noqa: S608
_PLACE_BEFORE: Final = """
    SELECT position FROM messages WHERE session = ? AND removed_revision IS NULL
    ORDER BY position DESC LIMIT 1 OFFSET ?"""
_ORDER: Final = """
    SELECT row, message_id, added_revision FROM messages
    WHERE session = ? AND removed_revision IS NULL ORDER BY position"""


def warm_up(connection: apsw.Connection) -> None:
    """Let SQLite read the schema, and compile what a load asks, before anybody waits for the first one.

    What goes wrong here is told to whoever reads.
    """
    with suppress(apsw.Error), reading(connection):
        value_of(connection, DATA_VERSION)
        row_of(connection, _SHORT, ("", ""))
        find(connection, SessionKey("", ""))
        living_revision(connection, SessionKey("", ""))
        rows_of(connection, _CHUNK, (0, 0, 1))
        read_document(connection, 0)


def read(connection: apsw.Connection, key: SessionKey, *, small: bool = False) -> State:
    """The whole session, or what its deletion left, or `None`; `small` refuses long reads with `TooLong`."""
    if small and (snapshot := _short(connection, key)) is not None:
        return snapshot
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        return _whole(connection, row, Budget() if small else None)


def _short(connection: apsw.Connection, key: SessionKey) -> Snapshot | None:
    """A living session without questions, short and sound; `None` if it isn't one, or `TooLong`."""
    found = row_of(connection, _SHORT, key)
    if found is None:
        return None
    *columns, document, joined = found
    row = SessionRow(*columns)
    check_short(row.message_count, row.message_bytes, Budget())
    messages = None if joined is None else _decoded(joined, row.message_count)
    if messages is None or document is None or not row.is_living:
        return None
    return Snapshot(head_of(connection, row, document), FrozenMessages(messages), row.message_bytes)


def read_newer(connection: apsw.Connection, key: SessionKey, known: Snapshot, *, small: bool = False) -> State:
    """As `read`, reading only what came after `known`; `known` itself if nothing did."""
    with reading(connection):
        row = find(connection, key)
        if row is None or not row.is_living:
            return None if row is None else row.tombstone
        budget = Budget() if small else None
        if row.incarnation != known.head.incarnation or row.revision < known.revision:
            return _whole(connection, row, budget)
        if row.revision == known.revision:
            return known
        return _newer(connection, row, known, budget)


def _newer(connection: apsw.Connection, row: SessionRow, known: Snapshot, budget: Budget | None) -> Snapshot:
    if row.reshaped_revision <= known.revision:
        count = row.message_count - len(known.messages)
        check_short(count, row.message_bytes - known.messages_bytes, budget)
        messages = known.messages.extended(_appended(connection, row, count))
    else:
        check_short(row.message_count, 0, budget)
        messages = _reshaped(connection, row, known, budget)
    is_same_head = row.head_revision <= known.revision
    head = with_counters(known.head, row) if is_same_head else read_head(connection, row, budget)
    return Snapshot(head, messages, row.message_bytes)


def _whole(connection: apsw.Connection, row: SessionRow, budget: Budget | None) -> Snapshot:
    check_short(row.message_count, row.message_bytes, budget)
    messages = _behind(connection, row, 0)
    _check_count(row, len(messages), row.message_count)
    return Snapshot(read_head(connection, row, budget), FrozenMessages(messages), row.message_bytes)


def _behind(connection: apsw.Connection, row: SessionRow, position: int) -> list[Message]:
    """The living messages behind `position`, in order."""
    average = row.message_bytes // max(1, row.message_count) + 1
    limit = max(1, min(CHUNK_MESSAGES_MAX, CHUNK_BYTES_MAX // average))
    messages: list[Message] = []
    while True:
        chunk, position = _chunk(connection, row, position, limit)
        messages += chunk
        if len(chunk) < limit:
            return messages


def _chunk(connection: apsw.Connection, row: SessionRow, position: int, limit: int) -> tuple[list[Message], int]:
    """At most `limit` messages behind `position`, and the position of the last. The inner query gives the order."""
    try:
        joined, last, count = rows_of(connection, _CHUNK, (row.key, position, limit))[0]
    except apsw.TooBigError:
        pass
    else:
        if not count:
            return [], position
        if (messages := _decoded(joined, count)) is not None:
            return messages, last
    found = rows_of(connection, _ROWS, (row.key, position, limit))
    return [message_of(row.session_id, body) for _, body in found], found[-1][0] if found else position


def messages_of(session_id: str, bodies: Sequence[bytes]) -> list[Message]:
    """The messages in `bodies`, decoded at once if they can be; raises as `message_of` does."""
    try:
        messages = _decoded(b"\n".join(bodies), len(bodies))
    except TypeError:  # one is missing
        messages = None
    return [message_of(session_id, body) for body in bodies] if messages is None else messages


def _decoded(joined: bytes, count: int) -> list[Message] | None:
    """The `count` messages in `joined`, one a line; `None` if they have to be looked at one by one."""
    try:
        messages = _MESSAGES.decode_lines(joined)
    except (ValueError, RecursionError):
        return None
    return messages if len(messages) == count else None


def message_of(session_id: str, body: bytes | None) -> Message:
    """The message in `body`; raises `StorageCorruptError`, naming the session."""
    try:
        return from_body(body or b"")
    except StorageCorruptError as exc:
        raise StorageCorruptError(f"Session {session_id!r}: {exc}", hint=exc.hint) from exc


def _appended(connection: apsw.Connection, row: SessionRow, count: int) -> list[Message]:
    """The last `count` messages, which nothing has changed since they were added."""
    if count == 0:
        return []
    before = value_of(connection, _PLACE_BEFORE, (row.key, count))
    messages = _behind(connection, row, before or 0)
    _check_count(row, len(messages), count)
    return messages


def _check_count(row: SessionRow, found: int, counted: int) -> None:
    if found != counted:
        raise StorageCorruptError(
            f"Session {row.session_id!r} has {found} messages where {counted} are counted.",
            hint="Run `bamboo-sessions check --repair` on this store.",
        )


def _reshaped(connection: apsw.Connection, row: SessionRow, known: Snapshot, budget: Budget | None) -> FrozenMessages:
    """The messages in their order now, reusing those that are known."""
    by_id = {message.id: message for message in known.messages}
    messages = []
    for number, message_id, added in rows_of(connection, _ORDER, (row.key,)):
        message = by_id.get(message_id) if added <= known.revision else None
        if message is None:
            sql = f"SELECT {bounded('body', budget)} FROM messages WHERE row = ?"  # noqa: S608 - fixed names
            found = bounded_rows(connection, sql, (number,), budget)
            message = message_of(row.session_id, found[0][0] if found else None)
        messages.append(message)
    _check_count(row, len(messages), row.message_count)
    return FrozenMessages(messages)


_FOUND: Final = """
    SELECT sessions.session_id, body FROM messages JOIN sessions ON sessions.key = messages.session
    WHERE message_id = ? AND removed_revision IS NULL AND namespace = ? AND deleted_at IS NULL
    ORDER BY messages.session LIMIT 1"""


def find_message(connection: apsw.Connection, namespace: str, message_id: str) -> tuple[str, Message] | None:
    """A living message and its session; of several, that of the session whose id was made first."""
    check_message_id(message_id)
    found = row_of(connection, _FOUND, (message_id, namespace))
    return None if found is None else (found[0], from_body(found[1]))
