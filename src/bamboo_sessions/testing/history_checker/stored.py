"""What is stored, as far as the checker looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bamboo_sessions.domain.session import Session


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What the checker looks at in a message.

    Args:
        id: Its identity.
        role: Who speaks.
        calls: Ids of the tool calls that it makes.
        result_of: In a tool's result: the id of its call.
    """

    id: str
    role: str
    calls: tuple[str, ...] = ()
    result_of: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What the checker looks at in a session that was read back.

    Args:
        id: Its identity.
        messages: The live ones, in order.
        metadata_version: As stored.
        changeable: What people can set, by the names that `ChangeAcknowledged.what` uses. A missing name is unset.
        answers: By question id: the answer, or `None` while the question is open or was withdrawn.
    """

    id: str
    messages: tuple[StoredMessage, ...] = ()
    metadata_version: int = 0
    changeable: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> StoredSession:
        """What is looked at in a `Session`. Load it from a repository that wrote nothing itself."""
        return cls(
            id=session.id,
            messages=tuple(
                StoredMessage(
                    message.id, message.role, tuple(call.id for call in message.tool_calls), message.tool_call_id
                )
                for message in session.messages
            ),
            metadata_version=session.metadata_version,
            changeable={
                "title": session.title,
                "pinned": session.pinned,
                "archived": session.archived,
                **{f"value:{key}": value for key, value in session.metadata.items()},
            },
            answers={question.id: question.answer for question in session.questions},
        )
