"""`gemini`: the contents of Google's Gemini API, in the spelling of its REST interface; the SDK's is read, too.

A `model` content is one message. A `user` content becomes one message for each `functionResponse` and one for the
rest. Gemini's calls often have no ids: then they get the id of their message and their place, and a result belongs to
the oldest call of its name that has none yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.message import AudioPart, FilePart, ImagePart, Message, Part, TextPart, ToolCall
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

FORMAT: Final = "gemini"

_GIVEN: Final = re.compile(r"gemini:.+:[0-9]+")
"""Ids of calls that Gemini didn't give."""


def to_messages(items: Iterable[object]) -> list[Message]:
    """The messages that `items` hold: `{"role", "parts"}`, as dicts or as objects of Google's SDK.

    Raises:
        InputError: An item is no object, or its role is unknown.
    """
    messages: list[Message] = []
    waiting: list[ToolCall] = []
    for item in map(plain, items):
        read = [_answering(message, waiting) for message in _read([item])]
        waiting += [call for message in read for call in message.tool_calls]
        messages += as_unit(read, [item], FORMAT, _write)
    return messages


def _answering(message: Message, waiting: list[ToolCall]) -> Message:
    """A result with the id of its call; that call waits no longer."""
    if message.role != "tool":
        return message
    call = next((c for c in waiting if message.tool_call_id in {c.id, ""} and c.name == message.name), None)
    if call is None:
        return message
    waiting.remove(call)
    return msgspec.structs.replace(message, tool_call_id=call.id)


def from_messages(messages: Iterable[Message]) -> list[Json]:
    """The contents for `messages`; events and instructions have none."""
    spoken = (message for message in messages if message.role in {"user", "assistant", "tool"})
    return [item for unit in units(spoken) for item in items_of(unit, FORMAT, _read, _write)]


def for_model(messages: Sequence[Message]) -> list[Json]:
    """What can be sent as `contents`: turns of user and model alternate, all results stand in the turn behind."""
    turns: list[Json] = []
    for item in from_messages(model_view(messages)):
        if turns and turns[-1]["role"] == item["role"]:
            turns[-1] = {**turns[-1], "parts": [*turns[-1]["parts"], *item["parts"]]}
        else:
            turns.append(item)
    return turns


# --- reading


def _field(part: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON
    """A field by its name in the REST interface, or the SDK's."""
    return part.get(name, part.get(re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)))


def _read(items: Sequence[Json]) -> list[Message]:
    (item,) = items
    parts = [plain(part) for part in item.get("parts") or ()]
    match item.get("role"):
        case "model":
            return [_model(parts)]
        case "user" | "function" | None:
            return _user(parts)
        case role:
            message = f"A content of Gemini's API has the role 'user' or 'model', not {role!r}."
            raise InvalidMessageError(message, hint="Instructions go beside the contents, as `systemInstruction`.")


def _model(items: Sequence[Json]) -> Message:
    said: list[Part] = []
    calls: list[tuple[str | None, str, Json]] = []
    thoughts: list[str] = []
    signature: str | None = None
    unknown: list[str] = []
    for item in items:
        signature = text_or_none(_field(item, "thoughtSignature")) or signature
        called = _field(item, "functionCall")
        if isinstance(called, dict) and isinstance(called.get("name"), str):
            calls.append((text_or_none(called.get("id")), called["name"], called.get("args") or {}))
        elif item.get("thought") and isinstance(item.get("text"), str):
            thoughts.append(item["text"])
        elif (part := _part(item)) is not None:
            said.append(part)
        else:
            unknown.append(_kind(item))
    message = Message.assistant(
        content_of(said),
        reasoning="\n\n".join(thoughts) or None,
        metadata=reasoning_metadata(FORMAT, signature=signature) | not_understood(unknown),
    )
    named = [
        ToolCall(f"gemini:{message.id}:{place}" if id_ is None else id_, name, arguments)
        for place, (id_, name, arguments) in enumerate(calls)
    ]
    return msgspec.structs.replace(message, tool_calls=tuple(named))


def _user(items: Sequence[Json]) -> list[Message]:
    results: list[Message] = []
    said: list[Part] = []
    unknown: list[str] = []
    for item in items:
        answer = _field(item, "functionResponse")
        if isinstance(answer, dict) and isinstance(answer.get("name"), str):
            results.append(_result(answer))
        elif (part := _part(item)) is not None:
            said.append(part)
        else:
            unknown.append(_kind(item))
    if results and not (said or unknown):
        return results
    return [*results, Message.user(content_of(said), metadata=not_understood(unknown))]


def _result(answer: Json) -> Message:
    response = answer.get("response")
    text = response.get("result") if isinstance(response, dict) and response.keys() == {"result"} else None
    content = text if isinstance(text, str) else json.encode(response).decode()
    return Message.tool(content, tool_call_id=text_or_none(answer.get("id")) or "", name=answer["name"])


def _part(item: Json) -> Part | None:
    if isinstance(item.get("text"), str) and not item.get("thought"):
        return TextPart(item["text"])
    for name in ("inlineData", "fileData"):
        source = _field(item, name)
        if isinstance(source, dict):
            return _blob(source)
    return None


def _blob(source: Json) -> Part | None:
    kind = text_or_none(_field(source, "mimeType"))
    data = source.get("data")
    url = f"data:{kind};base64,{data}" if isinstance(data, str) else _field(source, "fileUri")
    if not isinstance(url, str):
        return None
    media = (kind or "").partition("/")[0]
    if media == "image":
        return ImagePart(url, media_type=kind)
    return AudioPart(url, media_type=kind) if media == "audio" else FilePart(url, media_type=kind)


def _kind(item: Json) -> str:
    return next(iter(item), "empty")


# --- writing


def _write(unit: Sequence[Message]) -> list[Json]:
    if unit[0].role == "assistant":
        return [{"role": "model", "parts": _model_parts(unit[0])}]
    return [{"role": "user", "parts": [part for message in unit for part in _user_parts(message)]}]


def _model_parts(message: Message) -> list[Json]:
    parts = _said(message)
    for call in message.tool_calls:
        called: Json = {"name": call.name, "args": arguments_object(call)}
        parts.append({"functionCall": called if _GIVEN.fullmatch(call.id) else {"id": call.id, **called}})
    signature = reasoning_of(message, FORMAT).get("signature")
    if signature and parts:  # it belongs to the first call, or to the last part of a text
        place = next((index for index, part in enumerate(parts) if "functionCall" in part), -1)
        parts[place] = {**parts[place], "thoughtSignature": signature}
    return parts


def _user_parts(message: Message) -> list[Json]:
    if message.role != "tool":
        return _said(message)
    answer: Json = {"name": message.name or "", "response": {"result": message.text}}
    call_id = message.tool_call_id
    return [{"functionResponse": answer if not call_id or _GIVEN.fullmatch(call_id) else {"id": call_id, **answer}}]


def _said(message: Message) -> list[Json]:
    if isinstance(message.content, str):
        return [{"text": message.content}] if message.content else []
    return [_written(part) for part in message.content]


def _written(part: Part) -> Json:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if (inline := inline_data(part.url)) is not None:
        return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
    return {"fileData": {"fileUri": part.url} | ({"mimeType": part.media_type} if part.media_type else {})}
