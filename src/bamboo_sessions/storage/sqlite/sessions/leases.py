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
from bamboo_sessions.domain.clock import MICROSECOND, from_micros, to_micros
from bamboo_sessions.domain.lease import LeaseState, LeaseView, LeaseWish, Ticket, applied, busy
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.sessions.rows import SessionRow, find, require
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of, value_of

_READ: Final = "SELECT claim_id, holder, expires_at, ttl, waiting FROM leases WHERE session = ?"
_WRITE: Final = """
    INSERT OR REPLACE INTO leases (session, change, claim_id, holder, expires_at, ttl, waiting)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_CHANGE: Final = "UPDATE meta SET value = value + 1 WHERE name = 'lease_change' RETURNING value"
_TICKETS: Final = msgspec.json.Decoder(tuple[Ticket, ...])


def read(connection: apsw.Connection, key: SessionKey, now: datetime) -> LeaseView | None:
    """The leases of a living session, or `None`."""
    with reading(connection):
        row = find(connection, key)
        return LeaseView(_state(connection, row), now) if row is not None and row.is_living else None


def change(connection: apsw.Connection, key: SessionKey, wish: LeaseWish, now: datetime) -> tuple[LeaseView, bool]:
    """Read, change and keep the leases of a living session; whether they changed, else nothing is written."""
    row = require(connection, key)
    before = _state(connection, row)
    after = applied(before, wish, now)
    if after != before:
        _write(connection, row, after)
    return LeaseView(after, now), after != before


def check_free(connection: apsw.Connection, keys: Iterable[SessionKey], now: datetime) -> None:
    """Raise `SessionBusyError` if a run holds one of these sessions."""
    for key in keys:
        view = read(connection, key, now)
        if view is not None and view.state.is_held(now):
            raise busy(key.session_id, view.state, now)


def _state(connection: apsw.Connection, row: SessionRow) -> LeaseState:
    found = row_of(connection, _READ, (row.key,))
    if found is None:
        return LeaseState(token=row.lease_token)
    claim_id, holder, expires_at, ttl, waiting = found
    return LeaseState(
        token=row.lease_token,
        claim_id=claim_id,
        holder=holder,
        expires_at=None if expires_at is None else from_micros(expires_at),
        ttl=ttl * MICROSECOND,
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
    ttl = state.ttl // MICROSECOND
    change = value_of(connection, _CHANGE)
    connection.execute(_WRITE, (row.key, change, state.claim_id, state.holder, expires_at, ttl, waiting))
