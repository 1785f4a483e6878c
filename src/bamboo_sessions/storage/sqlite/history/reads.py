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
from itertools import chain, takewhile
from operator import eq
from typing import Final

import apsw

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import SessionKey, State
from bamboo_sessions.storage.sqlite.history.ids import find_everywhere
from bamboo_sessions.storage.sqlite.history.lines import Line, decoded, message_of, messages_of
from bamboo_sessions.storage.sqlite.history.log import log_at, log_of
from bamboo_sessions.storage.sqlite.sessions.heads import head_of, read_document, read_head, with_counters
from bamboo_sessions.storage.sqlite.sessions.rows import COLUMNS, SessionRow, find, living_revision, row_at
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, check_short
from bamboo_sessions.storage.sqlite.transactions.connection import DATA_VERSION, reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    CHUNK_BYTES_MAX,
    CHUNK_MESSAGES_MAX,
    LOOP_BYTES_MAX,
    LOOP_MESSAGES_MAX,
)

_CHUNK: Final = """
    SELECT CAST(group_concat(body, char(10)) AS BLOB), max(position), sum(lines), count(*) FROM (
        SELECT position, lines, body FROM commits WHERE session = ? AND lines > 0 AND position > ?
        ORDER BY position LIMIT ?)"""
_SHORT: Final = f"""
    SELECT {COLUMNS}, CASE WHEN length(document) <= {LOOP_BYTES_MAX} THEN document END, CASE
        WHEN message_count <= {LOOP_MESSAGES_MAX} AND message_bytes <= {LOOP_BYTES_MAX} AND question_count = 0
            AND reshaped_revision = 0 THEN (
            SELECT CAST(ifnull(group_concat(body, char(10)), '') AS BLOB) FROM (
                SELECT body FROM commits WHERE session = key AND lines > 0 ORDER BY position))
        END
    FROM sessions LEFT JOIN heads ON heads.session = key WHERE namespace = ? AND session_id = ?"""  # noqa: S608
_FIRST_ROWS: Final = 32
_KNOWN: Final = """
    SELECT position FROM commits WHERE session = ? AND lines > 0 AND revision <= ? ORDER BY position DESC LIMIT 1"""


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
        value_of(connection, _KNOWN, (0, 0))
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
    messages = None if joined is None else decoded(joined, row.message_count)
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
        messages = known.messages.extended(_appended(connection, row, known))
    else:
        check_short(row.message_count, 0, budget)
        messages = _reshaped(connection, row, known, budget)
    is_same_head = row.head_revision <= known.revision
    head = with_counters(known.head, row) if is_same_head else read_head(connection, row, budget)
    return Snapshot(head, messages, row.message_bytes)


def _whole(connection: apsw.Connection, row: SessionRow, budget: Budget | None) -> Snapshot:
    check_short(row.message_count, row.message_bytes, budget)
    if row.reshaped_revision:
        messages = _read_lines(row, log_of(connection, row, budget).all_living())
    else:
        messages = _behind(connection, row, 0)
    _check_count(row, len(messages), row.message_count)
    return Snapshot(read_head(connection, row, budget), FrozenMessages(messages), row.message_bytes)


def _read_lines(row: SessionRow, lines: Sequence[Line]) -> list[Message]:
    messages: list[Message] = []
    for start in range(0, len(lines), CHUNK_MESSAGES_MAX):
        chunk = lines[start : start + CHUNK_MESSAGES_MAX]
        messages += messages_of(row.session_id, [line.body for line in chunk])
    return messages


def _behind(connection: apsw.Connection, row: SessionRow, position: int) -> list[Message]:
    """The messages in the rows behind `position`, in the order of the log."""
    messages: list[Message] = []
    limit = _FIRST_ROWS
    while True:
        chunk, position, rows, size = _chunk(connection, row, position, limit)
        messages += chunk
        if rows < limit:
            return messages
        limit = max(1, min(CHUNK_MESSAGES_MAX, CHUNK_BYTES_MAX * rows // size))


def _chunk(
    connection: apsw.Connection, row: SessionRow, position: int, limit: int
) -> tuple[list[Message], int, int, int]:
    """The messages of `limit` rows behind `position`; the last position, the number of rows, and the bytes.

    The inner query gives the order.
    """
    try:
        joined, last, lines, rows = rows_of(connection, _CHUNK, (row.key, position, limit))[0]
    except apsw.TooBigError:
        if limit == 1:
            raise
        return _chunk(connection, row, position, 1)
    if not rows:
        return [], position, 0, 0
    messages = decoded(joined, lines)
    if messages is None:
        messages = messages_of(row.session_id, joined.split(b"\n"))
    return messages, last, rows, len(joined)


def _appended(connection: apsw.Connection, row: SessionRow, known: Snapshot) -> list[Message]:
    """The messages added behind those of `known`, which nothing has changed."""
    count = row.message_count - len(known.messages)
    if count == 0:
        return []
    messages = _behind(connection, row, value_of(connection, _KNOWN, (row.key, known.revision)) or 0)
    _check_count(row, len(messages), count)
    return messages


def _check_count(row: SessionRow, found: int, counted: int) -> None:
    if found != counted:
        raise StorageCorruptError(
            f"Session {row.session_id!r} has {found} messages where {counted} are counted.",
            hint="Run `bamboo-sessions check --repair` on this store.",
        )


def _reshaped(connection: apsw.Connection, row: SessionRow, known: Snapshot, budget: Budget | None) -> FrozenMessages:
    """The messages in their order now. Those that are known aren't read, and stretches that stay are shared."""
    log = log_of(connection, row, budget)
    before = list(chain.from_iterable(log_at(connection, row, known.revision).stretches()))
    now = list(chain.from_iterable(log.stretches()))
    _check_count(row, len(now), row.message_count)
    _check_count(row, len(before), len(known.messages))
    start = _common(before, now)
    end = _common(before[start:][::-1], now[start:][::-1])
    places = {address: place for place, address in enumerate(before[start : len(before) - end], start)}
    changed = now[start : len(now) - end]
    fresh = log.read(address for address in changed if address not in places)
    messages = [
        known.messages[places[address]] if address in places else message_of(row.session_id, fresh.get(address))
        for address in changed
    ]
    return known.messages.spliced(start, len(before) - end, messages)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many items both begin with."""
    return sum(takewhile(bool, map(eq, one, other)))


def find_message(connection: apsw.Connection, namespace: str, message_id: str) -> tuple[str, Message] | None:
    """A living message and its session; of several, that of the session whose id was made first."""
    check_message_id(message_id)
    with reading(connection):
        for session, line in sorted(find_everywhere(connection, message_id)):
            owner, row = row_at(connection, session)
            if owner == namespace and row.is_living and log_of(connection, row).order.lives(line.address):
                return row.session_id, message_of(row.session_id, line.body)
    return None
