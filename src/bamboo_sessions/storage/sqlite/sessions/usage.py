"""The token ledger: writing records once each (L98), and their sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.domain.usage import COUNTS, TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.sessions.rows import find
from bamboo_sessions.storage.sqlite.sessions.trees import TREE
from bamboo_sessions.storage.sqlite.transactions.connection import row_of, rows_of
from bamboo_sessions.storage.sqlite.upkeep.damage import checksum

_INSERT: Final = (
    f"INSERT INTO token_usage (session, record_id, at, {', '.join(COUNTS)}, document, checksum) "  # noqa: S608
    f"VALUES (?, ?, ?, {', '.join('?' * len(COUNTS))}, ?, ?)"
)
_SUMS: Final = "count(*), " + ", ".join(
    f"coalesce(sum(token_usage.{name} >> 32), 0), coalesce(sum(token_usage.{name} & 0xFFFFFFFF), 0)" for name in COUNTS
)
"""In halves: SQLite's `sum` ends with an error beyond 63 bits, which a thousand of the largest counts come to."""


def new_records(
    connection: apsw.Connection, session: int | None, records: Sequence[TokenUsageRecord]
) -> list[TokenUsageRecord]:
    """Those of `records` that the ledger doesn't have, each once."""
    new = {record.id: record for record in reversed(records)}
    if session is not None:
        sql = "SELECT 1 FROM token_usage WHERE session = ? AND record_id = ?"
        new = {id_: record for id_, record in new.items() if row_of(connection, sql, (session, id_)) is None}
    return list(new.values())


def write(connection: apsw.Connection, session: int, records: Sequence[TokenUsageRecord]) -> None:
    """Write new records."""
    for record in records:
        columns = (record.id, to_micros(record.at), *(getattr(record, name) for name in COUNTS))
        document = json.encode(record)
        row = (session, *columns, document, checksum(document, *columns, session))
        connection.execute(_INSERT, row)


def totals(
    connection: apsw.Connection, namespace: str, session_id: str | None, *, include_children: bool
) -> TokenUsageTotals | Tombstone | None:
    """The sums of a session, of it and all below it, or of the namespace (`session_id=None`)."""
    if session_id is None:
        return _sum(
            connection,
            "token_usage JOIN sessions ON sessions.key = token_usage.session "
            "WHERE sessions.namespace = ? AND sessions.deleted_at IS NULL",
            (namespace,),
        )
    row = find(connection, SessionKey(namespace, session_id))
    if row is None:
        return None
    if not row.is_living:
        return row.tombstone
    if not include_children:
        return _sum(connection, "token_usage WHERE session = ?", (row.key,))
    return _sum(
        connection,
        "tree JOIN token_usage ON token_usage.session = tree.key",
        (row.key,),
        prefix=TREE,
    )


def _sum(
    connection: apsw.Connection, source: str, args: tuple[str | int, ...], *, prefix: str = ""
) -> TokenUsageTotals:
    sql = f"{prefix} SELECT {_SUMS} FROM {source}"  # noqa: S608 - constants
    calls, *halves = rows_of(connection, sql, args)[0]
    sums = [(high << 32) + low for high, low in zip(halves[::2], halves[1::2], strict=True)]
    return TokenUsageTotals(calls=calls, **dict(zip(COUNTS, sums, strict=True)))
