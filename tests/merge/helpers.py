"""What the tests of merging share: small histories, loaded copies, and a reference for applying a delta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import Merged, merge
from bamboo_sessions.domain.merge_history import HistoryDelta
from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.question import PendingQuestion, QuestionState
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT
from bamboo_sessions.domain.working_copy import copy_of, freeze, link_of

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(hours=1)


class FixedClock:
    """It is always the same time."""

    def __init__(self, time: datetime = NOW) -> None:
        self.time = time

    def now(self) -> datetime:
        """That time."""
        return self.time


def message(id: str, text: str = "") -> Message:
    """A user's message whose text is its id, if nothing else is given."""
    return Message.user(text or id, id=id, created_at=START)


def call(id: str, *call_ids: str) -> Message:
    """An assistant's message that makes tool calls; one call with the message's id if none is given."""
    return Message.assistant("", [ToolCall(call_id, "f") for call_id in call_ids or (id,)], id=id, created_at=START)


def result(id: str, call_id: str) -> Message:
    """A tool's result."""
    return Message.tool("r", tool_call_id=call_id, id=id, created_at=START)


def a_question(id: str = "q", state: QuestionState = "open") -> PendingQuestion:
    """A question in that state."""
    return PendingQuestion("call", "ask", "Go?", id=id, state=state, asked_at=START)


def history(ids: Iterable[str]) -> list[Message]:
    """One user's message for each id."""
    return [message(id) for id in ids]


def snapshot(messages: Iterable[Message | str] = (), *, revision: int = 1, **fields: Any) -> Snapshot:  # noqa: ANN401
    """A committed session; texts stand for users' messages of that id."""
    items = FrozenMessages(message(one) if isinstance(one, str) else one for one in messages)
    values = {"created_at": START, "updated_at": START, "incarnation": 1, "message_count": len(items), **fields}
    return Snapshot(SessionHead(id="s", root_session_id="s", revision=revision, **values), items)


def load(base: Snapshot) -> Session:
    """A working copy of `base`."""
    return copy_of(base, FixedClock())


def commit(durable: Snapshot, copy: Session) -> Snapshot:
    """What is committed after `copy` was saved on top of `durable`."""
    return after(save(copy, durable))


def save(copy: Session, durable: Snapshot | None, *, additions_only: bool = False) -> Merged:
    """The merge that saving `copy` makes on top of `durable`."""
    return merge(link_of(copy).base, freeze(copy), durable, now=NOW, additions_only=additions_only)


def after(merged: Merged) -> Snapshot:
    """The snapshot that a merge leads to."""
    return Snapshot(merged.head, merged.messages)


def changed(base: Snapshot, fields: Mapping[str, Any] | None = None, *, append: Iterable[str] = ()) -> Snapshot:
    """The next revision of `base`: other fields, and messages at the end."""
    head = msgspec.structs.replace(base.head, revision=base.revision + 1, **(fields or {}))
    return Snapshot(head, base.messages.extended(history(append)))


def ids(messages: Iterable[Message]) -> str:
    """The ids in a row, as short histories are written here."""
    return " ".join(message.id for message in messages)


def apply(durable: Iterable[Message], delta: HistoryDelta) -> list[Message]:
    """What storage makes of a delta: edits in place, insertions behind their message, removals last."""
    edits = {edit.id: edit for edit in delta.edits}
    rows = [edits.get(message.id, message) for message in durable]
    for insertion in delta.insertions:
        place = len(rows)
        if insertion.after is not None:
            place = 0 if insertion.after == FRONT else [row.id for row in rows].index(insertion.after) + 1
        rows[place:place] = insertion.messages
    return [row for row in rows if row.id not in delta.removals]
