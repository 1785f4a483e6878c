"""The use cases: `SessionRepository`, composed of one module for each kind of intent."""

from bamboo_sessions.repository.admin import StoreAdmin
from bamboo_sessions.repository.persistence import RuntimeSessionPersistence
from bamboo_sessions.repository.records import Records
from bamboo_sessions.repository.repository import SessionRepository

__all__ = ["Records", "RuntimeSessionPersistence", "SessionRepository", "StoreAdmin"]
