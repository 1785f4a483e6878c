"""Adding messages without loading the session: blind commits, which never conflict."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bamboo_sessions.coordination.saving import check_commit_size
from bamboo_sessions.domain.errors import InputError, PreconditionFailedError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import Message, check_unique, to_stored
from bamboo_sessions.domain.report import Appended
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import freeze, link_of
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.records import check_write
from bamboo_sessions.storage.commit import Commit, RecordWrite, RevisionConflict, SessionKey, StoredInsertion


async def append(
    self: Handle,
    session_id: str,
    *messages: Message,
    create: bool = False,
    model: str | None = None,
    if_revision: int | None = None,
    incarnation: int | None = None,
    records: Sequence[RecordWrite] = (),
    in_order: bool = False,
) -> Appended:
    """Add messages without loading the session. Never conflicts; a tool's result joins the group of its call.

    Atomic, durable on return, idempotent by message ids (G4), cancellation-safe.

    Args:
        session_id: Which session.
        messages: At least one.
        create: Make the session if there never was one.
        model: The model of a session made so.
        if_revision: Refuse if the session isn't at this revision.
        incarnation: The life of the session that is meant; another one is refused as deleted.
        records: Adapter state to write in the same commit.
        in_order: Keep the messages exactly as given, behind everything, also results whose call stands elsewhere.

    Raises:
        SessionNotFoundError: There is none, and `create` is false.
        SessionDeletedError: It was deleted, also with `create`.
        InvalidMessageError: Two of the messages have one id.
        MessageIdConflictError: A message id is taken by other content.
        PreconditionFailedError: `if_revision` was given and passed.
    """
    key = self._bound.writable(session_id)
    commit = Commit(
        key=key,
        commit_id=new_id(),
        at=self._bound.clock.now(),
        expected=if_revision,
        initial_head=new_head(self._bound, key, model) if create else None,
        records=tuple(map(check_write, records)),
        incarnation=incarnation,
    )
    return await add(self._bound, commit, messages, in_order=in_order)


async def append_fenced(
    bound: Bound, session: Session, messages: Sequence[Message], records: Sequence[RecordWrite]
) -> Appended:
    """Add messages to the session that `session` is a copy of, by the rights of that copy.

    What `append` does, for the life that the copy is of, and through the run lease that it writes through (G12).
    """
    commit = Commit(
        key=bound.writable_copy(session),
        commit_id=new_id(),
        at=bound.clock.now(),
        records=tuple(map(check_write, records)),
        incarnation=session.incarnation,
        fence=link_of(session).fence,
    )
    return await add(bound, commit, messages)


async def add(bound: Bound, commit: Commit, messages: Sequence[Message], *, in_order: bool = False) -> Appended:
    """Add `messages` by `commit`."""
    session_id = commit.key.session_id
    if not messages:
        message = f"Nothing to append to session {session_id!r}."
        raise InputError(message, hint="Pass at least one Message.")
    insertion = StoredInsertion(tuple(to_stored(message) for message in messages), None, in_order)
    check_unique(messages)
    commit = msgspec.structs.replace(commit, insertions=(insertion,))
    check_commit_size(commit)
    try:
        committed = await bound.store.append(commit)
    except RevisionConflict as exc:
        raise PreconditionFailedError(exc.expected, exc.actual, session_id=session_id) from None
    return Appended(revision=committed.revision, message_count=committed.message_count, duplicates=committed.duplicates)


def new_head(bound: Bound, key: SessionKey, model: str | None) -> SessionHead:
    """The head of a session that a call makes by the way."""
    return freeze(Session(key.session_id, model, namespace=key.namespace, clock=bound.clock)).head
