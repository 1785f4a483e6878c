"""The terms that a call writes on: its commit id, what must hold, what is written along. Checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bamboo_sessions.coordination.committing import Planner, Written, living
from bamboo_sessions.domain.errors import BambooSessionsError, InputError, SessionDeletedError, StorageError
from bamboo_sessions.domain.ids import check_commit_id, check_message_id, new_id
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import rebase_copy
from bamboo_sessions.repository.bound import Bound
from bamboo_sessions.storage.checks import check_record_writes
from bamboo_sessions.storage.commit import RecordWrite, SessionKey, State


class Terms(NamedTuple):
    """On what terms a call writes.

    Args:
        commit_id: The name of what it commits.
        is_named: Whether the caller named it. Then an earlier call may have made the commit, and what became of it then
            is the answer (G4, L118).
        if_revision: Refused if the session is at another revision.
        if_last_message: Refused if the history ends with another message; `""`: if it has any.
        records: Adapter state to write in the same commit.
    """

    commit_id: str
    is_named: bool = False
    if_revision: int | None = None
    if_last_message: str | None = None
    records: tuple[RecordWrite, ...] = ()


def terms(
    commit_id: str | None = None,
    *,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
) -> Terms:
    """The terms of a call; raises `InputError` for what can't be meant."""
    if if_last_message:
        check_message_id(if_last_message)
    if if_revision is not None and (isinstance(if_revision, bool) or not isinstance(if_revision, int)):
        message = f"if_revision must be a whole number, not {if_revision!r}."
        raise InputError(message, hint="Pass the `revision` of what was loaded; nothing was written.")
    return Terms(
        new_id() if commit_id is None else check_commit_id(commit_id),
        is_named=commit_id is not None,
        if_revision=if_revision,
        if_last_message=if_last_message,
        records=checked_records(records),
    )


def checked_records(records: Sequence[RecordWrite]) -> tuple[RecordWrite, ...]:
    """`records`, if each is a write that can be stored."""
    for write in records:
        if not isinstance(write, RecordWrite):
            message = f"records= takes RecordWrites, not {type(write).__name__}."
            raise InputError(message, hint="Use RecordWrite(kind, key, value); nothing was written.")
    check_record_writes(records)
    return tuple(records)


class Outcome(NamedTuple):
    """The session now, and the revision that an earlier call with the same commit id made (`None`: none did)."""

    now: State
    replayed: int | None


async def write_once(
    bound: Bound,
    key: SessionKey,
    planner: Planner,
    on: Terms,
    *,
    start: State = None,
    heads_only: bool = False,
    then: Callable[[Written], Written] = lambda written: written,
) -> Outcome:
    """Bring a plan in, unless an earlier call with the same commit id has done so.

    Storage knows that inside the commit. Where it gets none, since there is nothing to do any more or the plan refuses
    what it finds, that may be because it is done: then storage is asked.
    """
    try:
        written = await bound.store.write(key, planner, start=start, heads_only=heads_only, then=then)
    except StorageError:
        raise
    except BambooSessionsError:
        if (done := await _done_before(bound, key, on)) is not None:
            return done
        raise
    if written.committed is not None:
        return Outcome(written.after, written.committed.revision if written.committed.replayed else None)
    return await _done_before(bound, key, on) or Outcome(written.after, None)


async def _done_before(bound: Bound, key: SessionKey, on: Terms) -> Outcome | None:
    revision = await made_before(bound, key, on)
    return None if revision is None else Outcome(await bound.store.load(key), revision)


async def made_before(bound: Bound, key: SessionKey, on: Terms) -> int | None:
    """The revision that an earlier call with this commit id made; `None` if the caller named none, or none did."""
    return await bound.storage.find_commit(key, on.commit_id) if on.is_named else None


async def brought_up_to_date(bound: Bound, key: SessionKey, session: Session, revision: int) -> None:
    """Make `session` a copy of what is committed now: an earlier call has saved it, as `revision`."""
    snapshot: Snapshot = living(key, await bound.store.load(key))
    if snapshot.head.incarnation > revision:
        raise SessionDeletedError(key.session_id)  # since then; what lives now is another session (G9)
    rebase_copy(session, snapshot, snapshot.head)
