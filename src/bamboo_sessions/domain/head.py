"""The head of a session: everything of it but its messages. Frozen; what lists return and what commits store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.limits import HEAD_BYTES_MAX, METADATA_KEYS_MAX, check_limit
from bamboo_sessions.domain.question import PendingQuestion, Questions, oldest_open
from bamboo_sessions.domain.usage import TokenUsage
from bamboo_sessions.domain.values import Value


class Summary(Value, frozen=True, gc=False):
    """A text that stands for the messages up to and including `covers_through` (a message id)."""

    text: str
    covers_through: str

    def __post_init__(self) -> None:
        """Check types."""
        for name in ("text", "covers_through"):
            if not isinstance(getattr(self, name), str):
                message = f"Summary.{name} must be text, not {type(getattr(self, name)).__name__}."
                raise InputError(message, hint="Write Summary(text, covers_through=message.id).")


class ForkOrigin(Value, frozen=True, gc=False):
    """Where a fork came from: session, revision, and the last message taken (`None`: all)."""

    session_id: str
    revision: int
    message_id: str | None = None


class SessionHead(Value, frozen=True, omit_defaults=True, kw_only=True):
    """Everything of a session but its messages, at one revision."""

    # identity: fixed at creation
    id: str
    namespace: str = "default"
    owner: str | None = None
    kind: str = "root"
    parent_session_id: str | None = None
    root_session_id: str
    spawn_depth: int = 0
    forked_from: ForkOrigin | None = None
    created_at: datetime
    incarnation: int = 0
    # what people set
    title: str | None = None
    title_version: int = 0
    title_generated: bool = False
    pinned: bool = False
    archived: bool = False
    metadata_version: int = 0
    authoritative_keys: frozenset[str] = frozenset()
    # registers
    model: str | None = None
    provider: str | None = None
    reasoning_effort: str | None = None
    workspace: str | None = None
    token_usage: TokenUsage | None = None
    run_state: str | dict[str, Any] | None = None
    # the rest
    summary: Summary | None = None
    metadata: Mapping[str, Any] = json.EMPTY
    questions: Questions = ()
    revision: int = 0
    updated_at: datetime
    message_count: int = 0

    def __post_init__(self) -> None:
        """Freeze JSON values that come from outside."""
        if type(self.metadata) is not json.FrozenDict:
            metadata = json.frozen_object(self.metadata, what="Session.metadata")
            msgspec.structs.force_setattr(self, "metadata", metadata)
        if isinstance(self.run_state, dict) and type(self.run_state) is not json.FrozenDict:
            run_state = json.frozen(self.run_state, what="Session.run_state")
            msgspec.structs.force_setattr(self, "run_state", run_state)

    @property
    def pending_question(self) -> PendingQuestion | None:
        """The oldest open question."""
        return oldest_open(self.questions)

    @property
    def has_question(self) -> bool:
        """Whether a question is open."""
        return any(question.is_open for question in self.questions)

    @property
    def run_status(self) -> str | None:
        """The run state as one word: itself if it is text, its `"status"` if it is an object."""
        return run_status_of(self.run_state)


def run_status_of(run_state: str | Mapping[str, Any] | None) -> str | None:
    """The one word in a run state: itself if it is text, its `"status"` if it is an object."""
    if isinstance(run_state, Mapping):
        status = run_state.get("status")
        return status if isinstance(status, str) else None
    return run_state


_HEAD: Final = msgspec.json.Decoder(SessionHead)


def head_document(head: SessionHead) -> bytes:
    """The stored form of a head, less what storage keeps in places of its own (counters, times, questions).

    Raises `InputError` if a field can't be stored, before anything is written.
    """
    check_limit(f"Session {head.id!r}: metadata", len(head.metadata), METADATA_KEYS_MAX, "keys")
    kept = msgspec.structs.replace(
        head, revision=0, incarnation=0, message_count=0, questions=(), created_at=EPOCH, updated_at=EPOCH
    )
    plain = msgspec.structs.replace(kept, metadata=json.EMPTY)  # what is frozen is sure to be read back
    document = json.encode_readable(plain, _HEAD, what=f"Session {head.id!r}")
    if head.metadata:
        document = json.encode(kept)
    check_limit(f"Session {head.id!r} without its messages", len(document), HEAD_BYTES_MAX, "bytes")
    return document


def head_from_document(document: bytes, session_id: str) -> SessionHead:
    """The head in `document`; the caller fills in what storage keeps elsewhere. Raises `StorageCorruptError`."""
    return json.decode(document, _HEAD, what=f"The head of session {session_id!r}")
