"""Rewriting a history on purpose: the only ways besides a saved copy in which messages go (G2).

What is taken out can still be read at older revisions. Without `if_revision` a rewrite runs again if somebody else was
faster; with it, it is refused with `PreconditionFailedError` if the session isn't at that revision. All raise
`SessionNotFoundError` and `SessionDeletedError`.
"""

from __future__ import annotations

from collections.abc import Iterable

from bamboo_sessions.coordination.plan import UNCHANGED, Planned, living
from bamboo_sessions.coordination.saving import check_commit_size
from bamboo_sessions.domain.change import head_kinds
from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.errors import InputError, MessageNotFoundError, PreconditionFailedError
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import Message, StoredMessage, check_unique, to_stored
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, freeze
from bamboo_sessions.repository.bound import Bound, Handle
from bamboo_sessions.repository.updating import rework
from bamboo_sessions.storage.commit import Commit, SessionKey, State, StoredInsertion


async def truncate(self: Handle, session_id: str, *, after_message_id: str, if_revision: int | None = None) -> Session:
    """Remove all messages behind `after_message_id`; raises `MessageNotFoundError` if that isn't live."""

    def change(session: Session) -> None:
        for index in range(len(session.messages) - 1, -1, -1):
            if session.messages[index].id == after_message_id:
                if index + 1 < len(session.messages):
                    del session.messages[index + 1 :]
                return
        raise MessageNotFoundError(session_id, after_message_id)

    return await rework(self._bound, session_id, change, if_revision=if_revision)


async def clear(self: Handle, session_id: str, *, keep_system: bool = True, if_revision: int | None = None) -> Session:
    """Remove all messages, but for system and developer messages if `keep_system`; open questions are withdrawn."""

    def change(session: Session) -> None:
        kept = {"system", "developer"} if keep_system else set()
        for index in range(len(session.messages) - 1, -1, -1):
            if session.messages[index].role not in kept:
                del session.messages[index]
        if session.pending_question is not None:
            session.clear_pending_question()

    return await rework(self._bound, session_id, change, if_revision=if_revision)


async def remove_last(
    self: Handle, session_id: str, n: int = 1, *, if_revision: int | None = None
) -> tuple[Message, ...]:
    """Remove the last `n` messages (fewer if there are fewer) and return them, oldest first.

    Two callers never get the same message.
    """
    if not isinstance(n, int) or n < 1:
        message = f"n must be 1 or more, not {n!r}."
        raise InputError(message, hint="Nothing was removed.")
    removed: list[Message] = []

    def change(session: Session) -> None:
        removed[:] = session.messages[-n:]
        if removed:
            del session.messages[-n:]

    await rework(self._bound, session_id, change, if_revision=if_revision)
    return tuple(removed)


async def replace_history(
    self: Handle, session_id: str, messages: Iterable[Message], *, if_revision: int | None = None
) -> Session:
    """Make `messages` the whole history, in this order. All are checked before anything is written (L86)."""
    new = tuple(messages)
    stored = tuple(to_stored(message) for message in new)
    check_unique(new)
    key = self._bound.writable(session_id)
    commit_id = new_id()

    def plan(state: State) -> Planned:
        snapshot = living(key, state)
        if if_revision is not None and if_revision != snapshot.revision:
            raise PreconditionFailedError(if_revision, snapshot.revision, session_id=session_id)
        if snapshot.messages == new:
            return UNCHANGED
        return _replacement(self._bound, key, snapshot, stored, commit_id)

    return await self._bound.store.write(key, plan, then=lambda written: self._bound.copy(key, written.after))


def _replacement(
    bound: Bound, key: SessionKey, snapshot: Snapshot, stored: tuple[StoredMessage, ...], commit_id: str
) -> Planned:
    now = bound.clock.now()
    covered = snapshot.head.summary and snapshot.head.summary.covers_through
    head = snapshot.head
    if covered and all(each.message.id != covered for each in stored):
        session = copy_of(snapshot, bound.clock)
        session.summary = None
        head = freeze(session).head
    commit = Commit(
        key=key,
        commit_id=commit_id,
        at=now,
        expected=snapshot.revision,
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
