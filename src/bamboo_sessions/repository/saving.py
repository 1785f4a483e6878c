"""Saving working copies. There is no "write this snapshot as it is"."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from bamboo_sessions.coordination.saving import check_commit_size
from bamboo_sessions.domain.head import ForkOrigin, SessionHead
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.question import changed_since
from bamboo_sessions.domain.report import MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import forget_repeated, freeze, link_of, repeated_in
from bamboo_sessions.repository.bound import Handle
from bamboo_sessions.repository.lifecycle import begun, fork_head
from bamboo_sessions.repository.terms import terms
from bamboo_sessions.storage.commit import Commit, RecordWrite, StoredInsertion

_log: Final = logging.getLogger("bamboo_sessions")


async def create(
    self: Handle, session: Session, *, records: Sequence[RecordWrite] = (), commit_id: str | None = None
) -> Session:
    """Persist a new session; the one way to use the id of a deleted one again (G9).

    Atomic, durable on return, cancellation-safe. The same object comes back, up to date. After an unknown outcome
    the call can be repeated, with the same object or the same `commit_id`: it is looked up whether that made it (G4).

    Args:
        session: What to persist. Its place in a tree follows from its parent: root, depth, and owner if it has none.
        records: Adapter state to write in the same commit.
        commit_id: Your name for this commit.

    Raises:
        SessionExistsError: A session of this id lives.
        SessionDeletedError: `session` is a copy of a deleted one; or an ancestor of it was deleted.
        InputError: It contradicts its parent, or can't be stored.
    """
    on = terms("create", commit_id, records=records)
    self._bound.writable_copy(session)
    await self._bound.store.merge_save(session, creating=True, records=on.records, commit_id=on.given)
    return session


async def save(
    self: Handle,
    session: Session,
    *,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
    commit_id: str | None = None,
) -> MergeReport:
    """Persist a working copy: a three-way merge with what is committed now.

    Atomic, durable on return (G1), idempotent (G4), cancellation-safe (G10). Costs as much as the change;
    without a change nothing is written. Afterwards the copy is up to date with what others had committed, and what
    was added to it while this ran is still in it.

    Args:
        session: The copy.
        if_revision: Refuse instead of merging if the session isn't at this revision.
        if_last_message: Refuse if the history ends with another message than this id (`""`: if it has any), whatever
            else changed.
        records: Adapter state to write in the same commit.
        commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).

    Raises:
        SessionDeletedError: The session was deleted (G9).
        MessageIdConflictError: A message id is taken by other content.
        PreconditionFailedError: `if_revision` or `if_last_message` was given and doesn't hold.
        LeaseLostError: The copy is of a run lease, and a newer one exists (G12).
        InputError, StorageError: The copy can't be stored, or storage failed; nothing is half-written.
    """
    on = terms("save", commit_id, if_revision=if_revision, if_last_message=if_last_message, records=records)
    self._bound.writable_copy(session)
    repeated = repeated_in(session)
    report = await self._bound.store.merge_save(
        session,
        if_revision=on.if_revision,
        if_last_message=on.if_last_message,
        records=on.records,
        commit_id=on.given,
        fence=self._bound.fence,
    )
    return _told(session, report, repeated)


async def checkpoint(self: Handle, session: Session, *, commit_id: str | None = None) -> MergeReport:
    """A save that adds only: removals and edits done to the copy are held back, and stay pending in it."""
    on = terms("save", commit_id)
    self._bound.writable_copy(session)
    repeated = repeated_in(session)
    report = await self._bound.store.merge_save(
        session, additions_only=True, commit_id=on.given, fence=self._bound.fence
    )
    return _told(session, report, repeated)


def _told(session: Session, report: MergeReport, repeated: tuple[str, ...]) -> MergeReport:
    """`report`, with the messages that were added to the copy though it had them; what was lost is logged as well."""
    if report.authoritative_ignored:
        names = ", ".join(report.authoritative_ignored)
        _log.warning(
            "session %r: what this copy set (%s) wasn't saved, for the session was saved by others meanwhile; "
            "use rename, pin, archive, set_value or apply_generated_title, which always work",
            session.id,
            names,
        )
    if not repeated:
        return report
    forget_repeated(session, repeated)
    return msgspec.structs.replace(report, duplicates=(*report.duplicates, *repeated))


async def save_best_effort(self: Handle, session: Session, *, commit_id: str | None = None) -> bool:
    """As `save`, and carry on if storage is down: whether the work is durable now.

    `False`: a failure that may pass; the work is kept in memory, visible to `load`, and retried in the background.
    A retry that is refused for good is told by `flush` and `aclose`.

    Raises:
        StorageError: One that isn't retryable, or the bound on waiting work is reached.
    """
    on = terms("save", commit_id)
    self._bound.writable_copy(session)
    return await self._bound.tiers.tolerant.save(session, commit_id=on.given, fence=self._bound.fence)


async def save_as_fork(
    self: Handle, session: Session, *, new_id: str | None = None, commit_id: str | None = None
) -> Session:
    """Keep a working copy, with all that wasn't saved of it, as an independent root session.

    For work that was refused, as that of a run whose lease was lost, or of a deleted session: nothing of it is
    lost, and nothing is merged into what others made. As with `fork`, pin, archive, run state and token usage stay
    behind; of the questions those come along that the copy itself had asked. The owner is the session's of now, while
    it lives. The copy stays as it is.

    Atomic, durable on return, cancellation-safe.

    Args:
        session: The copy.
        new_id: The new session's id; by default the commit id, which is a UUIDv7 unless you name one.
        commit_id: Your name for this commit; with that of one that was made, no second fork is made (G4).

    Raises:
        SessionExistsError, SessionDeletedError: The new id is taken, or was deleted.
        LimitExceededError: The whole conversation is larger than one commit may be.
    """
    bound, on = self._bound, terms("save_as_fork", commit_id)
    draft = freeze(bound.own(session))
    key = bound.writable(new_id if new_id is not None else on.commit_id)
    now = bound.clock.now()
    origin = ForkOrigin(session.id, session.revision)
    head = fork_head(draft.head, key.session_id, origin, at=now, keep_summary=True)
    original = await bound.storage.read_head(bound.key(session.id))
    owner = original.owner if isinstance(original, SessionHead) else head.owner
    base = link_of(session).base
    known = base.head.questions if base is not None else ()
    asked = tuple(question for question in changed_since(known, draft.head.questions) if question.is_open)
    commit = Commit(
        key=key,
        commit_id=on.commit_id,
        at=now,
        expected=0,
        head=msgspec.structs.replace(head, owner=owner, questions=asked),
        insertions=(StoredInsertion(tuple(map(to_stored, draft.messages)), None),),
        replace=True,
        call=on.call,
    )
    check_commit_size(commit)
    return await begun(bound, commit)
