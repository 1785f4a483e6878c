"""Counters of the store. There is no file that could be damaged, and nothing derived that could be out of step."""

from __future__ import annotations

from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession


def stats(contents: Contents, namespace: str | None) -> dict[str, int]:
    """Counters of one namespace, or of the store (`None`)."""
    own = [stored for key, stored in contents.sessions.items() if namespace in {None, key.namespace}]
    living = [stored for stored in own if isinstance(stored, StoredSession)]
    return {
        "sessions": len(living),
        "deleted_sessions": len(own) - len(living),
        "messages": sum(len(stored.live) for stored in living),
        "message_versions": sum(len(stored.versions) for stored in living),
        "bytes": sum(stored.live_bytes for stored in living),
        "changes": contents.feed.count(namespace),
        "records": sum(len(records) for (owner, *_), records in contents.records.items() if namespace in {None, owner}),
    }


def next_namespace(contents: Contents, after: str | None) -> str | None:
    """The first namespace behind `after`."""
    return min((key.namespace for key in contents.sessions if key.namespace > (after or "")), default=None)
