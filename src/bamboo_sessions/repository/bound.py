"""What the calls of a repository share: the tiers, and the namespace that a handle can see.

`Bound` is the context of every call, and all that a `Handle` has. The calls are plain functions, in one module for each
kind of intent; those for users take the handle as `self`, for `SessionRepository` lists them as its methods.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar

import msgspec

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.leasing import Leasing
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.coordination.plan import Seen, living
from bamboo_sessions.domain.clock import Clock
from bamboo_sessions.domain.errors import InputError, SessionBusyError, SessionDeletedError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_session_id
from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.repository.tolerant import TolerantSaves
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import ListQuery


class OpenEdit:
    """An `edit` block that was entered; tasks that it started inherit it and may outlive it."""

    __slots__ = ("is_open", "key", "store")

    def __init__(self, store: LockedSessionStore, key: SessionKey) -> None:
        self.store = store
        self.key = key
        self.is_open = True


open_edits: ContextVar[tuple[OpenEdit, ...]] = ContextVar("open_edits", default=())
"""The `edit` blocks that the running task is inside of."""


class Tiers(msgspec.Struct, frozen=True):
    """The three tiers and what belongs to them; shared by all namespaces' views."""

    cache: SessionCache
    storage: SessionStorage
    persistence: LockedSessionStore
    tolerant: TolerantSaves
    leasing: Leasing

    async def open(self) -> None:
        """Open the storage if it isn't."""
        await self.storage.open()
        self.persistence.open()

    async def aclose(self) -> tuple[UnsavedWork, ...]:
        """Wait for commits under way, try waiting work once more, and let everything go; what isn't durable."""
        try:
            await self.persistence.aclose()
            return await self.tolerant.aclose()
        finally:
            await self.storage.aclose()


def tiers_of(cache: SessionCache, storage: SessionStorage, persistence: LockedSessionStore) -> Tiers:
    """The tiers, with what belongs to them."""
    return Tiers(cache, storage, persistence, TolerantSaves(persistence), Leasing(persistence))


class Right(msgspec.Struct, frozen=True):
    """By what right a run writes: the token of its lease, and the life of the session that it is for (G12)."""

    token: int
    incarnation: int


class Bound:
    """Tiers, bound to one namespace; and what is written is written by a run lease's `right`, if there is one."""

    __slots__ = ("clock", "namespace", "right", "store", "tiers")

    def __init__(self, tiers: Tiers, namespace: str, right: Right | None = None) -> None:
        self.tiers = tiers
        self.namespace = namespace
        self.right = right
        self.store = tiers.persistence
        self.clock: Clock = tiers.persistence.clock

    @property
    def storage(self) -> SessionStorage:
        """The durable tier; raises `StorageError` if the repository was closed, on every engine alike."""
        self.store.tasks.check_usable()
        return self.tiers.storage

    def key(self, session_id: str) -> SessionKey:
        """The key of a session of this namespace; raises `InvalidSessionIdError`."""
        return SessionKey(self.namespace, check_session_id(session_id))

    def writable(self, session_id: str) -> SessionKey:
        """The key of a session that this call may write: not one that the running task is editing in a block."""
        return self._unedited(self.key(session_id))

    def writable_copy(self, session: object) -> SessionKey:
        """The key of what `session` is a copy of, likewise. Its id was checked when the copy was made."""
        return self._unedited(SessionKey(self.namespace, self.own(session).id))

    def _unedited(self, key: SessionKey) -> SessionKey:
        edits = open_edits.get()
        if edits and any(edit.is_open and edit.key == key and edit.store is self.store for edit in edits):
            raise SessionBusyError(key.session_id, reason="this task is inside an `edit` block of it")
        return key

    def own(self, session: object) -> Session:
        """`session` if it is one and belongs to this namespace."""
        if not isinstance(session, Session):
            message = f"What is saved must be a Session, not {type(session).__name__}."
            raise InputError(message, hint="Load or create one, change it, and hand it over.")
        if session.namespace != self.namespace:
            message = (
                f"Session {session.id!r} belongs to namespace {session.namespace!r}; "
                f"this repository is bound to {self.namespace!r}."
            )
            raise InputError(message, hint="Use in_namespace(…) to get a handle for the other namespace.")
        return session

    @property
    def fence(self) -> int | None:
        """The token that what is written carries."""
        return None if self.right is None else self.right.token

    def admitted(self, key: SessionKey, state: Seen) -> Snapshot:
        """What lives now, if it is the life that may be written to."""
        snapshot = living(key, state)
        if self.right is not None and self.right.incarnation != snapshot.head.incarnation:
            raise SessionDeletedError(key.session_id)
        return snapshot

    def copy(self, key: SessionKey, state: Seen) -> Session:
        """A working copy of what a write ended with; somebody may have deleted it at once."""
        return copy_of(living(key, state), self.clock)

    async def heads(self, query: ListQuery) -> AsyncIterator[SessionHead]:
        """The heads that `query` lists, through all its pages."""
        while True:
            page = await self.storage.list_heads(query)
            for head in page.heads:
                yield head
            if page.next_cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.next_cursor)


class Handle:
    """What a user holds: an object with one private part, the tiers bound to a namespace."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    @property
    def namespace(self) -> str:
        """The tenant whose sessions this handle sees; never another's."""
        return self._bound.namespace
