"""Counters of the store. There is no file that could be damaged, and nothing derived that could be out of step."""

from __future__ import annotations

from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession


def stats(contents: Contents) -> dict[str, int]:
    """Counters of the store."""
    living = [stored for stored in contents.sessions.values() if isinstance(stored, StoredSession)]
    return {
        "sessions": len(living),
        "deleted_sessions": len(contents.sessions) - len(living),
        "messages": sum(len(stored.live) for stored in living),
        "message_versions": sum(len(stored.versions) for stored in living),
        "bytes": sum(stored.live_bytes for stored in living),
        "changes": len(contents.feed),
        "records": sum(len(records) for records in contents.records.values()),
    }
