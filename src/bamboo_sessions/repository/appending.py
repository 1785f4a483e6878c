"""Adding to a session without loading it: blind commits, which never conflict."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bamboo_sessions.coordination.saving import check_commit_size
from bamboo_sessions.domain.errors import InputError, PreconditionFailedError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import Message, to_stored, without_repeats
from bamboo_sessions.domain.report import Appended
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsage, check_record
from bamboo_sessions.domain.working_copy import freeze, link_of
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.terms import Terms, terms
from bamboo_sessions.storage.commit import (
    Commit,
    RecordWrite,
    RevisionConflict,
    SessionKey,
    StoredInsertion,
)


async def append(
    self: Handle,
    session_id: str,
    *messages: Message,
    create: bool | Session = False,
    model: str | None = None,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    incarnation: int | None = None,
    records: Sequence[RecordWrite] = (),
    usage: Sequence[TokenUsage] = (),
    in_order: bool = False,
    commit_id: str | None = None,
) -> Appended:
    """Add messages without loading the session. Never conflicts; a tool's result joins the group of its call.

    Atomic, durable on return, idempotent by message ids and by `commit_id` (G4), cancellation-safe.

    Args:
        session_id: Which session.
        messages: What to add; none, if there are `records` or `usage`.
        create: Make the session if there never was one. A `Session` of this id says how: its owner, title, kind,
            parent, metadata. It has no messages, isn't changed, and doesn't matter if the session is there.
        model: The model of a session made with `create=True`.
        if_revision: Refuse if the session isn't at this revision.
        if_last_message: Refuse if the history ends with another message than this id (`""`: if it has any). What
            people change meanwhile, such as the title, doesn't matter.
        incarnation: The life of the session that is meant; another one is refused as deleted.
        records: Adapter state to write in the same commit.
        usage: Model calls for the token ledger, in the same commit.
        in_order: Keep the messages exactly as given, behind everything, also results whose call stands elsewhere.
        commit_id: Your name for this commit, 1 to 128 characters, or that of an error (`exc.commit_id`): with the name
            of a commit that was made the call writes nothing, and answers with the outcome of then.

    Raises:
        SessionNotFoundError: There is none, and `create` is false.
        SessionDeletedError: It was deleted, also with `create`.
        InvalidMessageError: Two of the messages have one id, and different content.
        MessageIdConflictError: A message id is taken by other content.
        PreconditionFailedError: `if_revision` or `if_last_message` was given and doesn't hold.
        InputError: There is nothing to write, or an argument can't be meant.
    """
    bound, key = self._bound, self._bound.writable(session_id)
    on = terms("append", commit_id, if_revision=if_revision, if_last_message=if_last_message, records=records)
    new, repeated = without_repeats(messages)
    commit = addition(bound, key, on, new, usage, in_order=in_order)
    if bound.right is not None:
        incarnation = bound.right.incarnation
    first = first_head(bound, key, create, model)
    commit = msgspec.structs.replace(commit, initial_head=first, incarnation=incarnation)
    return await added(bound, commit, repeated)


def addition(
    bound: Bound,
    key: SessionKey,
    on: Terms,
    messages: Sequence[Message] = (),
    usage: Sequence[TokenUsage] = (),
    *,
    in_order: bool = False,
) -> Commit:
    """The blind commit that adds these; raises `InputError` if there is nothing to add."""
    if not (messages or on.records or usage):
        message = f"Nothing to append to session {key.session_id!r}."
        raise InputError(message, hint="Pass at least one Message, or records= or usage=.")
    commit = Commit(
        key=key,
        commit_id=on.commit_id,
        at=bound.clock.now(),
        expected=on.if_revision,
        insertions=(StoredInsertion(tuple(map(to_stored, messages)), None, in_order),) if messages else (),
        usage=tuple(map(check_record, usage)),
        records=on.records,
        fence=bound.fence,
        if_last_message=on.if_last_message,
        call=on.call,
        is_first_try=on.given is None,
    )
    check_commit_size(commit)
    return commit


async def added(bound: Bound, commit: Commit, repeated: tuple[str, ...] = ()) -> Appended:
    """Commit an addition, of which the messages `repeated` were given twice."""
    try:
        committed = await bound.store.append(commit)
    except RevisionConflict as exc:
        raise PreconditionFailedError(exc.expected, exc.actual, session_id=commit.key.session_id) from None
    duplicates = (*committed.duplicates, *repeated)
    return Appended(revision=committed.revision, message_count=committed.message_count, duplicates=duplicates)


def first_head(bound: Bound, key: SessionKey, create: object, model: str | None) -> SessionHead | None:
    """The head of a session that a call makes by the way; `None` if it isn't to make one.

    Raises `InputError` if `create` is neither a bool nor a new session of this key without messages.
    """
    if isinstance(create, bool):
        return (
            freeze(Session(key.session_id, model, namespace=key.namespace, clock=bound.clock)).head if create else None
        )
    if not isinstance(create, Session):
        message = f"create= takes True, False or a Session, not {type(create).__name__}."
        raise InputError(message, hint="Pass Session(id, owner=…, title=…) to say how the session is made.")
    session = bound.own(create)
    if session.id != key.session_id or len(session.messages) or link_of(session).base is not None or model is not None:
        message = f"create= of session {key.session_id!r} has to be a new Session of that id, without messages."
        raise InputError(
            message, hint="Pass Session(id, model, owner=…, title=…); messages are arguments of their own."
        )
    return freeze(session).head
