"""The engine in memory: the reference for all others."""

from bamboo_sessions.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
