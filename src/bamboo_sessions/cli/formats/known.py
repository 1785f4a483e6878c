"""The formats that `import` reads, and how a line's own is guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from bamboo_sessions.cli.formats import openai_chat, providers
from bamboo_sessions.domain.session import Session
from bamboo_sessions.formats.items import Json

_ANTHROPIC_BLOCKS: Final = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})


class Format(NamedTuple):
    """A format: what a line is, and what reads it."""

    shape: str
    to_session: Callable[..., Session]


FORMATS: Final = {
    "openai-chat": Format(
        '{"id", "model", "messages": [OpenAI chat messages], "metadata"}; what `export` writes', openai_chat.to_session
    ),
    "openai-responses": Format(
        '{"id", "model", "instructions", "items": [OpenAI Responses items]}', providers.responses_session
    ),
    "anthropic": Format('{"id", "model", "system", "messages": [Anthropic messages]}', providers.anthropic_session),
    "gemini": Format('{"id", "model", "system_instruction", "contents": [Gemini contents]}', providers.gemini_session),
}


def guessed(line: object) -> str:
    """The name of the format that `line` looks like; `openai-chat` if it could be anything."""
    match line:
        case {"contents": [*_]}:
            return "gemini"
        case {"items": [*_]} | {"input": [*_]}:
            return "openai-responses"
        case {"system": _, "messages": [*_]}:
            return "anthropic"
        case {"messages": [*messages]} if any(_is_anthropic(message) for message in messages):
            return "anthropic"
        case _:
            return "openai-chat"


def _is_anthropic(message: Json) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, dict) and block.get("type") in _ANTHROPIC_BLOCKS for block in blocks)
