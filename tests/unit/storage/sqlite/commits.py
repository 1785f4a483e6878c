"""Commits for the tests of this folder, and a random source of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import Message, ToolCall, to_stored
from bamboo_sessions.domain.question import PendingQuestion, advanced
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import (
    Commit,
    HistorySource,
    RecordWrite,
    SessionKey,
    State,
    StoredInsertion,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def key_of(session_id: str) -> SessionKey:
    """A key in the usual namespace."""
    return SessionKey("default", session_id)


def head_of(session_id: str, **fields: object) -> SessionHead:
    """A new head."""
    head = SessionHead(id=session_id, root_session_id=session_id, created_at=START, updated_at=START)
    return msgspec.structs.replace(head, **fields)


def insertion(messages: Sequence[Message], after: str | None = None, *, in_order: bool = False) -> StoredInsertion:
    """Messages, encoded."""
    return StoredInsertion(tuple(to_stored(message) for message in messages), after, in_order)


def appending(session_id: str, *messages: Message, at: datetime = START, **fields: object) -> Commit:
    """A blind append that makes the session if there is none."""
    commit = Commit(
        key=key_of(session_id),
        commit_id=new_id(),
        at=at,
        initial_head=head_of(session_id),
        insertions=(insertion(messages),) if messages else (),
    )
    return _replace(commit, **fields)


def _replace(commit: Commit, **fields: object) -> Commit:
    names = Commit.__struct_fields__
    return Commit(**{**{name: getattr(commit, name) for name in names}, **fields})


class CommitSource:
    """Random commits on a few sessions, sensible and not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.known_messages: list[Message] = []
        self.commits: list[Commit] = []
        self.ids = ["a", "b", "c"]
        self.number = 0

    def _new_id(self) -> str:
        self.number += 1
        return f"m{self.number}"

    def message(self) -> Message:
        """A message of any role; call ids are reused."""
        call = f"call{self.random.randrange(4)}"
        kind = self.random.randrange(9)
        id_ = self._new_id()
        text = self.random.choice(["x", "nul\0", "\ud800", "é" * 50])
        match kind:
            case 0 | 1:
                message = Message.user(text, id=id_, created_at=START)
            case 2:
                message = Message.assistant(
                    text,
                    [ToolCall(call, "f"), ToolCall(f"call{self.random.randrange(4)}", "g")],
                    id=id_,
                    created_at=START,
                )
            case 3 | 4:
                message = Message.tool(text, tool_call_id=call, id=id_, created_at=START)
            case 5:
                message = Message(role="tool", content=text, id=id_, created_at=START)
            case 6:
                message = Message.assistant(text, [ToolCall(call, "f")], id=id_, created_at=START)
            case 7:
                message = Message.assistant(text, id=id_, created_at=START)
            case _:
                message = Message(role="event", content=text, id=id_, created_at=START)
        self.known_messages.append(message)
        return message

    def messages(self) -> list[Message]:
        """Some messages, now and then a known one."""
        result = [self.message() for _ in range(self.random.randrange(1, 5))]
        if self.known_messages and self.random.random() < 0.2:
            again = self.random.choice(self.known_messages)
            if self.random.random() < 0.3:
                again = msgspec.structs.replace(again, content="other content")
            result.insert(self.random.randrange(len(result) + 1), again)
        return result

    def commit(self, session_id: str, state: State) -> Commit:
        """A commit for a session that is in `state`."""
        self.now += timedelta(microseconds=self.random.choice([0, 1, 1000]))
        chance = self.random.random()
        if self.commits and chance < 0.05:
            return self.random.choice(self.commits)
        commit = (
            self._blind(session_id)
            if chance < 0.5 or not isinstance(state, Snapshot)
            else self._informed(session_id, state)
        )
        if not isinstance(state, Snapshot) and self.random.random() < 0.7:
            commit = self._creating(session_id, commit)
        self.commits.append(commit)
        return commit

    def _blind(self, session_id: str) -> Commit:
        return appending(
            session_id,
            *self.messages(),
            at=self.now,
            usage=tuple(
                TokenUsageRecord(id=f"u{self.random.randrange(9)}", at=START, input_tokens=2)
                for _ in range(self.random.randrange(2))
            ),
            records=tuple(
                RecordWrite("k", f"r{self.random.randrange(3)}", self.random.choice([None, b"v", b"w"]))
                for _ in range(self.random.randrange(2))
            ),
        )

    def _creating(self, session_id: str, commit: Commit) -> Commit:
        parent = self.random.choice([None, *self.ids])
        head = head_of(session_id, owner=self.random.choice([None, "o1", "o2"]))
        if parent not in {None, session_id}:
            head = msgspec.structs.replace(head, parent_session_id=parent, root_session_id=parent)
        source = (
            HistorySource(self.random.choice(self.ids), self.random.randrange(9), None)
            if self.random.random() < 0.3
            else None
        )
        return _replace(commit, expected=0, head=head, initial_head=None, reuse_deleted=True, history_from=source)

    def _informed(self, session_id: str, state: Snapshot) -> Commit:
        messages = list(state.messages)
        self.random.shuffle(messages)
        removed, edited, anchors = messages[:1], messages[1:2], [m.id for m in messages[2:4]]
        kinds = self.random.choices([0, 1], k=5)
        insertions = [
            insertion([self.message() for _ in range(self.random.randrange(1, 4))], after)
            for after in [FRONT, *anchors][: self.random.randrange(4)]
        ]
        if kinds[0]:
            insertions.append(insertion(self.messages(), in_order=self.random.random() < 0.3))
        return Commit(
            key=key_of(session_id),
            commit_id=new_id(),
            at=self.now,
            expected=state.revision if self.random.random() < 0.9 else state.revision - 1,
            head=self._changed(state.head) if kinds[1] else None,
            insertions=tuple(insertions) if kinds[2] else tuple(insertions[-1:]),
            removals=tuple(m.id for m in removed) if kinds[3] else (),
            edits=tuple(to_stored(msgspec.structs.replace(m, content=f"edit {self.random.random()}")) for m in edited)
            if kinds[4]
            else (),
        )

    def _changed(self, head: SessionHead) -> SessionHead:
        questions = head.questions
        if questions and self.random.random() < 0.5:
            questions = advanced(questions, self.random.choice(questions).id, "withdrawn")
        else:
            questions = (*questions, PendingQuestion("call1", "ask", "?", asked_at=START))
        return msgspec.structs.replace(
            head,
            title=self.random.choice([None, "t", "\ud800"]),
            pinned=self.random.random() < 0.3,
            archived=self.random.random() < 0.3,
            metadata_version=head.metadata_version + self.random.randrange(2),
            run_state=self.random.choice([None, "idle", {"status": "run\ud800"}]),
            metadata={"n": self.random.random()},
            questions=questions,
        )
