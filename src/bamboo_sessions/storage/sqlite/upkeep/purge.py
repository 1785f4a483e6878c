"""Forgets what removed and edited messages said, once they are old. Ids and hashes stay (G4)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import apsw

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.runs import Order, position_of
from bamboo_sessions.storage.sqlite.history.lines import Line, is_purged, lines_of, purged, seal, shape_of
from bamboo_sessions.storage.sqlite.history.log import Log
from bamboo_sessions.storage.sqlite.history.writing import SEALED
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of
from bamboo_sessions.storage.sqlite.transactions.tuning import PURGE_BYTES_MAX

_DUE: Final = """
    SELECT position, session, shape FROM commits WHERE ended > 0 AND at < ? ORDER BY at, position LIMIT ?"""
_ROW: Final = f"SELECT {SEALED}, shape, body FROM commits WHERE position = ?"  # noqa: S608 - constants
_BLANK: Final = "UPDATE commits SET body = ?, checksum = ? WHERE position = ?"
_COUNT: Final = "UPDATE commits SET ended = ended - ? WHERE position = ?"


def purge_versions(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Purge the oldest versions that ended before `before`, as many as a short transaction takes; how many."""
    count = size = 0
    for position, session, shape in rows_of(connection, _DUE, (to_micros(before), limit)):
        lines: list[Line] = []
        for line in _ended(connection, session, shape):
            size += len(line.body)
            if count + len(lines) == limit or (count + len(lines) and size > PURGE_BYTES_MAX):
                break
            lines.append(line)
        _blank(connection, lines)
        connection.execute(_COUNT, (len(lines), position))
        count += len(lines)
        if count == limit or size > PURGE_BYTES_MAX:
            break
    return count


def _ended(connection: apsw.Connection, session: int, shape: bytes) -> Iterator[Line]:
    """The versions that a commit ended and that can still be read."""
    log = Log(connection, session, "", Order())
    return (line for line in log.lines(shape_of(shape).removed) if not is_purged(line.body))


def _blank(connection: apsw.Connection, lines: list[Line]) -> None:
    gone = {line.address for line in lines}
    for position in sorted({position_of(address) for address in gone}):
        *columns, shape, body = rows_of(connection, _ROW, (position,))[0]
        left = [purged(line.body) if line.address in gone else line.body for line in lines_of(position, body)]
        blank = b"\n".join(left)
        connection.execute(_BLANK, (blank, seal(blank, shape, *columns), position))
