"""Conversations in the formats of other providers: read into sessions, never written.

The messages are read by `bamboo_sessions.formats`; here they get ids that follow from their places, so that importing
again changes nothing (G4).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from bamboo_sessions.cli.formats.session_line import Line, message_id, read_line, session_of
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.formats import anthropic, gemini, openai_responses
from bamboo_sessions.formats.items import OF

ToMessages = Callable[[Iterable[object]], list[Message]]


def responses_session(line: object, *, namespace: str = "default") -> Session:
    """A session of OpenAI Responses: `{"id", "instructions", "items": […]}`; `input` in place of `items` is fine."""
    key = "input" if isinstance(line, dict) and "items" not in line and "input" in line else "items"
    read = read_line(line, openai_responses.FORMAT, key)
    return _session(read, _text(read.fields.get("instructions")), openai_responses.to_messages, namespace)


def anthropic_session(line: object, *, namespace: str = "default") -> Session:
    """A session of Anthropic Messages: `{"id", "system", "messages": […]}`."""
    read = read_line(line, anthropic.FORMAT, "messages")
    return _session(read, _text(read.fields.get("system")), anthropic.to_messages, namespace)


def gemini_session(line: object, *, namespace: str = "default") -> Session:
    """A session of Gemini: `{"id", "system_instruction", "contents": […]}`."""
    read = read_line(line, gemini.FORMAT, "contents")
    given = read.fields.get("system_instruction", read.fields.get("systemInstruction"))
    return _session(
        read, _text(given.get("parts") if isinstance(given, dict) else given), gemini.to_messages, namespace
    )


def _session(line: Line, instructions: str, to_messages: ToMessages, namespace: str) -> Session:
    messages = [Message.system(instructions)] if instructions else []
    messages += to_messages(line.items)
    return session_of(line, _named(line, messages), namespace=namespace)


def _text(given: Any) -> str:  # noqa: ANN401 - any JSON
    """Instructions as text; of a list of parts, those that are text."""
    if isinstance(given, str):
        return given
    parts = given if isinstance(given, list) else []
    return "\n\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _named(line: Line, messages: Sequence[Message]) -> list[Message]:
    """The messages with ids of their places, also where they name one another, and with the session's time.

    So with calls of providers that give them no ids: the ids that reading made are new each time.
    """
    ids = {message.id: message_id(line.format_name, line.id, index) for index, message in enumerate(messages)}
    given = json.dumps(line.items)
    calls = {
        call.id: f"{ids[message.id]}-call-{number}"
        for message in messages
        for number, call in enumerate(message.tool_calls)
        if json.dumps(call.id) not in given
    }
    return [
        msgspec.structs.replace(
            message,
            id=ids[message.id],
            created_at=line.since,
            metadata={key: ids.get(value, value) if key == OF else value for key, value in message.metadata.items()},
            tool_calls=tuple(
                msgspec.structs.replace(call, id=calls.get(call.id, call.id)) for call in message.tool_calls
            ),
            tool_call_id=calls.get(message.tool_call_id or "", message.tool_call_id),
        )
        for message in messages
    ]
