"""`openai-chat`: the messages of OpenAI's Chat Completions API, which many other providers speak.

One item is one message. A refusal and the transcript of spoken answers are the text of a message that has no other.
The calls of the API's first years (`function_call`, answered by the role `function`) have no ids; they get one from
the function's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import ROLES, Message, Role, ToolCall
from bamboo_sessions.domain.window import model_view
from bamboo_sessions.formats import openai_parts
from bamboo_sessions.formats.items import Json, as_unit, items_of, plain, text_or_none

FORMAT: Final = "openai-chat"

_FORMER_ROLES: Final[Mapping[str, Role]] = {"function": "tool"}
_FORMER_CALL: Final = "function_call:"


def to_messages(items: Iterable[object]) -> list[Message]:
    """The messages that `items` hold, as dicts or as objects of OpenAI's SDK.

    Raises:
        InputError: An item is no object, or its role is unknown.
    """
    return [message for item in map(plain, items) for message in as_unit([read(item)], [item], FORMAT, _write)]


def from_messages(messages: Iterable[Message]) -> list[Json]:
    """The items for `messages`, one each, but for events, which are left out unless they were read from this format."""
    return [item for message in messages for item in items_of([message], FORMAT, _read, _write)]


def for_model(messages: Sequence[Message]) -> list[Json]:
    """What can be sent as `messages`: all calls of a call group in one item, with their results right behind it."""
    items: list[Json] = []
    for item in from_messages(model_view(messages)):
        if item["role"] == "assistant" and items and items[-1].get("tool_calls"):
            items[-1] = _joined(items[-1], item)
        else:
            items.append(item)
    return items


def _joined(first: Json, second: Json) -> Json:
    contents = [item["content"] for item in (first, second) if item.get("content")]
    if all(isinstance(content, str) for content in contents):
        content: object = "\n".join(contents) or None
    else:
        content = [part for each in contents for part in openai_parts.as_list(each)]
    return {**first, "content": content, "tool_calls": [*first["tool_calls"], *(second.get("tool_calls") or ())]}


# --- reading


def read(item: Json, id: str | None = None) -> Message:
    """A message with all that can be understood of `item`; with the id `id` (`None`: a new one).

    Raises:
        InvalidMessageError: Its role is unknown.
    """
    role = item.get("role")
    if not isinstance(role, str) or _FORMER_ROLES.get(role, role) not in ROLES:
        shown = "no role" if "role" not in item else f"the role {role!r}"
        raise InvalidMessageError(f"It has {shown}.", hint="Roles are: " + ", ".join(sorted(ROLES)) + ".")
    name = text_or_none(item.get("name"))
    answered = f"{_FORMER_CALL}{name}" if role == "function" else text_or_none(item.get("tool_call_id"))
    return Message(
        id=new_id() if id is None else id,
        role=cast("Role", _FORMER_ROLES.get(role, role)),
        content=openai_parts.to_content(item.get("content")) or _said_otherwise(item),
        tool_calls=(*_to_calls(item.get("tool_calls")), *_former_call(item.get("function_call"))),
        tool_call_id=answered,
        name=name,
        reasoning=text_or_none(item.get("reasoning_content")),
    )


def _read(items: Sequence[Json]) -> list[Message]:
    return [read(item) for item in items]


def _said_otherwise(item: Json) -> str:
    """What the model refused with, or said aloud."""
    audio = item.get("audio")
    spoken = audio.get("transcript") if isinstance(audio, dict) else None
    return text_or_none(item.get("refusal")) or text_or_none(spoken) or ""


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


def _former_call(called: object) -> tuple[ToolCall, ...]:
    match called:
        case {"name": str(name), "arguments": str(arguments)}:
            return (ToolCall(f"{_FORMER_CALL}{name}", name, arguments),)
        case _:
            return ()


# --- writing


def write(message: Message) -> Json:
    """The item for `message`, without regard to its native form."""
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


def _write(messages: Sequence[Message]) -> list[Json]:
    return [write(message) for message in messages if message.role != "event"]


def _from_call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text}}
