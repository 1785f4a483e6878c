"""Run leases: kept beside the sessions, for their tokens outlive them. The arithmetic is `domain.lease`'s."""

from __future__ import annotations

from collections.abc import Iterable

from bamboo_sessions.domain.lease import LeaseState, LeaseView, LeaseWish, applied, busy
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession


def read(contents: Contents, key: SessionKey) -> LeaseView | None:
    """The leases of a living session; `None` if it doesn't live."""
    if not isinstance(contents.sessions.get(key), StoredSession):
        return None
    return LeaseView(contents.leases_of(key), contents.clock.now())


def change(contents: Contents, key: SessionKey, wish: LeaseWish) -> LeaseView:
    """Read the leases, apply the wish and keep the result. Waiters are told."""
    contents.living(key)
    now = contents.clock.now()
    before = contents.leases_of(key)
    after = applied(before, wish, now)
    if after != before:
        contents.leases[key] = after
        contents.tell(key, has_commit=False)
    return LeaseView(after, now)


def check_free(contents: Contents, keys: Iterable[SessionKey]) -> None:
    """Raise `SessionBusyError` if a run holds one of the sessions."""
    now = contents.clock.now()
    for key in keys:
        leases = contents.leases_of(key)
        if leases.is_held(now):
            raise busy(key.session_id, leases, now)


def end(contents: Contents, key: SessionKey) -> None:
    """Keep nothing but the token of a session that is deleted."""
    contents.leases[key] = LeaseState(token=contents.leases_of(key).token)
