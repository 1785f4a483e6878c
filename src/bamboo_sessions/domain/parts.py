"""What a message is made of: tool calls, parts of a content, a framework's own item.

Each is checked when it is made, and so are dicts in their places: a dict whose meaning is plain becomes the value that
it describes. What isn't plain is refused by name and place, never guessed: a key that was dropped would be lost.
"""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import InputError, InvalidMessageError
from bamboo_sessions.domain.values import Value, usage

T = TypeVar("T", bound=Value)

set_field: Final = msgspec.structs.force_setattr
_FORMATS: Final = "`bamboo_sessions.formats` reads the messages of providers."


class ToolCall(Value, frozen=True, gc=False):
    """A model's wish to run a tool.

    `arguments` is kept as it came: the JSON text that the model wrote (valid or not), or a JSON object.

    Raises:
        InvalidMessageError: Id or name isn't text, or the arguments are neither text nor a JSON object.
        InputError: The arguments hold something that isn't JSON.
    """

    id: str
    name: str
    arguments: str | dict[str, Any] = "{}"

    def __post_init__(self) -> None:
        """Check types, and freeze an object given as arguments."""
        if type(self.id) is not str:
            set_field(self, "id", plain_text(self.id, "ToolCall.id"))
        if type(self.name) is not str:
            set_field(self, "name", plain_text(self.name, "ToolCall.name"))
        if type(self.arguments) is not str and type(self.arguments) is not json.FrozenDict:
            set_field(self, "arguments", _arguments(self.arguments))

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text, whichever way they were given."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.encode(self.arguments).decode()

    @property
    def arguments_dict(self) -> dict[str, Any]:
        """The arguments as a new dict, whichever way they were given: `tool(**call.arguments_dict)`.

        Raises:
            InputError: What the model wrote isn't a JSON object. Tell the model so in the tool's result.
        """
        if not isinstance(self.arguments, str):
            return dict(json.thawed(self.arguments))
        try:
            value = stdlib_json.loads(self.arguments or "{}")
        except (ValueError, RecursionError) as exc:
            raise _no_object(self, str(exc)) from exc
        if not isinstance(value, dict):
            raise _no_object(self, f"it is {type(value).__name__}, not an object")
        return value


class TextPart(Value, frozen=True, gc=False, tag="text"):
    """Text among other parts."""

    text: str

    def __post_init__(self) -> None:
        """Check types."""
        if type(self.text) is not str:
            set_field(self, "text", plain_text(self.text, "TextPart.text"))


class _Reference(Value, frozen=True, gc=False):
    """A part by reference: all its fields are text, and the first one is needed."""

    url: str

    def __post_init__(self) -> None:
        """Check types."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is not str and (value is not None or name == "url"):
                set_field(self, name, plain_text(value, f"{type(self).__name__}.{name}"))


class ImagePart(_Reference, frozen=True, gc=False, omit_defaults=True, tag="image"):
    """An image by reference. `detail` is a provider's hint such as `"low"`."""

    media_type: str | None = None
    detail: str | None = None


class FilePart(_Reference, frozen=True, gc=False, omit_defaults=True, tag="file"):
    """A file by reference."""

    name: str | None = None
    media_type: str | None = None


class AudioPart(_Reference, frozen=True, gc=False, omit_defaults=True, tag="audio"):
    """A recording by reference. `transcript` is what was said, if known."""

    media_type: str | None = None
    transcript: str | None = None


Part = TextPart | ImagePart | FilePart | AudioPart

_PARTS: Final[Mapping[str, type[Part]]] = {
    "text": TextPart,
    "image": ImagePart,
    "file": FilePart,
    "audio": AudioPart,
}
_CALL_HINT: Final = f"Write {usage(ToolCall)}; {_FORMATS}"
_PART_HINT: Final = f"Write TextPart(text), ImagePart(url), FilePart(url) or AudioPart(url); {_FORMATS}"


class Native(Value, frozen=True, gc=False, omit_defaults=True):
    """A framework's own item, byte for byte, with the name of its format.

    Args:
        format: The name.
        data: The item.
        text: In the place of `data`: the item as text, kept as its UTF-8. Always `None` afterwards.
    """

    format: str
    data: bytes = b""
    text: str | None = None

    def __post_init__(self) -> None:
        """Keep the bytes, however they came."""
        if type(self.format) is not str:
            set_field(self, "format", plain_text(self.format, "Native.format"))
        if self.text is not None:
            set_field(self, "data", plain_text(self.text, "Native.text").encode())
            set_field(self, "text", None)
        elif isinstance(self.data, bytearray | memoryview):
            set_field(self, "data", bytes(self.data))
        elif type(self.data) is not bytes:
            raise wrong_type("Native.data", "bytes", self.data, hint="Pass text as Native(format, text=…).")


def calls_of(value: object, place: str) -> tuple[ToolCall, ...]:
    """The tool calls that were given: any number, as calls, dicts, or objects of OpenAI's SDK; `None` means none."""
    if type(value) is tuple and all(type(item) is ToolCall for item in value):
        return value
    items = (value,) if isinstance(value, ToolCall | Mapping) else () if value is None else value
    if not isinstance(items, list | tuple):
        raise wrong_type(place, "a list of ToolCall", value, hint=_CALL_HINT)
    return tuple(item if type(item) is ToolCall else _call(item, f"{place}[{i}]") for i, item in enumerate(items))


def parts_of(value: object, place: str) -> tuple[Part, ...]:
    """The parts that were given: one or more, as parts, texts or dicts."""
    items = (value,) if isinstance(value, Part | Mapping) else value
    if not isinstance(items, list | tuple):
        raise wrong_type(place, "text or a list of parts", value, hint=_PART_HINT)
    return tuple(_part(item, f"{place}[{i}]") for i, item in enumerate(items))


def _call(given: object, place: str) -> ToolCall:
    fields = _fields(given)
    if fields is None:
        raise wrong_type(place, "a ToolCall", given, hint=_CALL_HINT)
    if "function" in fields and fields.pop("type", "function") == "function":
        function = _fields(fields.pop("function")) or {}
        fields = {**fields, **function}
    return _made(ToolCall, fields, place, _CALL_HINT)


def _part(given: object, place: str) -> Part:
    if type(given) in _PARTS.values():
        return given  # type: ignore[return-value]
    if isinstance(given, str):
        return TextPart(given)
    fields = _fields(given)
    if fields is None:
        raise wrong_type(place, "a part", given, hint=_PART_HINT)
    kind = fields.pop("type", None)
    if kind == "image_url":  # as OpenAI's chats have it
        image = fields.pop("image_url", None)
        kind, fields = "image", {**fields, **(_fields(image) or {"url": image})}
    if not isinstance(kind, str) or kind not in _PARTS:
        message = f"{place} is of the type {kind!r}, which isn't one of: {', '.join(_PARTS)}."
        raise InvalidMessageError(message, hint=_PART_HINT)
    return _made(_PARTS[kind], fields, place, _PART_HINT)


def _fields(given: object) -> dict[str, Any] | None:
    """What a dict, or an object of an SDK, says; `None` if it is neither."""
    dump: Callable[[], object] | None = getattr(given, "model_dump", None)
    fields = dump() if callable(dump) else given
    if not isinstance(fields, Mapping):
        return None
    return {key: value for key, value in fields.items() if value is not None}


def _made(kind: type[T], fields: Mapping[str, Any], place: str, hint: str) -> T:
    """A value of what a dict says, all of which has to be understood."""
    if unknown := [key for key in fields if key not in kind.__struct_fields__]:
        raise InvalidMessageError(f"{place} has {unknown[0]!r}, which no {kind.__name__} has.", hint=hint)
    needed = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    if missing := [name for name in kind.__struct_fields__[:needed] if name not in fields]:
        raise InvalidMessageError(f"{place} has no {missing[0]!r}.", hint=hint)
    try:
        return kind(**fields)
    except InputError as exc:
        raise InvalidMessageError(place + str(exc).removeprefix(kind.__name__), hint=exc.hint) from None


def wrong_type(place: str, wanted: str, value: object, *, hint: str | None = None) -> InvalidMessageError:
    """The refusal of a value of another type; the usual remedy for the type is the hint."""
    given = "None" if value is None else type(value).__name__
    message = f"{place} must be {wanted}, not {given}."
    return InvalidMessageError(message, hint=hint or _REMEDIES.get(type(value), f"Pass {wanted}."))


_REMEDIES: Final[Mapping[type, str]] = {
    bytes: "Decode bytes first: data.decode().",
    int: "Write str(value).",
    float: "Write str(value).",
}


def plain_text(value: object, place: str) -> str:
    """`value` as plain text: a member of an enum would come back without its class."""
    if not isinstance(value, str):
        raise wrong_type(place, "text", value)
    return str.__str__(value)


def _no_object(call: ToolCall, why: str) -> InputError:
    message = f"The arguments of call {call.id!r} of {call.name!r} can't be read as a JSON object: {why}."
    return InputError(message, hint="Models write such arguments now and then: say so in the tool's result.")


def _arguments(value: object) -> str | json.FrozenDict:
    if isinstance(value, str):
        return str.__str__(value)
    if not isinstance(value, Mapping):
        raise wrong_type("ToolCall.arguments", "JSON text or an object", value, hint='No arguments are "{}".')
    return json.frozen_object(value, what="ToolCall.arguments")
