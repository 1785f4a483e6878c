"""`anthropic`: the messages of Anthropic's Messages API.

A turn of the assistant is one message: its text, its thinking and its `tool_use` blocks. A turn of the user becomes
one message for each `tool_result` and one for the rest, which is how other providers have it. System texts have no
place among the messages; see `bamboo_sessions.formats.instructions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.message import FilePart, ImagePart, Message, Part, TextPart, ToolCall
from bamboo_sessions.domain.window import model_view
from bamboo_sessions.formats.items import (
    Json,
    arguments_object,
    as_unit,
    content_of,
    inline_data,
    items_of,
    not_understood,
    plain,
    reasoning_metadata,
    reasoning_of,
    text_or_none,
    units,
)

FORMAT: Final = "anthropic"


def to_messages(items: Iterable[object]) -> list[Message]:
    """The messages that `items` hold: `{"role", "content"}`, as dicts or as objects of Anthropic's SDK.

    Raises:
        InputError: An item is no object, or its role is neither `user` nor `assistant`.
    """
    messages: list[Message] = []
    for item in map(plain, items):
        messages += as_unit(_read([item]), [item], FORMAT, _write)
    return messages


def from_messages(messages: Iterable[Message]) -> list[Json]:
    """The items for `messages`; events and instructions have none."""
    spoken = (message for message in messages if message.role in {"user", "assistant", "tool"})
    return [item for unit in units(spoken) for item in items_of(unit, FORMAT, _read, _write)]


def for_model(messages: Sequence[Message]) -> list[Json]:
    """What can be sent as `messages`: turns of user and assistant alternate, all results stand in the turn behind."""
    turns: list[Json] = []
    for item in from_messages(model_view(messages)):
        if turns and turns[-1]["role"] == item["role"]:
            turns[-1] = {**turns[-1], "content": _blocks(turns[-1]) + _blocks(item)}
        else:
            turns.append(item)
    return turns


def _blocks(item: Json) -> list[Json]:
    content = item["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


# --- reading


def _read(items: Sequence[Json]) -> list[Message]:
    (item,) = items
    match item.get("role"):
        case "assistant":
            return [_assistant(item)]
        case "user":
            return _user(item)
        case role:
            message = f"A message of Anthropic's API has the role 'user' or 'assistant', not {role!r}."
            raise InvalidMessageError(message, hint="System texts go beside the messages, as `system`.")


def _assistant(item: Json) -> Message:
    parts: list[Part] = []
    calls: list[ToolCall] = []
    thoughts: list[str] = []
    signature: str | None = None
    unknown: list[str] = []
    for block in _plain_blocks(item):
        match block:
            case {"type": "text", "text": str(text)}:
                parts.append(TextPart(text))
            case {"type": "tool_use", "id": str(id_), "name": str(name), "input": dict(arguments)}:
                calls.append(ToolCall(id_, name, arguments))
            case {"type": "thinking", "thinking": str(text)}:
                thoughts.append(text)
                signature = text_or_none(block.get("signature")) or signature
            case _:
                unknown.append(str(block.get("type")))
    return Message.assistant(
        content_of(parts),
        calls,
        reasoning="\n\n".join(thoughts) or None,
        metadata=reasoning_metadata(FORMAT, signature=signature) | not_understood(unknown),
    )


def _user(item: Json) -> list[Message]:
    """One message for each tool's result, in front of one for what the person says."""
    results: list[Message] = []
    parts: list[Part] = []
    unknown: list[str] = []
    for block in _plain_blocks(item):
        match block:
            case {"type": "tool_result", "tool_use_id": str(call_id)}:
                results.append(_result(block, call_id))
            case _ if (part := _part(block)) is not None:
                parts.append(part)
            case _:
                unknown.append(str(block.get("type")))
    if results and not (parts or unknown):
        return results
    return [*results, Message.user(content_of(parts), metadata=not_understood(unknown))]


def _result(block: Json, call_id: str) -> Message:
    content = block.get("content")
    inner = [_part(plain(each)) for each in content] if isinstance(content, list) else []
    text = content if isinstance(content, str) else content_of([part for part in inner if part is not None])
    failed = block.get("is_error")
    return Message.tool(text, tool_call_id=call_id, tool_success=None if failed is None else not failed)


def _plain_blocks(item: Json) -> list[Json]:
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [plain(block) for block in content] if isinstance(content, list) else []


def _part(block: Json) -> Part | None:
    match block:
        case {"type": "text", "text": str(text)}:
            return TextPart(text)
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return ImagePart(f"data:{kind};base64,{data}", media_type=kind)
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return ImagePart(url)
        case {"type": "document", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return FilePart(f"data:{kind};base64,{data}", name=text_or_none(block.get("title")), media_type=kind)
        case {"type": "document", "source": {"type": "url", "url": str(url)}}:
            return FilePart(url, name=text_or_none(block.get("title")))
        case _:
            return None


# --- writing


def _write(unit: Sequence[Message]) -> list[Json]:
    if unit[0].role == "assistant":
        return [{"role": "assistant", "content": _assistant_content(unit[0])}]
    blocks = [block for message in unit for block in _user_blocks(message)]
    if len(unit) == 1 and isinstance(unit[0].content, str) and unit[0].role == "user":
        return [{"role": "user", "content": unit[0].content}]
    return [{"role": "user", "content": blocks}]


def _assistant_content(message: Message) -> str | list[Json]:
    blocks: list[Json] = []
    signature = reasoning_of(message, FORMAT).get("signature")
    if message.reasoning and signature:  # thinking without its signature is refused
        blocks.append({"type": "thinking", "thinking": message.reasoning, "signature": signature})
    if isinstance(message.content, str) and not blocks and not message.tool_calls:
        return message.content
    blocks += _text_blocks(message)
    for call in message.tool_calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_object(call)})
    return blocks


def _text_blocks(message: Message) -> list[Json]:
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}] if message.content else []
    return [_block(part) for part in message.content]


def _user_blocks(message: Message) -> list[Json]:
    if message.role != "tool":
        return _text_blocks(message)
    content = message.content if isinstance(message.content, str) else _text_blocks(message)
    block: Json = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}
    if message.tool_success is not None:
        block["is_error"] = not message.tool_success
    return [block]


def _block(part: Part) -> Json:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=url):
            return {"type": "image", "source": _source(url)}
        case FilePart(url=url, name=name):
            block: Json = {"type": "document", "source": _source(url)}
            return block if name is None else {**block, "title": name}
        case _:  # sound has no place here: what was said, or where it is
            return {"type": "text", "text": part.transcript or part.url}


def _source(url: str) -> Json:
    inline = inline_data(url)
    if inline is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inline[0], "data": inline[1]}
