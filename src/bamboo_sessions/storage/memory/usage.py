"""Sums of the token ledger, whose records each session has by their ids (L98)."""

from __future__ import annotations

from bamboo_sessions.domain import usage
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.memory.session import StoredSession


def totals(
    contents: Contents, namespace: str, session_id: str | None, *, include_children: bool
) -> TokenUsageTotals | Tombstone | None:
    """The sums of a session, of it and all below it, or of the namespace (`session_id=None`)."""
    if session_id is None:
        keys = [key for key in contents.sessions if key.namespace == namespace]
    else:
        key = SessionKey(namespace, session_id)
        stored = contents.sessions.get(key)
        if not isinstance(stored, StoredSession):
            return stored
        keys = list(contents.tree(key)) if include_children else [key]
    sessions = [contents.sessions[key] for key in keys]
    return usage.totals(
        record for session in sessions if isinstance(session, StoredSession) for record in session.usage.values()
    )
