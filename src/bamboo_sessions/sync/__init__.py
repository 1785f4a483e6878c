"""The synchronous facade: the calls of the asynchronous handles without `await`, safe from many threads.

`portal` is the way from threads to an event loop; `blocks` and `handles` are what the twins of the public classes stand
on. The twins themselves are written by `python -m tests.sync.generate`, from the signatures and the documentation of
the classes: type checkers, editors and `help` see plain methods.
"""

from bamboo_sessions.sync.admin import SyncStoreAdmin
from bamboo_sessions.sync.portal import Portal, ThreadPortal
from bamboo_sessions.sync.records import SyncRecords
from bamboo_sessions.sync.repository import SyncSessionRepository
from bamboo_sessions.sync.run_lease import SyncRunLease

__all__ = ["Portal", "SyncRecords", "SyncRunLease", "SyncSessionRepository", "SyncStoreAdmin", "ThreadPortal"]
