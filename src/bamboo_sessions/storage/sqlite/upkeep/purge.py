"""Forgets what removed and edited messages said, once they are old. Ids and hashes stay (G4)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import apsw

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of
from bamboo_sessions.storage.sqlite.transactions.tuning import PURGE_BYTES_MAX

_DUE: Final = """
    SELECT row, length(body) FROM messages
    WHERE removed_revision IS NOT NULL AND body IS NOT NULL AND removed_at < ? ORDER BY removed_at LIMIT ?"""


def purge_versions(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Purge the oldest versions that ended before `before`, as many as a short transaction takes; how many."""
    taken: list[tuple[int]] = []
    size = 0
    for row, length in rows_of(connection, _DUE, (to_micros(before), limit)):
        size += length
        if taken and size > PURGE_BYTES_MAX:
            break
        taken.append((row,))
    connection.executemany("UPDATE messages SET body = NULL, checksum = NULL WHERE row = ?", taken)
    return len(taken)
