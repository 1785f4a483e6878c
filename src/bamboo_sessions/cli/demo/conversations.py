"""The input of the demo: conversations in the OpenAI chat format, cut into turns.

JSON lines, gzip is fine: `{"id", "model", "messages": […], "metadata"}`. Without a file the small set that ships with
the package is taken: invented conversations of a shop's customer support, written for it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

from bamboo_sessions.cli.formats.json_text import parsed
from bamboo_sessions.cli.formats.openai_chat import to_session
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.errors import BambooSessionsError, InputError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session

BUILT_IN: Final = "conversations.jsonl"
BUILT_IN_SESSIONS: Final = 24
"""Sessions of a run on the built-in conversations, each replayed into several: enough to see a throughput."""

_GZIP: Final = b"\x1f\x8b"
_HINT: Final = 'Each line is a conversation in the OpenAI chat format: {"id": …, "messages": […]}.'


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation: what stands before the first turn, and the turns; each begins with what a user says."""

    id: str
    model: str | None
    opening: tuple[Message, ...]
    turns: tuple[tuple[Message, ...], ...]
    metadata: Mapping[str, Any]

    def turn(self, number: int, *, writer: str) -> list[Message]:
        """The messages of a turn as `writer` adds them: under ids of its own."""
        now = SYSTEM_CLOCK.now()
        return [
            msgspec.structs.replace(message, id=f"{writer}-turn{number + 1:03}-{place + 1:02}", created_at=now)
            for place, message in enumerate(self.turns[number])
        ]


def read_conversations(path: Path | None, *, sessions: int | None = None) -> tuple[Conversation, ...]:
    """The conversations to replay, one for each session.

    Args:
        path: The input; `None`: the built-in set.
        sessions: How many; more than there are means that some are replayed into several sessions. `None`: as many as
            the file has, or `BUILT_IN_SESSIONS`.

    Raises:
        InputError: The file can't be read, or a line is no conversation.
    """
    data = (files(__package__) / BUILT_IN).read_bytes() if path is None else _bytes_of(path)
    name = "the built-in set" if path is None else str(path)
    conversations = list(_parsed(data, name))
    if not conversations:
        message = f"{name} has no conversations."
        raise InputError(message, hint=_HINT)
    if sessions is None:
        sessions = BUILT_IN_SESSIONS if path is None else len(conversations)
    return tuple(_repeated(conversations, sessions))


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except (OSError, EOFError, zlib.error) as exc:
        raise InputError(f"{path} can't be read: {exc}", hint="Give JSON lines, plain or packed by gzip.") from exc


def _repeated(conversations: Sequence[Conversation], sessions: int) -> Iterator[Conversation]:
    for number in range(sessions):
        again, place = divmod(number, len(conversations))
        conversation = conversations[place]
        yield replace(conversation, id=f"{conversation.id}~{again + 1}") if again else conversation


def _parsed(data: bytes, name: str) -> Iterator[Conversation]:
    seen: set[str] = set()
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            conversation = _conversation(to_session(parsed(line)))
        except BambooSessionsError as exc:
            raise InputError(f"{name}, line {number}: {exc}", hint=_HINT) from exc
        if conversation.id in seen:
            message = f"{name}, line {number}: the id {conversation.id!r} was there before."
            raise InputError(message, hint="Give every conversation an id of its own.")
        seen.add(conversation.id)
        yield conversation


def _conversation(session: Session) -> Conversation:
    messages = list(session.messages)
    if not messages:
        message = f"Conversation {session.id!r} has no messages."
        raise InputError(message)
    starts = [place for place, message in enumerate(messages) if message.role == "user"] or [0]
    ends = [*starts[1:], len(messages)]
    return Conversation(
        id=session.id,
        model=session.model,
        opening=tuple(messages[: starts[0]]),
        turns=tuple(tuple(messages[start:end]) for start, end in zip(starts, ends, strict=True)),
        metadata=session.metadata,
    )
