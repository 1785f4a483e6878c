"""`openai-chat`: a conversation as `{"id", "model", "messages": [OpenAI chat messages], "metadata"}`.

Both ways are pure functions, and together they are lossless: what comes in goes out as an equal JSON value. Each
message is read into a `Message`; if writing that doesn't give the item back, the item itself is kept in
`Message.native` and written instead, for as long as nobody edits the message. What a line has besides the four keys,
and which of them it lacks, is kept under one reserved key of the metadata.

A message without an id gets one from the session's id and its place, so that importing again changes nothing (G4) and
a longer version of the conversation adds only what is new. Such ids aren't written; all others are. So does a message
whose id an earlier one has (L115); its item is kept, so that it goes out with the id that it came with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, cast

import msgspec

from bamboo_sessions.cli.formats import openai_parts
from bamboo_sessions.cli.formats.json_text import parsed
from bamboo_sessions.domain.errors import BambooSessionsError, InputError, InvalidMessageError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.json import thawed
from bamboo_sessions.domain.message import ROLES, Message, Native, Role, ToolCall
from bamboo_sessions.domain.session import Session

FORMAT: Final = "openai-chat"
"""The name of the format: in commands, in `Native.format`, and of the reserved metadata key."""

_KEYS: Final = frozenset({"id", "model", "messages", "metadata"})
_NATIVE_ROLES: Final[Mapping[str, Role]] = {"function": "tool"}
"""Roles that OpenAI once had, and what they are here."""

Json = dict[str, Any]


# --- sessions


def to_session(line: object, *, namespace: str = "default") -> Session:
    """The session that a line describes, not saved yet.

    Raises:
        InputError: It isn't a conversation: what is missing or wrong, and in which message.
    """
    if not isinstance(line, dict):
        raise InputError(f"A conversation is a JSON object, not {_kind(line)}.")
    session = Session(
        _required(line, "id", str), _optional(line, "model", str), namespace=namespace, metadata=_metadata(line)
    )
    for index, item in enumerate(_required(line, "messages", list)):
        try:
            message = to_message(item, session.id, index)
            if session.messages.index_of(message.id) is not None:
                message = _of_its_place(message, item, session.id, index)
            session.add_message(message)
        except BambooSessionsError as exc:
            raise InputError(f"Message {index + 1}: {exc}", hint=exc.hint) from exc
        except RecursionError as exc:
            raise InputError(f"Message {index + 1} is nested too deeply.") from exc
    return session


def repeated_ids(session: Session) -> int:
    """How many messages of an imported session have an id of their place, since an earlier one had theirs."""
    repeated = 0
    for index, message in enumerate(session.messages):
        if message.id == message_id(session.id, index) and (item := _kept_item(message)) is not None:
            repeated += _own_id(item) not in {None, message.id}
    return repeated


def _of_its_place(message: Message, item: Json, session_id: str, index: int) -> Message:
    return msgspec.structs.replace(message, id=message_id(session_id, index), native=_native(item))


def from_session(head: SessionHead, messages: Iterable[Message]) -> Json:
    """The line that describes a session."""
    metadata = thawed(dict(head.metadata))
    kept = metadata.pop(FORMAT, {})
    kept = kept if isinstance(kept, dict) else {"shadowed": kept}
    if "shadowed" in kept:
        metadata[FORMAT] = kept["shadowed"]
    line: Json = {"id": head.id}
    absent = kept.get("absent", [])
    if head.model is not None or "model" not in absent:
        line["model"] = head.model
    line["messages"] = [from_message(message, head.id, index) for index, message in enumerate(messages)]
    if metadata or "metadata" not in absent:
        line["metadata"] = metadata or kept.get("metadata", {})
    return {**line, **kept.get("extra", {})}


def _metadata(line: Json) -> Json:
    """A session's metadata, with what else the line says under the reserved key."""
    metadata = dict(_optional(line, "metadata", dict) or {})
    kept: Json = {}
    if absent := [key for key in ("model", "metadata") if key not in line]:
        kept["absent"] = absent
    if "metadata" in line and line["metadata"] is None:
        kept["metadata"] = None
    if extra := {key: value for key, value in line.items() if key not in _KEYS}:
        kept["extra"] = extra
    if FORMAT in metadata:
        kept["shadowed"] = metadata[FORMAT]
    return {**metadata, FORMAT: kept} if kept else metadata


def _required(line: Json, key: str, kind: type) -> Any:  # noqa: ANN401 - of type `kind`
    if key not in line:
        raise InputError(f"The conversation has no {key!r}.")
    if not isinstance(line[key], kind):
        raise InputError(f"{key!r} must be {_NAMES[kind]}, not {_kind(line[key])}.")
    return line[key]


def _optional(line: Json, key: str, kind: type) -> Any:  # noqa: ANN401 - of type `kind`, or None
    return None if line.get(key) is None else _required(line, key, kind)


_NAMES: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


# --- messages


def message_id(session_id: str, index: int) -> str:
    """The id of the message at `index` if it brings none: the same at each import."""
    digest = blake2b(session_id.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{FORMAT}-{digest}-{index}"


def to_message(item: object, session_id: str, index: int) -> Message:
    """The message that `item` describes; `item` itself is kept in it if it says more than a `Message` can.

    Raises:
        InputError: It is no object, or its role is unknown.
    """
    if not isinstance(item, dict):
        raise InputError(f"A message is a JSON object, not {_kind(item)}.")
    message = _read(item, _own_id(item) or message_id(session_id, index))
    if from_message(message, session_id, index) == item:
        return message
    return msgspec.structs.replace(message, native=_native(item))


def _native(item: Json) -> Native:
    return Native(FORMAT, json.dumps(item, separators=(",", ":")).encode("ascii"))


def from_message(message: Message, session_id: str, index: int) -> Json:
    """The OpenAI chat message for `message`."""
    item = _kept_item(message) or _written(message)
    if "id" not in item and message.id != message_id(session_id, index):
        item["id"] = message.id
    return item


def _kept_item(message: Message) -> Json | None:
    """The item that `message` was read from, unless it was edited since."""
    if message.native is None or message.native.format != FORMAT:
        return None
    try:
        item = parsed(message.native.data)
        read = _read(item, message.id)
    except (InputError, AttributeError):
        return None
    same = all(getattr(read, name) == getattr(message, name) for name in _CONTENT)
    return cast("Json", item) if same else None


_CONTENT: Final = ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning")


def _read(item: Json, id: str) -> Message:
    """A message with all that can be understood of `item`."""
    role = item.get("role")
    if not isinstance(role, str) or _NATIVE_ROLES.get(role, role) not in ROLES:
        shown = "no role" if "role" not in item else f"the role {role!r}"
        raise InvalidMessageError(f"It has {shown}.", hint="Roles are: " + ", ".join(sorted(ROLES)) + ".")
    return Message(
        id=id,
        role=cast("Role", _NATIVE_ROLES.get(role, role)),
        content=openai_parts.to_content(item.get("content")),
        tool_calls=_to_calls(item.get("tool_calls")),
        tool_call_id=_text(item.get("tool_call_id")),
        name=_text(item.get("name")),
        reasoning=_text(item.get("reasoning_content")),
    )


def _written(message: Message) -> Json:
    item: Json = {"role": message.role, "content": openai_parts.from_content(message.content)}
    if message.tool_calls:
        item["content"] = item["content"] or None  # as OpenAI writes it
        item["tool_calls"] = [_from_call(call) for call in message.tool_calls]
    for key, value in (
        ("tool_call_id", message.tool_call_id),
        ("name", message.name),
        ("reasoning_content", message.reasoning),
    ):
        if value is not None:
            item[key] = value
    return item


def _to_calls(items: object) -> tuple[ToolCall, ...]:
    calls = [_to_call(item) for item in items] if isinstance(items, list) else []
    return tuple(call for call in calls if call is not None)


def _to_call(item: object) -> ToolCall | None:
    """A call that can be understood: of a function, or of a custom tool."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    for kind, input_name in (("function", "arguments"), ("custom", "input")):
        called = item.get(kind)
        if isinstance(called, dict) and isinstance(called.get("name"), str):
            arguments = called.get(input_name)
            return ToolCall(item["id"], called["name"], arguments if isinstance(arguments, str | dict) else "")
    return None


def _from_call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text}}


def _own_id(item: Json) -> str | None:
    try:
        return check_message_id(item["id"])
    except (KeyError, InvalidMessageError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
