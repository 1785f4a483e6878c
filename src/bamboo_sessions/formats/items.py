"""What the formats share: items as plain JSON, and the rule by which they come back as they were.

One item of a provider may stand for several messages (a user's turn with two tool results), and several items for one
message (a response of reasoning, text and calls). Messages that were read together are a *unit*: the first may carry
the items in `native`, the others name it in `metadata["of"]`. The items are kept only where writing the messages
wouldn't give them back, and they are used only while nobody has edited what they say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.json import thawed
from bamboo_sessions.domain.message import Message, Native, Part, TextPart, ToolCall

Json = dict[str, Any]

OF: Final = "of"
"""The metadata key that names the first message of a unit in the others."""

REASONING: Final = "reasoning"
"""The metadata key for what a provider needs to take its reasoning back: `{"provider", "id", "signature"}`."""

NOT_UNDERSTOOD: Final = "not_understood"
"""The metadata key that names the types of items, or parts of them, that are kept in `native` only."""


def plain(item: object) -> Json:
    """`item` as a JSON object: a mapping as it is, an object of a provider's SDK by its own dump.

    Raises:
        InputError: It is neither.
    """
    if isinstance(item, dict):
        return item
    dump = getattr(item, "model_dump", None)
    dumped = dump(mode="json", by_alias=True, exclude_unset=True) if callable(dump) else None
    if not isinstance(dumped, dict):
        message = f"An item of a conversation is a JSON object or an SDK's object, not {type(item).__name__}."
        raise InputError(message, hint="Pass a dict, or an object that has `model_dump`.")
    return dumped


def text_or_none(value: object) -> str | None:
    """`value` if it is text."""
    return value if isinstance(value, str) else None


def arguments_object(call: ToolCall) -> Json:
    """The arguments of a call as an object; text that isn't one is kept under `"arguments"`."""
    if not isinstance(call.arguments, str):
        arguments = thawed(call.arguments)
        return arguments if isinstance(arguments, dict) else {}
    try:
        value = json.loads(call.arguments or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": call.arguments}


def content_of(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    """The content of a message with these parts: a single text is just text."""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return tuple(parts) or ""


def not_understood(types: Sequence[str]) -> Json:
    """Metadata that names what is kept in the native form only; nothing if all was understood."""
    return {NOT_UNDERSTOOD: list(types)} if types else {}


def inline_data(url: str) -> tuple[str, str] | None:
    """Media type and base64 text of a data URL; `None` if it isn't one."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        return None
    return head.removeprefix("data:").removesuffix(";base64"), data


def reasoning_of(message: Message, provider: str) -> Json:
    """What `provider` once gave with the reasoning of this message; empty if another one did."""
    kept = message.metadata.get(REASONING)
    return thawed(kept) if isinstance(kept, dict) and kept.get("provider") == provider else {}


def reasoning_metadata(provider: str, **fields: str | None) -> Json:
    """The convention for reasoning that has to go back to its provider; nothing if there is nothing to keep."""
    known = {key: value for key, value in fields.items() if value is not None}
    return {REASONING: {"provider": provider, **known}} if known else {}


# --- units


Write = Callable[[Sequence[Message]], list[Json]]
"""Writes the messages of one unit as items."""

Read = Callable[[Sequence[Json]], list[Message]]
"""Reads the items of one unit."""


def as_unit(messages: Sequence[Message], items: Sequence[Json], format_name: str, write: Write) -> list[Message]:
    """`messages`, which were read from `items`, with what it takes to get the items back."""
    first, *others = messages
    joined = [_with_metadata(message, {OF: first.id}) for message in others]
    if write([first, *joined]) != list(items):
        data = json.dumps(items[0] if len(items) == 1 else list(items), separators=(",", ":")).encode("ascii")
        first = msgspec.structs.replace(first, native=Native(format_name, data))
    return [first, *joined]


def _with_metadata(message: Message, more: Json) -> Message:
    return msgspec.structs.replace(message, metadata={**message.metadata, **more})


def units(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """The messages by units: neighbours that were read together."""
    unit: list[Message] = []
    for message in messages:
        if unit and message.metadata.get(OF) == unit[0].id:
            unit.append(message)
            continue
        if unit:
            yield unit
        unit = [message]
    if unit:
        yield unit


def items_of(unit: Sequence[Message], format_name: str, read: Read, write: Write) -> list[Json]:
    """The items of a unit: those that it was read from if they still say the same, else written from the messages."""
    kept = native_items(unit[0], format_name)
    try:
        again = read(kept) if kept else []
    except (InputError, TypeError, KeyError, AttributeError):  # somebody else's, under this name
        again = []
    is_same = len(again) == len(unit) and all(
        _says(one) == _says(other) for one, other in zip(again, unit, strict=True)
    )
    return kept if kept and is_same else write(unit)


def native_items(message: Message, format_name: str) -> list[Json] | None:
    """The items in the native form of `message`; `None` if it has none of this format, or it can't be read."""
    if message.native is None or message.native.format != format_name:
        return None
    try:
        found = json.loads(message.native.data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else [found]


def _says(message: Message) -> tuple[object, ...]:
    """What of a message its items say; ids of calls may be given by us where a provider has none."""
    calls = [(call.name, call.arguments_text) for call in message.tool_calls]
    return message.role, message.content, calls, message.reasoning, message.name
