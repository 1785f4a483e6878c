"""Forking, deleting and cleaning up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from bamboo_sessions.domain import ids
from bamboo_sessions.domain.clock import utc
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    InputError,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
    StorageError,
)
from bamboo_sessions.domain.head import ForkOrigin, SessionHead
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.domain.report import CleanupFailure, CleanupReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.storage.commit import Commit, HistorySource, RevisionConflict
from bamboo_sessions.storage.query import DeleteQuery, ListQuery

CleanupMode = Literal["all", "empty", "children"]


async def fork(
    self: Handle,
    session_id: str,
    *,
    new_id: str | None = None,
    at_message_id: str | None = None,
    at_revision: int | None = None,
) -> Session:
    """An independent root session that begins with this one's history, and knows where it came from.

    Messages keep their ids. Model, workspace and metadata come along; pin, archive, questions, run state and token
    usage don't (the ledger stays with the original, L98). With `at_message_id` or `at_revision` the summary is
    dropped, too, for heads aren't versioned.

    Args:
        session_id: The original.
        new_id: The fork's id; a UUIDv7 by default.
        at_message_id: The last message to take; `None`: all.
        at_revision: Take the messages as they were at this revision; `None`: the newest.

    Raises:
        SessionNotFoundError, SessionDeletedError: Of the original, or the new id was deleted.
        SessionExistsError: The new id is taken.
        MessageNotFoundError: `at_message_id` wasn't live then.
        InputError: `at_revision` isn't one of this life.
    """
    original = await self._bound.storage.read_head(self._bound.key(session_id))
    if original is None:
        raise SessionNotFoundError(session_id)
    if isinstance(original, Tombstone):
        raise SessionDeletedError(session_id)
    revision = original.revision if at_revision is None else at_revision
    if not original.incarnation <= revision <= original.revision:
        known = f"{original.incarnation} to {original.revision}"
        message = f"Session {session_id!r} has the revisions {known}, not {revision}."
        raise InputError(message, hint="Leave at_revision out to fork the newest state.")
    now = self._bound.clock.now()
    key = self._bound.writable(new_id if new_id is not None else ids.new_id())
    head = fork_head(
        original,
        key.session_id,
        ForkOrigin(session_id, revision, at_message_id),
        at=now,
        keep_summary=at_message_id is None and at_revision is None,
    )
    source = HistorySource(session_id, revision, at_message_id)
    commit = Commit(key=key, commit_id=ids.new_id(), at=now, expected=0, head=head, history_from=source)
    try:
        await self._bound.store.append(commit)
    except RevisionConflict:
        raise SessionExistsError(key.session_id) from None
    try:
        state = await self._bound.store.load(key)
    except StorageError as exc:
        exc.outcome_unknown = True  # for the caller: the fork was made, and no answer says so
        raise
    if not isinstance(state, Snapshot):  # deleted at once by somebody else
        raise SessionDeletedError(key.session_id)
    return copy_of(state, self._bound.clock)


async def delete(self: Handle, session_id: str, *, force: bool = False) -> bool:
    """Delete a session and all below it in one transaction; `False` if there is none.

    Deleted stays deleted (G9): late saves and appends are refused, and only `create` makes the id again.

    Args:
        session_id: Which session.
        force: Also if a run holds it, or one below it; that run's saves are refused from then on.

    Raises:
        SessionBusyError: A run holds it or one below it (looked at inside the transaction); nothing was deleted.
    """
    key = self._bound.writable(session_id)
    return bool(await self._bound.store.delete(key, DeleteQuery(at=self._bound.clock.now(), force=force)))


async def cleanup(
    self: Handle,
    mode: CleanupMode,
    *,
    keep_pinned: bool = True,
    older_than: timedelta | datetime | None = None,
) -> CleanupReport:
    """Delete many sessions, each with its tree in a transaction of its own.

    A tree in which a run holds a session stays, and is among what failed.

    Args:
        mode: `"all"`; `"empty"`: trees without any message; `"children"`: everything that has a parent.
        keep_pinned: Spare every tree that has a pinned session anywhere in it (L39).
        older_than: Only trees in which nothing was updated since: an age, or an aware time. `None`: any.

    Returns:
        What was deleted and what could not be deleted, also when it failed half-way (L40).
    """
    if mode not in {"all", "empty", "children"}:
        message = f"{mode!r} is no mode of cleanup."
        raise InputError(message, hint="Use 'all', 'empty' or 'children'.")
    now = self._bound.clock.now()
    before = now - older_than if isinstance(older_than, timedelta) else older_than
    query = DeleteQuery(
        at=now,
        keep_pinned=keep_pinned,
        only_empty=mode == "empty",
        updated_before=utc(before, what="older_than") if before is not None else None,
    )
    deleted: list[str] = []
    failed: list[CleanupFailure] = []
    try:
        async for head in _candidates(self._bound, mode):
            try:
                deleted.extend(await self._bound.store.delete(self._bound.key(head.id), query))
            except BambooSessionsError as exc:
                failed.append(CleanupFailure(head.id, str(exc)))
    except StorageError as exc:  # of the listing
        if not deleted and not failed:
            raise
        failed.append(CleanupFailure("", f"Further sessions could not be listed: {exc}"))
    return CleanupReport(deleted=tuple(deleted), failed=tuple(failed))


async def _candidates(bound: Bound, mode: CleanupMode) -> AsyncIterator[SessionHead]:
    async for head in bound.heads(ListQuery(bound.namespace, limit=PAGE_MAX, order="created_at")):
        is_child = head.parent_session_id is not None
        if mode == "empty" or is_child == (mode == "children"):
            yield head


def fork_head(
    original: SessionHead, session_id: str, origin: ForkOrigin, *, at: datetime, keep_summary: bool
) -> SessionHead:
    """The head of a fork: what belongs to the conversation comes along, what belongs to its life doesn't."""
    return msgspec.structs.replace(
        original,
        id=session_id,
        kind="root",
        parent_session_id=None,
        root_session_id=session_id,
        spawn_depth=0,
        forked_from=origin,
        created_at=at,
        updated_at=at,
        incarnation=0,
        title_version=0,
        pinned=False,
        archived=False,
        metadata_version=0,
        token_usage=None,
        run_state=None,
        summary=original.summary if keep_summary else None,
        questions=(),
        revision=0,
        message_count=0,
    )
