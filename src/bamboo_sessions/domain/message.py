"""A message: one frozen item of a conversation.

Its identity is `id`; its content is every field but `id` and `created_at` (G4). The stored form is JSON with these
two first, so that the hash of the content is the hash of the bytes from `"role"` on.
"""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from operator import attrgetter, is_
from typing import Any, Final, Literal, get_args

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import TIME_MAX, TIME_MIN, now, utc
from bamboo_sessions.domain.errors import InputError, InvalidMessageError
from bamboo_sessions.domain.ids import check_message_id, new_id
from bamboo_sessions.domain.limits import MESSAGE_BYTES_MAX, check_limit

Role = Literal["system", "developer", "user", "assistant", "tool", "event"]
ROLES: Final = frozenset(get_args(Role))
_FrozenDict: Final = json.FrozenDict
_set: Final = msgspec.structs.force_setattr


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A model's wish to run a tool.

    `arguments` is kept as it came: the JSON text that the model wrote (valid or not), or a JSON object.

    Raises:
        InvalidMessageError: Id or name isn't text.
        InputError: The arguments are neither text nor a JSON object.
    """

    id: str
    name: str
    arguments: str | dict[str, Any] = "{}"

    def __post_init__(self) -> None:
        """Check types, and freeze an object given as arguments."""
        if type(self.id) is not str:
            _set(self, "id", _text(self.id, "ToolCall.id"))
        if type(self.name) is not str:
            _set(self, "name", _text(self.name, "ToolCall.name"))
        if type(self.arguments) is not str and type(self.arguments) is not _FrozenDict:
            _set(self, "arguments", _arguments(self.arguments))

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


def _no_object(call: ToolCall, why: str) -> InputError:
    message = f"The arguments of call {call.id!r} of {call.name!r} can't be read as a JSON object: {why}."
    return InputError(message, hint="Models write such arguments now and then: say so in the tool's result.")


class TextPart(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """Text among other parts."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="image"):
    """An image by reference. `detail` is a provider's hint such as `"low"`."""

    url: str
    media_type: str | None = None
    detail: str | None = None


class FilePart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="file"):
    """A file by reference."""

    url: str
    name: str | None = None
    media_type: str | None = None


class AudioPart(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="audio"):
    """A recording by reference. `transcript` is what was said, if known."""

    url: str
    media_type: str | None = None
    transcript: str | None = None


Part = TextPart | ImagePart | FilePart | AudioPart
Content = str | tuple[Part, ...]


class Native(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
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
            _set(self, "format", _text(self.format, "Native.format"))
        if self.text is not None:
            _set(self, "data", self.text.encode())
            _set(self, "text", None)
        elif isinstance(self.data, bytearray | memoryview):
            _set(self, "data", bytes(self.data))
        elif type(self.data) is not bytes:
            raise _wrong_type("Native.data must be bytes (text can be given as `text`)", self.data)


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One item of a conversation. Frozen: an edit is another `Message` with the same `id`.

    Args:
        id: Identity inside the session; a UUIDv7 by default.
        created_at: When it was made, aware UTC; now by default.
        role: Who speaks. An `"event"` is stored and paged, and never sent to a model.
        content: Text, or parts (text, image, file, audio).
        tool_calls: What the assistant wants to run.
        tool_call_id: In a tool's result: the call that it belongs to.
        tool_success: In a tool's result: whether it worked. `None` if nobody said.
        name: The speaker's or the tool's name.
        reasoning: The model's own thinking, if it was given.
        metadata: Any JSON.
        native: The framework's own item, so that an adapter gives back exactly what it was given.

    Equal messages are stored alike, however they were made.

    Raises:
        InvalidMessageError: The role is unknown, `created_at` has no time zone, or a field has another type.
        InputError: `metadata` isn't JSON.
    """

    id: str = msgspec.field(default_factory=new_id)
    created_at: datetime = msgspec.field(default_factory=now)
    role: Role
    content: str | tuple[Part, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    tool_success: bool | None = None
    name: str | None = None
    reasoning: str | None = None
    metadata: Mapping[str, Any] = json.EMPTY
    native: Native | None = None

    def __post_init__(self) -> None:
        """Check what the type checker can't, and bring each field into the one form that it is stored in (G4).

        It runs for each message that is decoded: conditions come in the order of what they cost.
        """
        if type(self.id) is not str and isinstance(self.id, str):
            _set(self, "id", str.__str__(self.id))
        if type(self.role) is not str or self.role not in ROLES:
            _set(self, "role", _role(self.role))
        if type(self.created_at) is not datetime or self.created_at.tzinfo is not UTC:
            _set(self, "created_at", _in_utc(self.id, self.created_at))
        if type(self.content) is not str:
            _set(self, "content", _content(self.content))
        if type(self.tool_calls) is not tuple or self.tool_calls:
            _set(
                self,
                "tool_calls",
                _tuple_of(ToolCall, self.tool_calls, "Message.tool_calls must be a tuple of ToolCall"),
            )
        if type(self.metadata) is not _FrozenDict or not (self.metadata or self.metadata is json.EMPTY):
            _set(self, "metadata", json.frozen_object(self.metadata, what="Message.metadata"))
        if self.tool_call_id is not None or self.name is not None or self.reasoning is not None:
            self._check_texts()
        if self.tool_success is not None and type(self.tool_success) is not bool:
            raise _wrong_type("Message.tool_success must be a bool or None", self.tool_success)
        if self.native is not None and not isinstance(self.native, Native):
            raise _wrong_type("Message.native must be a Native", self.native)

    def _check_texts(self) -> None:
        for field in ("tool_call_id", "name", "reasoning"):
            value = getattr(self, field)
            if value is not None and type(value) is not str:
                _set(self, field, _text(value, f"Message.{field}"))

    @property
    def text(self) -> str:
        """The readable text of any content; parts without text give nothing."""
        if isinstance(self.content, str):
            return self.content
        texts = (_part_text(part) for part in self.content)
        return "\n".join(text for text in texts if text)

    @classmethod
    def user(cls, content: Content, **fields: Any) -> Message:  # noqa: ANN401 - fields of Message
        """What a person says. `fields` are further fields of `Message`."""
        return cls(role="user", content=content, **fields)

    @classmethod
    def assistant(
        cls,
        content: Content | None = "",
        tool_calls: tuple[ToolCall, ...] | list[ToolCall] = (),
        **fields: Any,  # noqa: ANN401 - fields of Message
    ) -> Message:
        """What the model says, and the tools it wants to run. `None`: it says nothing."""
        return cls(role="assistant", content=content or "", tool_calls=tuple(tool_calls), **fields)

    @classmethod
    def system(cls, content: str, **fields: Any) -> Message:  # noqa: ANN401 - fields of Message
        """Instructions to the model."""
        return cls(role="system", content=content, **fields)

    @classmethod
    def tool(cls, content: Content, *, tool_call_id: str, **fields: Any) -> Message:  # noqa: ANN401
        """The result of the tool call `tool_call_id`."""
        return cls(role="tool", content=content, tool_call_id=tool_call_id, **fields)


def _wrong_type(rule: str, value: object) -> InvalidMessageError:
    return InvalidMessageError(f"{rule}, not {type(value).__name__}.", hint="Use the types that the fields name.")


def _text(value: object, field: str) -> str:
    """`value` as plain text: a member of an enum would come back without its class."""
    if not isinstance(value, str):
        raise _wrong_type(f"{field} must be text", value)
    return str.__str__(value)


def _role(value: object) -> str:
    role = str.__str__(value) if isinstance(value, str) else value
    if not isinstance(role, str) or role not in ROLES:
        message = f"{value!r} is no role of a message."
        raise InvalidMessageError(message, hint="Use one of: " + ", ".join(sorted(ROLES)) + ".")
    return role


def _content(value: object) -> Content:
    """Text, or parts; `None` means that nothing is said (L138)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return str.__str__(value)
    return _tuple_of(
        Part, value, "Message.content must be text, or a tuple of TextPart, ImagePart, FilePart, AudioPart"
    )


def _tuple_of(kind: Any, value: object, rule: str) -> tuple[Any, ...]:  # noqa: ANN401 - a class or a union of classes
    wrong = [item for item in value if not isinstance(item, kind)] if isinstance(value, list | tuple) else [value]
    if wrong:
        raise _wrong_type(rule, wrong[0])
    return tuple(value)  # type: ignore[arg-type]


def _arguments(value: object) -> str | json.FrozenDict:
    return str.__str__(value) if isinstance(value, str) else json.frozen_object(value, what="ToolCall.arguments")


def _in_utc(id: str, moment: datetime) -> datetime:
    try:
        return utc(moment, what=f"Message {id!r}: created_at")
    except InputError as exc:
        raise InvalidMessageError(str(exc), hint=exc.hint) from exc


def _part_text(part: Part) -> str:
    match part:
        case TextPart(text=text):
            return text
        case AudioPart(transcript=transcript):
            return transcript or ""
        case _:
            return ""


class StoredMessage(msgspec.Struct, frozen=True, gc=False):
    """A message with its stored form: `body` is its JSON, `content_hash` stands for its content (G4)."""

    message: Message
    body: bytes
    content_hash: bytes


_checked: Final = msgspec.json.Decoder(Message)


def check_message(value: object) -> Message:
    """`value`, or `InvalidMessageError` if it isn't a message at all."""
    if not isinstance(value, Message):
        message = f"A history holds Message objects, not {type(value).__name__}."
        raise InvalidMessageError(message, hint="Use Message.user(…), Message.assistant(…), Message.tool(…).")
    return value


def to_stored(message: Message) -> StoredMessage:
    """Encode `message`; raises `InvalidMessageError` or `LimitExceededError` before anything is written (L86)."""
    check_message(message)
    check_message_id(message.id)
    if not TIME_MIN <= message.created_at < TIME_MAX:
        _in_utc(message.id, message.created_at)  # raises
    body = (json.encode_plain(message) if _is_plain(message) else None) or _checked_body(message)
    check_limit(f"Message {message.id!r}", len(body), MESSAGE_BYTES_MAX, "bytes")
    return StoredMessage(message, body, hash_of_body(body))


_DEFAULTED: Final = attrgetter(*Message.__struct_fields__[4:])  # all behind the content
_DEFAULTS: Final = _DEFAULTED(Message(role="user"))


def _is_plain(message: Message) -> bool:
    """Whether it has a text and nothing else, as most messages do: that is sure to be read back as it is."""
    return type(message) is Message and type(message.content) is str and all(map(is_, _DEFAULTED(message), _DEFAULTS))


def _checked_body(message: Message) -> bytes:
    """The stored form of `message`, which was read back to make sure of what its constructor doesn't check."""
    try:
        return json.readable(message, _body, _checked, what=f"Message {message.id!r}")
    except InputError as exc:
        raise InvalidMessageError(str(exc), hint=exc.hint) from exc


class _NativeText(msgspec.Struct, frozen=True):
    """The stored form of a native item that is UTF-8: as JSON it is half as long as its bytes in base64."""

    format: str
    text: str


def _body(message: Message) -> bytes:
    """The JSON of `message`, whose native item comes last."""
    try:
        text = message.native.data.decode() if message.native else None
    except UnicodeDecodeError:
        text = None
    if text is None or message.native is None:
        return json.encode(message)
    rest = json.encode(msgspec.structs.replace(message, native=None))
    return b'%b,"native":%b}' % (rest.removesuffix(b"}"), json.encode(_NativeText(message.native.format, text)))


def hash_of_body(body: bytes) -> bytes:
    """The hash of a stored message's content: of all but `id` and `created_at`, which stand before `"role"`.

    An unescaped quote can't occur inside a JSON text, so the first `"role":` is the field's name.
    """
    return blake2b(memoryview(body)[body.index(b'"role":') :], digest_size=16).digest()


def from_body(body: bytes) -> Message:
    """The message in `body`; raises `StorageCorruptError`."""
    return json.decode(body, _checked, what="A stored message")


def same_content(one: Message, other: Message) -> bool:
    """Whether two messages have equal content (ids and times don't count)."""
    if one is other:
        return True
    first, second = json.encode(one), json.encode(other)
    return first[first.index(b'"role":') :] == second[second.index(b'"role":') :]


def is_tool_result(message: Message) -> bool:
    """Whether `message` is the result of a tool call."""
    return message.role == "tool" and message.tool_call_id is not None


def check_unique(messages: Iterable[Message]) -> None:
    """Raise `InvalidMessageError` if two of `messages` have one id: one of them would be lost without a word (L115)."""
    seen: set[str] = set()
    for message in messages:
        if message.id in seen:
            raise occurs_twice(message.id)
        seen.add(message.id)


def occurs_twice(message_id: str) -> InvalidMessageError:
    """The refusal of a second message with an id that the history has."""
    return InvalidMessageError(
        f"Message id {message_id!r} occurs twice; nothing was changed.",
        hint="Leave the id out to get one of its own; to edit a message, assign to its place in `session.messages`.",
    )
