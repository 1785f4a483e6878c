"""Run leases in SQLite: the token is a column of `sessions`, the rest a row of `leases` while there is something.

The arithmetic is `domain.lease`'s; this reads, writes, and looks for leases in the way of a deletion.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.lease import LeaseState, Ticket, busy
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import LeaseChange
from bamboo_sessions.storage.sqlite.sessions.rows import SessionRow, find, require
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of

_READ: Final = "SELECT claim_id, holder, expires_at, waiting FROM leases WHERE session = ?"
_WRITE: Final = "INSERT OR REPLACE INTO leases (session, claim_id, holder, expires_at, waiting) VALUES (?, ?, ?, ?, ?)"
_TICKETS: Final = msgspec.json.Decoder(tuple[Ticket, ...])


def read(connection: apsw.Connection, key: SessionKey) -> LeaseState | None:
    """The leases of a living session, or `None`."""
    with reading(connection):
        row = find(connection, key)
        return _state(connection, row) if row is not None and row.is_living else None


def change(connection: apsw.Connection, key: SessionKey, changed: LeaseChange, now: datetime) -> LeaseState:
    """Read, change and keep the leases of a living session; writes nothing if they stay as they are."""
    row = require(connection, key)
    before = _state(connection, row)
    after = changed(before, now)
    if after != before:
        _write(connection, row, after)
    return after


def check_free(connection: apsw.Connection, keys: Iterable[SessionKey], at: datetime) -> None:
    """Raise `SessionBusyError` if a run holds one of these sessions at the time `at`."""
    for key in keys:
        state = read(connection, key)
        if state is not None and state.is_held(at):
            raise busy(key.session_id, state, at)


def _state(connection: apsw.Connection, row: SessionRow) -> LeaseState:
    found = row_of(connection, _READ, (row.key,))
    if found is None:
        return LeaseState(token=row.lease_token)
    claim_id, holder, expires_at, waiting = found
    return LeaseState(
        token=row.lease_token,
        claim_id=claim_id,
        holder=holder,
        expires_at=None if expires_at is None else from_micros(expires_at),
        waiting=json.decode(waiting, _TICKETS, what=f"The queue of session {row.session_id!r}"),
    )


def _write(connection: apsw.Connection, row: SessionRow, state: LeaseState) -> None:
    if state.token != row.lease_token:
        connection.execute("UPDATE sessions SET lease_token = ? WHERE key = ?", (state.token, row.key))
    if state.claim_id is None and not state.waiting:
        connection.execute("DELETE FROM leases WHERE session = ?", (row.key,))
        return
    expires_at = None if state.expires_at is None else to_micros(state.expires_at)
    waiting = json.encode(state.waiting)
    connection.execute(_WRITE, (row.key, state.claim_id, state.holder, expires_at, waiting))
