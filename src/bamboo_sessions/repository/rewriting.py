"""Rewriting a history on purpose: the only ways besides a saved copy in which messages go (G2).

What is taken out can still be read at older revisions. Without a precondition a rewrite runs again if somebody else was
faster. `if_revision` refuses with `PreconditionFailedError` if the session is at another revision; `if_last_message` if
the history ends with another message (`""`: if it has any), whatever else changed. `records` are written in the same
commit. With the `commit_id` of a commit that was made, a call writes nothing and answers with the outcome of then. All
raise `SessionNotFoundError` and `SessionDeletedError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bamboo_sessions.coordination.fencing import check_fence
from bamboo_sessions.coordination.plan import UNCHANGED, Planned, living
from bamboo_sessions.coordination.saving import check_commit_size
from bamboo_sessions.domain.change import head_kinds
from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.errors import InputError, MessageNotFoundError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message, StoredMessage, to_stored, without_repeats
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.reworking import check_revision, rework, reworked
from bamboo_sessions.repository.terms import Terms, terms
from bamboo_sessions.storage.commit import Commit, RecordWrite, SessionKey, State, StoredInsertion
from bamboo_sessions.storage.query import Window, WindowQuery


async def truncate(
    self: Handle,
    session_id: str,
    *,
    after_message_id: str,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
    commit_id: str | None = None,
) -> Session:
    """Remove all messages behind `after_message_id`; raises `MessageNotFoundError` if that isn't live."""
    on = terms("truncate", commit_id, if_revision=if_revision, if_last_message=if_last_message, records=records)

    def change(session: Session) -> None:
        index = session.messages.index_of(after_message_id)
        if index is None:
            raise MessageNotFoundError(session_id, after_message_id)
        if index + 1 < len(session.messages):
            del session.messages[index + 1 :]

    return await rework(self._bound, session_id, change, on)


async def clear(
    self: Handle,
    session_id: str,
    *,
    keep_system: bool = True,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
    commit_id: str | None = None,
) -> Session:
    """Remove all messages, but for system and developer messages if `keep_system`; open questions are withdrawn."""
    on = terms("clear", commit_id, if_revision=if_revision, if_last_message=if_last_message, records=records)

    def change(session: Session) -> None:
        kept = {"system", "developer"} if keep_system else set()
        left = [message for message in session.messages if message.role in kept]
        if len(left) < len(session.messages):
            session.messages[:] = left
        if session.pending_question is not None:
            session.clear_pending_question()

    return await rework(self._bound, session_id, change, on)


async def remove_last(
    self: Handle,
    session_id: str,
    n: int = 1,
    *,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
    commit_id: str | None = None,
) -> tuple[Message, ...]:
    """Remove the last `n` messages (fewer if there are fewer) and return them, oldest first.

    Two callers never get the same message. With a `commit_id` that is known, those that were removed then.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        message = f"n must be 1 or more, not {n!r}."
        raise InputError(message, hint="Nothing was removed.")
    on = terms("remove_last", commit_id, if_revision=if_revision, if_last_message=if_last_message, records=records)
    key = self._bound.writable(session_id)
    removed: list[Message] = []

    def change(session: Session) -> None:
        removed[:] = session.messages[-n:]
        if removed:
            del session.messages[-n:]

    written = await reworked(self._bound, key, change, on)
    living(key, written.after)
    if written.committed is None or not written.committed.replayed:
        return tuple(removed)
    return await _removed_then(self._bound, key, n, written.committed.revision)


async def _removed_then(bound: Bound, key: SessionKey, n: int, revision: int) -> tuple[Message, ...]:
    """Those of the last `n` messages before a revision that are not in the history at it."""
    before = await bound.storage.read_window(key, WindowQuery(n, at_revision=revision - 1))
    after = await bound.storage.read_window(key, WindowQuery(n, at_revision=revision))
    left = {message.id for message in after.messages} if isinstance(after, Window) else set()
    return tuple(message for message in before.messages if message.id not in left) if isinstance(before, Window) else ()


async def replace_history(
    self: Handle,
    session_id: str,
    messages: Iterable[Message],
    *,
    if_revision: int | None = None,
    if_last_message: str | None = None,
    records: Sequence[RecordWrite] = (),
    commit_id: str | None = None,
) -> Session:
    """Make `messages` the whole history, in this order. All are checked before anything is written (L86).

    A message that occurs again, with equal content, is there once; with other content it is an `InvalidMessageError`.
    """
    bound = self._bound
    on = terms("replace_history", commit_id, if_revision=if_revision, if_last_message=if_last_message, records=records)
    new, _ = without_repeats(messages)
    stored = tuple(map(to_stored, new))
    key = bound.writable(session_id)

    def plan(state: State) -> Planned:
        snapshot = bound.admitted(key, state)
        check_revision(key, on, snapshot.revision)
        if snapshot.messages != new:
            return _replacement(bound, key, snapshot, stored, on)
        if on.records or on.if_last_message is not None:
            return Planned(_commit(bound, key, on, snapshot.revision))
        return UNCHANGED

    written = await bound.store.write(key, plan, then=lambda written: written, call=on.call, commit_id=on.given)
    if written.committed is None:
        await check_fence(bound.storage, key, bound.fence)
    return bound.copy(key, written.after)


def _commit(bound: Bound, key: SessionKey, on: Terms, expected: int) -> Commit:
    return Commit(
        key=key,
        commit_id=on.commit_id,
        at=bound.clock.now(),
        expected=expected,
        records=on.records,
        fence=bound.fence,
        if_last_message=on.if_last_message,
        call=on.call,
    )


def _replacement(
    bound: Bound, key: SessionKey, snapshot: Snapshot, stored: tuple[StoredMessage, ...], on: Terms
) -> Planned:
    now = bound.clock.now()
    head = snapshot.head
    covered = head.summary and head.summary.covers_through
    if covered and all(each.message.id != covered for each in stored):
        head = msgspec.structs.replace(head, summary=None)
    commit = msgspec.structs.replace(
        _commit(bound, key, on, snapshot.revision),
        head=head if head is not snapshot.head else None,
        head_kinds=head_kinds(snapshot.head, head),
        updated_at=max(now, snapshot.head.updated_at + MICROSECOND),
        insertions=(StoredInsertion(stored, None),) if stored else (),
        removals=tuple(message.id for message in snapshot.messages),
        replace=True,
    )
    check_commit_size(commit)
    result = Snapshot(head, FrozenMessages(each.message for each in stored), commit.size)
    return Planned(commit, result)
