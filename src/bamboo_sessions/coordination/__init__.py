"""The in-memory tier and the locked store: one lock per session, merge-on-write, publishing inside the lock."""

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.locked_store import LockedSessionStore

__all__ = ["LockedSessionStore", "SessionCache"]
