"""A message: one frozen item of a conversation.

Its identity is `id`; its content is every field but `id` and `created_at` (G4). The stored form is JSON with these
two first, so that the hash of the content is the hash of the bytes from `"role"` on.
"""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypedDict, Unpack, get_args

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import TIME_MAX, TIME_MIN, now, utc
from bamboo_sessions.domain.errors import InputError, InvalidMessageError
from bamboo_sessions.domain.ids import check_message_id, new_id
from bamboo_sessions.domain.limits import ID_CHARS_MAX, MESSAGE_BYTES_MAX, check_limit
from bamboo_sessions.domain.parts import (
    AudioPart,
    FilePart,
    ImagePart,
    Native,
    Part,
    TextPart,
    ToolCall,
    calls_of,
    parts_of,
    plain_text,
    set_field,
    wrong_type,
)
from bamboo_sessions.domain.values import Value, usage

__all__ = [
    "ROLES",
    "AudioPart",
    "Content",
    "FilePart",
    "ImagePart",
    "Message",
    "MessageChanges",
    "MessageFields",
    "Native",
    "Part",
    "Role",
    "StoredMessage",
    "TextPart",
    "ToolCall",
    "check_message",
    "from_body",
    "hash_of_body",
    "is_tool_result",
    "occurs_twice",
    "same_content",
    "to_stored",
    "without_repeats",
]

Role = Literal["system", "developer", "user", "assistant", "tool", "event"]
ROLES: Final = frozenset(get_args(Role))
Content = str | Sequence[Part]
"""What a message may be made with: text, or parts."""

_FrozenDict: Final = json.FrozenDict


class MessageFields(TypedDict, total=False):
    """Fields of a `Message` that go by keyword, and what they may be given as."""

    id: str
    created_at: datetime | float | str
    tool_success: bool | None
    name: str | None
    reasoning: str | None
    metadata: Mapping[str, Any] | None
    native: Native | None


class MessageChanges(MessageFields, total=False):
    """All fields of a `Message`, likewise."""

    role: Role
    content: Content | None
    tool_calls: Sequence[ToolCall] | None
    tool_call_id: str | None


class Message(Value, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One item of a conversation. Frozen: an edit is another `Message` with the same `id`.

    Args:
        id: Identity inside the session; a UUIDv7 by default.
        created_at: When it was made, aware UTC; now by default. A number means seconds since 1970, text is ISO 8601
            with its zone.
        role: Who speaks. An `"event"` is stored and paged, and never sent to a model.
        content: Text, or parts (text, image, file, audio). `None` is an empty text.
        tool_calls: What the assistant wants to run; `None` is nothing.
        tool_call_id: In a tool's result: the call that it belongs to.
        tool_success: In a tool's result: whether it worked. `None` if nobody said.
        name: The speaker's or the tool's name.
        reasoning: The model's own thinking, if it was given.
        metadata: Any JSON. `None` is none.
        native: The framework's own item, so that an adapter gives back exactly what it was given.

    All is checked here, so that no message can spoil a later save. Lists become tuples; parts and tool calls that are
    dicts, or objects of OpenAI's SDK, become values if all of them is understood. Equal messages are stored alike,
    however they were made.

    Raises:
        InvalidMessageError: A field can't be taken; the error names the place, as in `Message.tool_calls[0].name`.
        InputError: `metadata` or a call's arguments hold something that isn't JSON; likewise.
    """

    _usual_way: ClassVar[str] = 'Message.user("Hello")'

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

    if TYPE_CHECKING:  # what may be given is more than what is kept

        def __init__(
            self,
            *,
            role: Role,
            content: Content | None = "",
            tool_calls: Sequence[ToolCall] | None = (),
            tool_call_id: str | None = None,
            **fields: Unpack[MessageFields],
        ) -> None: ...

    def __post_init__(self) -> None:
        """Check what the type checker can't, and bring each field into the one form that it is stored in (G4).

        It runs for each message that is decoded: conditions come in the order of what they cost.
        """
        id_ = self.id
        if type(id_) is not str or not (id_.isprintable() and 0 < len(id_) <= ID_CHARS_MAX):
            set_field(self, "id", _id(id_))
        if type(self.role) is not str or self.role not in ROLES:
            set_field(self, "role", _role(self.role))
        at = self.created_at
        if type(at) is not datetime or at.tzinfo is not UTC or not TIME_MIN <= at < TIME_MAX:
            set_field(self, "created_at", _time(at))
        if type(self.content) is not str:
            set_field(self, "content", _content(self.content))
        if type(self.tool_calls) is not tuple or self.tool_calls:
            set_field(self, "tool_calls", calls_of(self.tool_calls, "Message.tool_calls"))
        if type(self.metadata) is not _FrozenDict or not (self.metadata or self.metadata is json.EMPTY):
            set_field(self, "metadata", _metadata(self.metadata))
        if self.tool_call_id is not None or self.name is not None or self.reasoning is not None:
            self._check_texts()
        if self.tool_success is not None and type(self.tool_success) is not bool:
            raise wrong_type("Message.tool_success", "True, False or None", self.tool_success)
        if self.native is not None and type(self.native) is not Native:
            raise wrong_type("Message.native", "a Native", self.native, hint=f"Write {usage(Native)}.")

    def _check_texts(self) -> None:
        for field in ("tool_call_id", "name", "reasoning"):
            value = getattr(self, field)
            if value is not None and type(value) is not str:
                set_field(self, field, plain_text(value, f"Message.{field}"))

    @property
    def text(self) -> str:
        """The readable text of any content; parts without text give nothing."""
        if isinstance(self.content, str):
            return self.content
        texts = (_part_text(part) for part in self.content)
        return "\n".join(text for text in texts if text)

    @classmethod
    def user(cls, content: Content, **fields: Unpack[MessageFields]) -> Message:
        """What a person says. `fields` are further fields of `Message`."""
        return cls(role="user", content=content, **fields)

    @classmethod
    def assistant(
        cls,
        content: Content | None = "",
        tool_calls: Sequence[ToolCall] | None = (),
        **fields: Unpack[MessageFields],
    ) -> Message:
        """What the model says, and the tools it wants to run. `None`: it says nothing, or runs nothing."""
        return cls(role="assistant", content=content, tool_calls=tool_calls, **fields)

    @classmethod
    def system(cls, content: Content, **fields: Unpack[MessageFields]) -> Message:
        """Instructions to the model."""
        return cls(role="system", content=content, **fields)

    @classmethod
    def tool(cls, content: Content, *, tool_call_id: str, **fields: Unpack[MessageFields]) -> Message:
        """The result of the tool call `tool_call_id`."""
        return cls(role="tool", content=content, tool_call_id=tool_call_id, **fields)

    def replace(self, **fields: Unpack[MessageChanges]) -> Message:
        """This message with other `fields`, checked as those of any message. With its own `id` it is an edit."""
        own = {name: getattr(self, name) for name in self.__struct_fields__}
        return type(self)(**{**own, **fields})

    def to_dict(self) -> dict[str, Any]:
        """The message as a JSON object: what is stored of it, less fields that have their defaults."""
        fields: dict[str, Any] = stdlib_json.loads(_body(self))
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Message:
        """The message in what `to_dict` gave. It takes what the constructor takes, and raises what that raises."""
        if not isinstance(fields, Mapping):
            raise wrong_type("A message", "a dict", fields)
        if unknown := [name for name in fields if name not in cls.__struct_fields__]:
            hint = f"Write {usage(cls)}; `bamboo_sessions.formats` reads the messages of providers."
            raise InvalidMessageError(f"A message has no field {unknown[0]!r}.", hint=hint)
        return cls(**{"role": None, **fields, "native": _native(fields.get("native"))})


def _id(value: object) -> str:
    return check_message_id(str.__str__(value) if isinstance(value, str) else value)  # type: ignore[arg-type]


def _role(value: object) -> str:
    role = str.__str__(value) if isinstance(value, str) else value
    if not isinstance(role, str) or role not in ROLES:
        message = f"Message.role can't be {value!r}: that is no role of a message."
        raise InvalidMessageError(message, hint="Use one of: " + ", ".join(sorted(ROLES)) + ".")
    return role


def _time(moment: object) -> datetime:
    return utc(moment, what="Message.created_at", error=InvalidMessageError)


def _content(value: object) -> str | tuple[Part, ...]:
    """Text, or parts; `None` means that nothing is said (L138)."""
    if value is None:
        return ""
    return str.__str__(value) if isinstance(value, str) else parts_of(value, "Message.content")


def _metadata(value: object) -> json.FrozenDict:
    return json.EMPTY if value is None else json.frozen_object(value, what="Message.metadata")


def _native(stored: object) -> object:
    """A native item as `to_dict` has it: text, or bytes as base64."""
    if not isinstance(stored, Mapping):
        return stored
    try:
        return msgspec.convert(dict(stored), Native)
    except msgspec.ValidationError as exc:
        raise InvalidMessageError(f"Message.native can't be read: {exc}.", hint="Pass what `to_dict` gave.") from None


def _part_text(part: Part) -> str:
    match part:
        case TextPart(text=said):
            return said
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
    """`value`, or `InvalidMessageError` if it isn't just a message."""
    if type(value) is not Message:
        message = f"A history holds Message objects, not {type(value).__name__}."
        raise InvalidMessageError(message, hint=_hint_for(value))
    return value


def _hint_for(value: object) -> str:
    if isinstance(value, Mapping):
        return "Message.from_dict(…) makes one of a dict; `bamboo_sessions.formats` reads the messages of providers."
    if isinstance(value, Message):
        return "Keep what a subclass adds in `metadata`: it would be lost."
    return "Use Message.user(…), Message.assistant(…), Message.tool(…)."


def to_stored(message: Message) -> StoredMessage:
    """Encode `message`; raises `InvalidMessageError` or `LimitExceededError` before anything is written (L86)."""
    check_message(message)
    body = (json.encode_plain(message) if message.native is None else None) or _checked_body(message)
    check_limit(f"Message {message.id!r}", len(body), MESSAGE_BYTES_MAX, "bytes")
    return StoredMessage(message, body, hash_of_body(body))


def _checked_body(message: Message) -> bytes:
    """The stored form of `message`, which was read back: texts that aren't Unicode may come back as others."""
    try:
        return json.readable(message, _body, _checked, what=f"Message {message.id!r}")
    except InputError as exc:
        raise InvalidMessageError(str(exc), hint=exc.hint) from None


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


def without_repeats(messages: Iterable[Message]) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """`messages`, each once, and the ids that occurred again with equal content.

    Raises `InvalidMessageError` if an id occurs again with other content: one of them would be lost (L115).
    """
    first: dict[str, Message] = {}
    repeated: list[str] = []
    for message in map(check_message, messages):
        if first.setdefault(message.id, message) is not message:
            if not same_content(first[message.id], message):
                raise occurs_twice(message.id)
            repeated.append(message.id)
    return tuple(first.values()), tuple(repeated)


def occurs_twice(message_id: str) -> InvalidMessageError:
    """The refusal of a second message with an id that the history has."""
    return InvalidMessageError(
        f"Message id {message_id!r} occurs twice; nothing was changed.",
        hint="Leave the id out to get one of its own; to edit a message, assign to its place in `session.messages`.",
    )
