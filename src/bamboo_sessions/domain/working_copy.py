"""What the store does with a working copy, behind the face that users see: making, freezing and rebasing it. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages, Replaced
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Link, Session
from bamboo_sessions.domain.snapshot import Draft, Snapshot


def copy_of(snapshot: Snapshot, clock: Clock = SYSTEM_CLOCK) -> Session:
    """A working copy based on `snapshot`; costs the same at any length."""
    session = Session.__new__(Session)
    session._become(snapshot.head, Link(snapshot), snapshot.messages, clock)
    return session


def copy_without_base(head: SessionHead, messages: FrozenMessages, clock: Clock = SYSTEM_CLOCK) -> Session:
    """A working copy that nobody committed as it is: saving it unites it with what is committed."""
    session = Session.__new__(Session)
    session._become(head, Link(), NO_MESSAGES, clock)
    session._messages._rebase(NO_MESSAGES, messages)
    return session


def copy_with_changes(
    base: Snapshot, head: SessionHead, messages: FrozenMessages, replaced: Replaced, clock: Clock = SYSTEM_CLOCK
) -> Session:
    """A working copy based on `base`, with the unsaved changes that make it `head` and `messages`."""
    session = copy_of(base, clock)
    rebase_copy(session, base, head, messages)
    session._messages._rebase(base.messages, messages, replaced)
    return session


def link_of(session: Session) -> Link:
    """What ties the copy to its store."""
    return session._link


def is_clean(session: Session) -> bool:
    """Whether a save would change nothing."""
    if session._link.base is None or session._changes or not session._messages._is_clean:
        return False
    return session._metadata is None or json.same(session._metadata, session._head.metadata)


def freeze(session: Session) -> Draft:
    """The copy at this moment. Raises `InputError` if a value can't be stored."""
    has_base = session._link.base is not None
    changes = dict(session._changes)
    if session._metadata is not None and not json.same(session._metadata, session._head.metadata):
        changes["metadata"] = json.frozen_object(session._metadata, what=f"Session {session.id!r}: metadata")
        if has_base:  # it is changed in place, which touched nothing
            changes.setdefault("updated_at", session._now())
    time_set = session._touched_at is None and "updated_at" in session._changes
    head_touched = not has_base or len(changes) > ("updated_at" in changes)
    if session._touched_at is not None:
        changes["updated_at"] = session._touched_at
    head = msgspec.structs.replace(session._head, **changes) if changes else session._head
    messages = session._messages
    content, added = messages._drafted()
    replaced = dict(messages._replaced)
    return Draft(head, content, replaced, session._mutations, time_set, head_touched, added)


def repeated_in(session: Session) -> tuple[str, ...]:
    """The ids of messages that were added to the copy though it had them, since a save has told of such."""
    return tuple(session._messages._repeated)


def forget_repeated(session: Session, told: tuple[str, ...]) -> None:
    """Note that a save has told of the first ones of them."""
    del session._messages._repeated[: len(told)]


def record_answer(session: Session, question: PendingQuestion) -> None:
    """Put the answered `question` in the place of the open one; `SessionRepository.answer` decides if it may."""
    session._change("questions", tuple(question if q.id == question.id else q for q in session.questions))


def unchanged_since(session: Session, draft: Draft) -> bool:
    """Whether nothing was done to the copy since `draft` was made of it."""
    if session._mutations != draft.mutations:
        return False
    return session._metadata is None or json.same(session._metadata, draft.head.metadata)


def rebase_copy(session: Session, base: Snapshot, head: SessionHead, messages: FrozenMessages | None = None) -> None:
    """Make it a copy of `base` with the unsaved changes that make it `head` and `messages` (`None`: none)."""
    session._link.base = base
    session._head = base.head
    session._changes = {} if head is base.head else _differences(base.head, head)
    session._touched_at = session._changes.pop("updated_at", None)
    metadata = session._changes.pop("metadata", base.head.metadata)
    if session._metadata is not None and not json.same(session._metadata, metadata):
        session._metadata.clear()
        session._metadata.update(json.thawed(metadata))
    elif session._metadata is None and metadata is not base.head.metadata:
        session._metadata = json.thawed(metadata)
    session._messages._rebase(base.messages, messages)


def forget_base(session: Session) -> None:
    """Make it a copy that was never committed, with all that is in it."""
    draft = freeze(session)
    session._link.base = None
    session._head = draft.head
    session._changes = {}
    session._touched_at = None
    session._messages._rebase(NO_MESSAGES, draft.messages)


_COUNTED: Final = frozenset({"incarnation", "revision", "message_count"})
"""What storage counts: never a change of a working copy."""


def _differences(base: SessionHead, head: SessionHead) -> dict[str, Any]:
    return {
        name: value
        for name in SessionHead.__struct_fields__
        if name not in _COUNTED and not json.same(value := getattr(head, name), getattr(base, name))
    }
