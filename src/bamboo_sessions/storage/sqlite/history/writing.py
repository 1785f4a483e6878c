"""Writes commits to the log: a row each, or several if it has many messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import apsw

from bamboo_sessions.domain import json
from bamboo_sessions.domain.runs import Shape, address_of
from bamboo_sessions.storage.sqlite.history.ids import fill_now_and_then
from bamboo_sessions.storage.sqlite.history.lines import seal
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import ROW_BYTES_MAX, ROW_LINES_MAX


class CommitRow(NamedTuple):
    """The columns of a row of `commits` that tell of the commit; times in microseconds."""

    session: int
    revision: int
    incarnation: int
    commit_id: bytes | str
    kinds: int
    at: int
    logged_at: int
    updated_at: int
    message_count: int
    record_versions: str | None = None
    call: str | None = None
    first: int | None = None
    lines: int = 0


SEALED: Final = ", ".join(CommitRow._fields)
"""The columns that a row's checksum is of, besides shape and body."""

_INSERT: Final = (
    f"INSERT INTO commits ({SEALED}, ended, shape, body, checksum) "  # noqa: S608 - constants
    f"VALUES ({', '.join('?' * (len(CommitRow._fields) + 4))})"
)
_NEXT: Final = "SELECT ifnull(max(position), 0) + 1 FROM commits"

Chunk = tuple[int, bytes]
"""How many lines, and the lines."""


def write_commit(
    connection: apsw.Connection, row: CommitRow, body: bytes | None, shape: Shape | None = None, ended: int = 0
) -> None:
    """Write a commit's row."""
    kept = None if shape is None or shape == _NO_SHAPE else json.encode(shape)
    connection.execute(_INSERT, (*row, ended, kept, body, seal(body, kept, *row)))
    if row.kinds:
        fill_now_and_then(connection, connection.last_insert_rowid())


_NO_SHAPE: Final = Shape()


def next_position(connection: apsw.Connection) -> int:
    """The position of the row that is written next."""
    position: int = value_of(connection, _NEXT)
    return position


def write_lines(connection: apsw.Connection, row: CommitRow, chunks: Iterable[Chunk]) -> None:
    """Write lines of a commit whose own row follows."""
    for count, body in chunks:
        part = row._replace(commit_id=b"", kinds=0, record_versions=None, call=None, lines=count)
        write_commit(connection, part, body)


def chunked(lines: Iterable[tuple[int, bytes]]) -> Iterator[Chunk]:
    """Lines, by ones or several at a time, as rows have them: not too many in one, unless a single piece is."""
    parts: list[bytes] = []
    count = size = 0
    for number, part in lines:
        if parts and (count + number > ROW_LINES_MAX or size + len(part) > ROW_BYTES_MAX):
            yield count, b"\n".join(parts)
            parts, count, size = [], 0, 0
        parts.append(part)
        count += number
        size += len(part)
    if parts:
        yield count, b"\n".join(parts)


def addresses_of(position: int, chunks: Sequence[Chunk]) -> list[int]:
    """The addresses of all lines in chunks that are written from `position` on."""
    return [address_of(row, line) for row, (count, _) in enumerate(chunks, position) for line in range(count)]
