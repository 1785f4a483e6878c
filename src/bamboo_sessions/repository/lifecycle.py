"""Forking, deleting and cleaning up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from bamboo_sessions.domain import json
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
from bamboo_sessions.domain.ids import check_name
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.domain.report import CleanupFailure, CleanupReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.repository.authoring import check_title
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.terms import Terms, made_before, terms
from bamboo_sessions.storage.commit import Commit, HistorySource, RevisionConflict, SessionKey
from bamboo_sessions.storage.query import DeleteQuery, ListQuery

CleanupMode = Literal["all", "empty", "children"]


async def fork(
    self: Handle,
    session_id: str,
    *,
    new_id: str | None = None,
    at_message_id: str | None = None,
    at_revision: int | None = None,
    owner: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    records: bool | Sequence[str] = True,
    commit_id: str | None = None,
) -> Session:
    """An independent root session that begins with this one's history, and knows where it came from.

    Messages keep their ids. Model, workspace, metadata and records come along; pin, archive, questions, run state and
    token usage don't (the ledger stays with the original, L98). With `at_message_id` or `at_revision` the summary is
    dropped, too, for heads aren't versioned. All in one commit, durable on return, cancellation-safe.

    Args:
        session_id: The original.
        new_id: The fork's id; by default the commit id, which is a UUIDv7 unless you name one.
        at_message_id: The last message to take; `None`: all.
        at_revision: Take the messages as they were at this revision; `None`: the newest.
        owner, title, metadata: The fork's, in place of the original's; `None`: the same.
        records: Whether the session's records come along, or the kinds that do. They come as they are now, for records
            have no revisions.
        commit_id: Your name for this commit; with that of one that was made, no second fork is made (G4).

    Raises:
        SessionNotFoundError, SessionDeletedError: Of the original, or the new id was deleted.
        SessionExistsError: The new id is taken.
        MessageNotFoundError: `at_message_id` wasn't live then.
        InputError: `at_revision` isn't one of this life, or another argument can't be meant.
    """
    bound, on = self._bound, terms("fork", commit_id)
    given = _given(owner, title, metadata)
    kinds = _record_kinds(records)
    original = bound.key(session_id)
    key = bound.writable(new_id if new_id is not None else on.commit_id)
    try:
        head = await _fork_head(bound, original, key.session_id, at_revision, at_message_id)
        fork = await begun(bound, _fork_commit(key, on, msgspec.structs.replace(head, **given), kinds))
    except StorageError:
        raise
    except BambooSessionsError:  # perhaps the original has changed since the fork was made
        if await made_before(bound, key, on) is None:
            raise
        fork = bound.copy(key, await bound.store.load(key))
    if fork.forked_from is None or fork.forked_from.session_id != session_id:
        raise SessionExistsError(fork.id)  # the commit id was used for another call before
    return fork


async def _fork_head(
    bound: Bound, original: SessionKey, new_id: str, at_revision: int | None, at_message_id: str | None
) -> SessionHead:
    """The head of a fork of what the original is now, or was at a revision."""
    head = await _original(bound, original)
    origin = ForkOrigin(original.session_id, _checked_revision(head, at_revision), at_message_id)
    keep_summary = at_message_id is None and at_revision is None
    return fork_head(head, new_id, origin, at=bound.clock.now(), keep_summary=keep_summary)


def _fork_commit(key: SessionKey, on: Terms, head: SessionHead, kinds: tuple[str, ...] | None) -> Commit:
    """The commit that begins the fork with its origin's history, and its records of these kinds."""
    origin = head.forked_from
    assert origin is not None  # noqa: S101 - it is a fork's
    return Commit(
        key=key,
        commit_id=on.commit_id,
        at=head.created_at,
        expected=0,
        head=head,
        history_from=HistorySource(origin.session_id, origin.revision, origin.message_id, kinds),
        call=on.call,
    )


async def _original(bound: Bound, key: SessionKey) -> SessionHead:
    head = await bound.storage.read_head(key)
    if head is None:
        raise SessionNotFoundError(key.session_id)
    if isinstance(head, Tombstone):
        raise SessionDeletedError(key.session_id)
    return head


def _given(owner: str | None, title: str | None, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the fork's head has in place of the original's."""
    given: dict[str, Any] = {}
    if owner is not None:
        given["owner"] = check_name(owner, what="owner")
    if title is not None:
        given |= {"title": check_title(title), "title_generated": False}
    if metadata is not None:
        given |= {"metadata": json.frozen(metadata, what="The fork's metadata"), "authoritative_keys": frozenset()}
    return given


def _record_kinds(records: bool | Sequence[str]) -> tuple[str, ...] | None:
    if isinstance(records, bool):
        return None if records else ()
    if isinstance(records, str):
        message = f"records= takes True, False or kinds of records, not {records!r}."
        raise InputError(message, hint=f"Use records=[{records!r}] for one kind.")
    return tuple(check_name(kind, what="record kind") for kind in records)


def _checked_revision(original: SessionHead, at_revision: int | None) -> int:
    revision = original.revision if at_revision is None else at_revision
    if not original.incarnation <= revision <= original.revision:
        known = f"{original.incarnation} to {original.revision}"
        message = f"Session {original.id!r} has the revisions {known}, not {revision}."
        raise InputError(message, hint="Leave at_revision out to fork the newest state.")
    return revision


async def begun(bound: Bound, commit: Commit) -> Session:
    """A copy of the new session that `commit` makes, or made when it was asked for before."""
    key = commit.key
    try:
        await bound.store.append(commit)
    except RevisionConflict:
        raise SessionExistsError(key.session_id) from None
    try:
        return bound.copy(key, await bound.store.load(key))
    except StorageError as exc:
        exc.outcome_unknown, exc.commit_id = True, commit.commit_id  # it was made, and no answer says so
        raise


async def delete(
    self: Handle,
    session_id: str,
    *,
    force: bool = False,
    if_revision: int | None = None,
    commit_id: str | None = None,
) -> bool:
    """Delete a session and all below it in one transaction; `False` if there is none.

    Deleted stays deleted (G9): late saves and appends are refused, and only `create` makes the id again.

    Args:
        session_id: Which session.
        force: Also if a run holds it, or one below it; that run's saves are refused from then on.
        if_revision: Refuse if the session isn't at this revision; one that isn't there is no error.
        commit_id: Your name for this deletion; with that of one that was made, nothing is deleted, and the answer is
            that of then (G4).

    Raises:
        SessionBusyError: A run holds it or one below it (looked at inside the transaction); nothing was deleted.
        PreconditionFailedError: `if_revision` was given and passed.
    """
    on = terms("delete", commit_id, if_revision=if_revision)
    key = self._bound.writable(session_id)
    query = DeleteQuery(at=self._bound.clock.now(), force=force, if_revision=on.if_revision, commit_id=on.commit_id)
    return bool(await self._bound.store.delete(key, query))


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
    before = _before(now, older_than) if isinstance(older_than, timedelta) else older_than
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


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError as exc:
        raise InputError(f"An age can't be {age!r}.", hint="Pass a shorter one, or a time.") from exc


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
