"""Forgets what removed and edited messages said, once they are old. Ids and hashes stay (G4)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bamboo_sessions.domain.errors import MessageNotFoundError
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession, Version


def purge_versions(contents: Contents, before: datetime, limit: int) -> int:
    """Purge the oldest versions that ended before `before`; how many."""
    due = [
        (version.removed_at, version)
        for stored in contents.sessions.values()
        if isinstance(stored, StoredSession)
        for version in stored.versions
        if version.removed_at is not None and version.removed_at < before and not version.is_purged
    ]
    due.sort(key=lambda pair: pair[0])
    for _, version in due[:limit]:
        version.purge()
    return len(due[:limit])


def check_there(session_id: str, versions: Iterable[Version]) -> None:
    """Raise `MessageNotFoundError` if one of them was purged."""
    for version in versions:
        if version.is_purged:
            raise MessageNotFoundError(session_id, version.message.id)
