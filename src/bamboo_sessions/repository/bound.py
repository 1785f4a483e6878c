"""What all parts of the repository share: the three tiers, and the namespace that this handle can see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

import msgspec

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.committing import Planned, living
from bamboo_sessions.coordination.leasing import Leasing
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.coordination.saving import SavePlan
from bamboo_sessions.domain.clock import Clock
from bamboo_sessions.domain.errors import InputError, PreconditionFailedError, SessionBusyError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_session_id
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.repository.tolerant import TolerantSaves
from bamboo_sessions.storage.commit import SessionKey, State
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


class Bound:
    """Tiers, bound to one namespace."""

    def __init__(self, tiers: Tiers, namespace: str) -> None:
        self._tiers = tiers
        self._namespace = namespace

    @property
    def namespace(self) -> str:
        """The tenant whose sessions this handle sees; never another's."""
        return self._namespace

    @property
    def _store(self) -> LockedSessionStore:
        return self._tiers.persistence

    @property
    def _storage(self) -> SessionStorage:
        return self._tiers.storage

    @property
    def _clock(self) -> Clock:
        return self._tiers.persistence.clock

    def _key(self, session_id: str) -> SessionKey:
        return SessionKey(self._namespace, check_session_id(session_id))

    def _writable(self, session_id: str) -> SessionKey:
        """The key of a session that this call may write: not one that the running task is editing in a block."""
        return self._unedited(self._key(session_id))

    def _unedited(self, key: SessionKey) -> SessionKey:
        edits = open_edits.get()
        if edits and any(edit.is_open and edit.key == key and edit.store is self._store for edit in edits):
            raise SessionBusyError(key.session_id, reason="this task is inside an `edit` block of it")
        return key

    def _writable_copy(self, session: object) -> SessionKey:
        """The key of what `session` is a copy of, likewise. Its id was checked when the copy was made."""
        return self._unedited(SessionKey(self._namespace, self._own(session).id))

    def _own(self, session: object) -> Session:
        """`session` if it is one and belongs to this namespace."""
        if not isinstance(session, Session):
            message = f"What is saved must be a Session, not {type(session).__name__}."
            raise InputError(message, hint="Load or create one, change it, and hand it over.")
        if session.namespace != self._namespace:
            message = (
                f"Session {session.id!r} belongs to namespace {session.namespace!r}; "
                f"this repository is bound to {self._namespace!r}."
            )
            raise InputError(message, hint="Use in_namespace(…) to get a handle for the other namespace.")
        return session

    def _copy(self, key: SessionKey, state: State) -> Session:
        """A working copy of what a write ended with; somebody may have deleted it at once."""
        return copy_of(living(key, state), self._clock)

    async def _heads(self, query: ListQuery) -> AsyncIterator[SessionHead]:
        """The heads that `query` lists, through all its pages."""
        while True:
            page = await self._storage.list_heads(query)
            for head in page.heads:
                yield head
            if page.next_cursor is None:
                return
            query = msgspec.structs.replace(query, cursor=page.next_cursor)

    async def _rework(
        self, session_id: str, change: Callable[[Session], None], *, if_revision: int | None = None
    ) -> Session:
        """Run `change` on a copy of the newest state and commit what it did; again on a newer state if need be."""
        key = self._writable(session_id)

        def planner(state: State) -> Planned | None:
            snapshot = living(key, state)
            if if_revision is not None and if_revision != snapshot.revision:
                raise PreconditionFailedError(if_revision, snapshot.revision, session_id=session_id)
            session = copy_of(snapshot, self._clock)
            change(session)
            plan = SavePlan(session, now=self._clock.now())
            commit = plan(snapshot)
            return None if commit is None else Planned(commit, plan.result)

        return await self._store.write(key, planner, then=lambda written: self._copy(key, written.after))
