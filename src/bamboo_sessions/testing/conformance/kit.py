"""Small makers of keys, heads, messages and commits for the tests of the suite. Random ones come from seeds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any, Final

import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import Message, ToolCall, to_stored
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, RecordCommit, RecordScope, RecordWrite, SessionKey, StoredInsertion
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import START

SECOND: Final = timedelta(seconds=1)
KEY: Final = SessionKey("default", "s")


def key_of(session_id: str, namespace: str = "default") -> SessionKey:
    """A key."""
    return SessionKey(namespace, session_id)


def scope_of(session_id: str) -> RecordScope:
    """The scope of a session's records."""
    return RecordScope("session", session_id)


def head_of(session_id: str = "s", **fields: Any) -> SessionHead:  # noqa: ANN401 - fields of SessionHead
    """A head; its own root, made and changed at `START`, unless fields say something else."""
    given = {"root_session_id": session_id, "created_at": START, "updated_at": START, **fields}
    return SessionHead(id=session_id, **given)


def user(text: str = "hello", id: str | None = None) -> Message:
    """What a person says, made at `START`; the id is the text, unless given."""
    return Message.user(text, id=id or text, created_at=START)


def users(*ids: str) -> tuple[Message, ...]:
    """One message of a person for each id."""
    return tuple(user(id) for id in ids)


def call(id: str, *call_ids: str) -> Message:
    """An assistant's message with tool calls."""
    calls = tuple(ToolCall(call_id, "tool") for call_id in call_ids)
    return Message.assistant("", calls, id=id, created_at=START)


def result(id: str, call_id: str) -> Message:
    """The result of a tool call."""
    return Message.tool("done", tool_call_id=call_id, id=id, created_at=START)


def edited(message: Message, text: str) -> Message:
    """The message with another text."""
    return msgspec.structs.replace(message, content=text)


def insertion(messages: Sequence[Message], after: str | None = None) -> StoredInsertion:
    """Messages, encoded, and the place that they go to."""
    return StoredInsertion(tuple(to_stored(message) for message in messages), after)


def creation(
    session_id: str = "s",
    *messages: Message,
    head: SessionHead | None = None,
    **fields: Any,  # noqa: ANN401 - fields of Commit
) -> Commit:
    """The commit that makes a session."""
    commit = Commit(
        key=key_of(session_id),
        commit_id=new_id(),
        at=START,
        expected=0,
        head=head or head_of(session_id),
        insertions=(insertion(messages),) if messages else (),
    )
    return msgspec.structs.replace(commit, **fields)


def appending(
    session_id: str = "s",
    *messages: Message,
    **fields: Any,  # noqa: ANN401 - fields of Commit
) -> Commit:
    """A blind commit that adds messages at the end."""
    commit = Commit(
        key=key_of(session_id),
        commit_id=new_id(),
        at=START,
        insertions=(insertion(messages),) if messages else (),
    )
    return msgspec.structs.replace(commit, **fields)


def recording(
    *writes: RecordWrite,
    scope: RecordScope,
    namespace: str = "default",
    **fields: Any,  # noqa: ANN401 - fields of RecordCommit
) -> RecordCommit:
    """A commit of records by themselves."""
    given = {"commit_id": new_id(), "at": START, **fields}
    return RecordCommit(namespace=namespace, writes=writes, scope=scope, **given)


def change(state: Snapshot, **fields: Any) -> Commit:  # noqa: ANN401 - fields of Commit
    """A commit that was computed from `state`."""
    key = SessionKey(state.head.namespace, state.head.id)
    return msgspec.structs.replace(Commit(key=key, commit_id=new_id(), at=START, expected=state.revision), **fields)


async def snapshot_of(storage: SessionStorage, session_id: str = "s", namespace: str = "default") -> Snapshot:
    """The living session in storage."""
    state = await storage.read(key_of(session_id, namespace))
    assert isinstance(state, Snapshot)
    return state


async def ids_in(storage: SessionStorage, session_id: str = "s", namespace: str = "default") -> list[str]:
    """The ids of the messages of a session, in order."""
    return [message.id for message in (await snapshot_of(storage, session_id, namespace)).messages]


def content(state: Snapshot) -> tuple[SessionHead, list[Message]]:
    """What two equal snapshots have in common."""
    return state.head, list(state.messages)


_numbers = count()


def fresh_messages(how_many: int, prefix: str = "m") -> tuple[Message, ...]:
    """Messages with ids that never were before."""
    return tuple(user(f"{prefix}{next(_numbers)}") for _ in range(how_many))
