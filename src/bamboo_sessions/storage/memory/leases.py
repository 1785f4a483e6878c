"""Run leases: kept beside the sessions, for their tokens outlive them. The arithmetic is `domain.lease`'s."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bamboo_sessions.domain.lease import LeaseState, busy
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession
from bamboo_sessions.storage.port import LeaseChange


def read(contents: Contents, key: SessionKey) -> LeaseState | None:
    """The leases of a living session; `None` if it doesn't live."""
    return contents.leases_of(key) if isinstance(contents.sessions.get(key), StoredSession) else None


def change(contents: Contents, key: SessionKey, changed: LeaseChange, now: datetime) -> LeaseState:
    """Read the leases, change them and keep the result. Waiters are told."""
    contents.living(key)
    before = contents.leases_of(key)
    after = changed(before, now)
    if after != before:
        contents.leases[key] = after
        contents.tell(key, has_commit=False)
    return after


def check_free(contents: Contents, keys: Iterable[SessionKey], at: datetime) -> None:
    """Raise `SessionBusyError` if a run holds one of the sessions."""
    for key in keys:
        leases = contents.leases_of(key)
        if leases.is_held(at):
            raise busy(key.session_id, leases, at)


def end(contents: Contents, key: SessionKey) -> None:
    """Keep nothing but the token of a session that is deleted."""
    contents.leases[key] = LeaseState(token=contents.leases_of(key).token)
