"""`openai-responses`: the items of OpenAI's Responses API.

What the model gives in one go (reasoning, text, calls, calls of hosted tools) is one message of the assistant; every
other item is a message of its own. A hosted tool's call has its result in itself and stays in the native form; items
of unknown types are events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bamboo_sessions.domain.message import AudioPart, FilePart, ImagePart, Message, Part, Role, TextPart, ToolCall
from bamboo_sessions.domain.window import model_view
from bamboo_sessions.formats.items import (
    Json,
    as_unit,
    content_of,
    items_of,
    not_understood,
    plain,
    reasoning_metadata,
    reasoning_of,
    text_or_none,
    units,
)

FORMAT: Final = "openai-responses"

_PROVIDER: Final = "openai"

_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
"""Types of calls that the caller's own code answers, and where they have their arguments."""

_RESULTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
_HOSTED: Final = frozenset(
    {
        "code_interpreter_call",
        "file_search_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "web_search_call",
    }
)
_ROLES: Final[dict[str, Role]] = {"user": "user", "system": "system", "developer": "developer"}


def to_messages(items: Iterable[object]) -> list[Message]:
    """The messages that `items` hold, as dicts or as objects of OpenAI's SDK.

    Raises:
        InputError: An item is no object.
    """
    messages: list[Message] = []
    for group in _groups(map(plain, items)):
        messages += as_unit(_read(group), group, FORMAT, _write)
    return messages


def from_messages(messages: Iterable[Message]) -> list[Json]:
    """The items for `messages`. Events have some only if they were read from this format."""
    return [item for unit in units(messages) for item in items_of(unit, FORMAT, _read, _write)]


def for_model(messages: Sequence[Message]) -> list[Json]:
    """What can be sent as `input`: calls and their results whole, in the order of the conversation."""
    return from_messages(model_view(messages))


# --- reading


def _groups(items: Iterable[Json]) -> Iterable[list[Json]]:
    """The items by message: neighbours that the model gave go together."""
    group: list[Json] = []
    for item in items:
        if not _is_output(item):
            if group:
                yield group
            group = []
            yield [item]
        else:
            group.append(item)
    if group:
        yield group


def _is_output(item: Json) -> bool:
    kind = item.get("type", "message")
    if kind == "message":
        return item.get("role") == "assistant"
    return kind == "reasoning" or kind in _CALLS or kind in _HOSTED


def _read(items: Sequence[Json]) -> list[Message]:
    if _is_output(items[0]):
        return [_response(items)]
    (item,) = items
    kind = item.get("type", "message")
    if kind == "message" and item.get("role") in _ROLES:
        content, unknown = _content(item.get("content"))
        return [Message(role=_ROLES[item["role"]], content=content, metadata=not_understood(unknown))]
    if kind in _RESULTS and isinstance(item.get("call_id"), str):
        content, unknown = _content(item.get("output"))
        return [Message.tool(content, tool_call_id=item["call_id"], metadata=not_understood(unknown))]
    return [Message(role="event", metadata=not_understood([str(kind)]))]


def _response(items: Sequence[Json]) -> Message:
    parts: list[Part] = []
    calls: list[ToolCall] = []
    thoughts: list[str] = []
    metadata: Json = {}
    unknown: list[str] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            content, others = _content(item.get("content"))
            parts += [TextPart(content)] if isinstance(content, str) else content
            unknown += others
        elif kind == "reasoning":
            thoughts += _thoughts(item)
            signature = text_or_none(item.get("encrypted_content"))
            metadata |= reasoning_metadata(_PROVIDER, id=text_or_none(item.get("id")), signature=signature)
        elif (call := _call(item)) is not None:
            calls.append(call)
        else:
            unknown.append(str(kind))
    return Message.assistant(
        content_of([part for part in parts if part != TextPart("")]),
        calls,
        reasoning="\n\n".join(thoughts) or None,
        metadata=metadata | not_understood(unknown),
    )


def _call(item: Json) -> ToolCall | None:
    arguments = item.get(_CALLS.get(str(item.get("type")), ""))
    match item:
        case {"call_id": str(id_), "name": str(name)} if isinstance(arguments, str):
            return ToolCall(id_, name, arguments)
        case _:
            return None


def _thoughts(item: Json) -> list[str]:
    texts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return [each["text"] for each in texts if isinstance(each, dict) and isinstance(each.get("text"), str)]


def _content(content: object) -> tuple[str | tuple[Part, ...], list[str]]:
    """The content of a message or a result, and the types of parts that weren't understood."""
    if isinstance(content, str):
        return content, []
    items = [plain(part) for part in content] if isinstance(content, list) else []
    read = [(_part(item), str(item.get("type"))) for item in items]
    parts = [part for part, _ in read if part is not None]
    unknown = [kind for part, kind in read if part is None]
    return content_of(parts), unknown


def _part(item: Json) -> Part | None:
    match item:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)} | {
            "type": "refusal",
            "refusal": str(text),
        }:
            return TextPart(text)
        case {"type": "input_image", "image_url": str(url)}:
            return ImagePart(url, detail=text_or_none(item.get("detail")))
        case {"type": "input_file", "file_data": str(url)} | {"type": "input_file", "file_url": str(url)}:
            return FilePart(url, name=text_or_none(item.get("filename")))
        case {"type": "input_file", "file_id": str(id_)}:
            return FilePart(id_, name=text_or_none(item.get("filename")))
        case _:
            return None


# --- writing


def _write(unit: Sequence[Message]) -> list[Json]:
    return [item for message in unit for item in _items(message)]


def _items(message: Message) -> list[Json]:
    match message.role:
        case "assistant":
            return _response_items(message)
        case "tool":
            output = message.content if isinstance(message.content, str) else _parts(message.content, "input_text")
            return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": output}]
        case "event":
            return []
        case role:
            content = message.content if isinstance(message.content, str) else _parts(message.content, "input_text")
            return [{"role": role, "content": content}]


def _response_items(message: Message) -> list[Json]:
    items: list[Json] = []
    kept = reasoning_of(message, _PROVIDER)
    if "id" in kept:  # the API takes back only what it gave
        summary = [{"type": "summary_text", "text": message.reasoning}] if message.reasoning else []
        item: Json = {"type": "reasoning", "id": kept["id"], "summary": summary}
        items.append({**item, "encrypted_content": kept["signature"]} if "signature" in kept else item)
    if message.content:
        content = message.content if isinstance(message.content, str) else _parts(message.content, "output_text")
        items.append({"role": "assistant", "content": content})
    return items + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments_text}
        for call in message.tool_calls
    ]


def _parts(parts: Iterable[Part], text_type: str) -> list[Json]:
    return [_item(part, text_type) for part in parts]


def _item(part: Part, text_type: str) -> Json:
    match part:
        case TextPart(text=text):
            return {"type": text_type, "text": text}
        case ImagePart(url=url, detail=detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case FilePart(url=url, name=name):
            named = {} if name is None else {"filename": name}
            return {"type": "input_file", _file_key(url): url, **named}
        case AudioPart(url=url, transcript=transcript):
            return {"type": text_type, "text": transcript or url}


def _file_key(url: str) -> str:
    if url.startswith("data:"):
        return "file_data"
    return "file_url" if "://" in url else "file_id"
