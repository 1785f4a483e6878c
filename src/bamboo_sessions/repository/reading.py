"""Loading sessions, and reading windows of their histories."""

from __future__ import annotations

import logging
from typing import Final

from bamboo_sessions.domain import window
from bamboo_sessions.domain.errors import SessionDeletedError, SessionNotFoundError, StorageError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.limits import PAGE_DEFAULT
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.reconcile import prefers_storage
from bamboo_sessions.domain.report import HistoryPage
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.working_copy import copy_of, freeze
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.history_pages import PageQuery, read_page, read_stored_page, window_reader
from bamboo_sessions.storage.commit import SessionKey, State
from bamboo_sessions.storage.query import check_page_limit

_log: Final = logging.getLogger("bamboo_sessions")


async def load(self: Handle, session_id: str, *, fresh: bool = False) -> Session | None:
    """A working copy of the session, or `None` if there is none.

    From the cache if that is current, else from storage; never older than this repository showed it before, or
    than its own last acknowledged write (G7). On SQLite it sees every commit that any process acknowledged
    before the call. Work of a tolerant save that isn't durable yet is part of what is loaded.

    Args:
        session_id: Which session.
        fresh: Ask storage in any case.

    Raises:
        StorageError: Storage failed; that is never read as absence (G8).
    """
    key = self._bound.key(session_id)
    return await _load(self._bound, key, fresh=fresh)


async def load_best_effort(self: Handle, session_id: str) -> Session | None:
    """As `load`, but a storage error is logged and read as absence: for read-only display, never before a save."""
    try:
        return await load(self, session_id)
    except StorageError as exc:
        _log.warning("session %r could not be loaded, shown as absent: %s", session_id, exc)
        return None


async def get(self: Handle, session_id: str) -> Session:
    """As `load`; raises `SessionNotFoundError` if there is none."""
    session = await load(self, session_id)
    if session is None:
        raise SessionNotFoundError(session_id)
    return session


async def load_or_create(self: Handle, session_id: str, *, model: str | None = None) -> Session:
    """The session, or a new one of this id that isn't persisted until it is saved.

    Raises:
        StorageError: Storage failed; no empty session is made in place of one that can't be read (L26).
        SessionDeletedError: It was deleted; only `create` makes it again (G9).
    """
    session = await load(self, session_id)
    if session is not None:
        return session
    key = self._bound.key(session_id)
    if isinstance(await self._bound.storage.read_head(key), Tombstone):
        raise SessionDeletedError(session_id)
    return Session(session_id, model, namespace=self._bound.namespace, clock=self._bound.clock)


async def load_merged(self: Handle, session_id: str) -> Session | None:
    """The memory copy against the durable copy: the newer one, or the merge of both.

    Storage is asked in any case. It is preferred if it is strictly newer, or of the same age and carrying an open
    question that memory lost; never if it is strictly older. Work in memory that isn't durable yet is merged into
    it. The cache is refreshed only if it gets newer.

    Raises:
        StorageError: Storage failed.
    """
    key = self._bound.key(session_id)
    return await _load(self._bound, key, fresh=True)


async def _load(bound: Bound, key: SessionKey, *, fresh: bool) -> Session | None:
    if key in bound.store.waiting:
        return await _with_waiting_work(bound, key, fresh=fresh)
    entry = bound.tiers.cache.entry(key)
    if entry is not None and entry.by_hand:
        return await _newer_of_both(bound, key)
    state = await bound.store.load(key, fresh=fresh)
    return copy_of(state, bound.clock) if isinstance(state, Snapshot) else None


async def _with_waiting_work(bound: Bound, key: SessionKey, *, fresh: bool = False) -> Session | None:
    """What is committed, as far as can be told, with what waits on top."""
    state: State
    try:
        state = await bound.store.load(key, fresh=fresh)
    except StorageError as exc:
        if not exc.retryable or key not in bound.store.waiting:
            raise
        entry = bound.tiers.cache.entry(key)
        state = entry.snapshot if entry is not None and not entry.by_hand else None
    return None if isinstance(state, Tombstone) else bound.store.waiting.load(key, state, bound.clock)


async def _newer_of_both(bound: Bound, key: SessionKey) -> Session | None:
    """The copy that was put into the cache by hand, or the durable one."""
    state = await bound.store.load(key, fresh=True)
    entry = bound.tiers.cache.entry(key)  # as it is now
    if isinstance(state, Tombstone):
        bound.tiers.cache.evict(key)
        return None
    if entry is None or not entry.by_hand or (state and prefers_storage(entry.snapshot.head, state.head)):
        if state is not None:
            bound.tiers.cache.publish(key, state)
        return copy_of(state, bound.clock) if state else None
    return entry.working_copy(bound.clock)


async def shown_head(bound: Bound, head: SessionHead) -> SessionHead | None:
    """The head of a session as `load` shows it, with waiting work; `None`: it was deleted meanwhile."""
    key = SessionKey(bound.namespace, head.id)
    if key not in bound.store.waiting:
        return head
    session = await _with_waiting_work(bound, key)
    return None if session is None else freeze(session).head


async def history(
    self: Handle,
    session_id: str,
    *,
    after: str | None = None,
    before: str | None = None,
    limit: int = PAGE_DEFAULT,
    at_revision: int | None = None,
) -> HistoryPage:
    """A window of the messages, without loading the rest. Call groups are never cut.

    Args:
        session_id: Which session.
        after: The oldest messages behind this message id. Neither `after` nor `before`: the newest messages.
        before: The newest messages in front of this message id.
        limit: Messages at most, 1 to 1000; fewer where a call group would be cut, more if one alone is longer.
        at_revision: The messages as they were at this revision of the current incarnation.

    Raises:
        SessionNotFoundError: There is no such session.
        MessageNotFoundError: The anchor was never in it (a removed one pages from its place).
        InputError: `limit` or `at_revision` is out of range.
    """
    key = self._bound.key(session_id)
    for anchor in (after, before):
        if anchor is not None:
            check_message_id(anchor)
    query = PageQuery(after, before, check_page_limit(limit), at_revision)
    if at_revision is None and key in self._bound.store.waiting:
        session = await _with_waiting_work(self._bound, key)
        if session is None:
            raise SessionNotFoundError(session_id)
        return await read_page(window_reader(freeze(session)), key, query)
    return await read_stored_page(self._bound.storage, key, query)


async def model_view(self: Handle, session_id: str, *, limit: int | None = None) -> tuple[Message, ...]:
    """The messages that can be sent to a model: no events, no calls without results, no results without calls.

    Args:
        session_id: Which session.
        limit: The newest so many messages at most, cut at the borders of call groups; `None`: all.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    if limit is not None:
        return window.model_view((await history(self, session_id, limit=limit)).messages)
    return window.model_view(list((await get(self, session_id)).messages))


async def find_message(self: Handle, message_id: str) -> tuple[str, Message] | None:
    """A message of this namespace by its id alone, and the id of its session; `None` if no session has it now.

    Forks have messages of their originals: then it is the original's, while that lives. Work of tolerant saves that
    isn't durable yet counts.
    """
    bound, waiting = self._bound, self._bound.store.waiting
    found = await bound.storage.find_message(bound.namespace, check_message_id(message_id))
    keys = waiting.sessions_with(bound.namespace, message_id)
    if found is not None:
        if bound.key(found[0]) not in waiting:
            return found
        keys.insert(0, bound.key(found[0]))
    for key in keys:
        session = await _with_waiting_work(bound, key)
        message = freeze(session).messages.find(message_id) if session is not None else None
        if message is not None:
            return key.session_id, message
    return None
