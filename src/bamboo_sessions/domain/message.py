"""A message: one frozen item of a conversation.

Its identity is `id`; its content is every field but `id` and `created_at` (G4). The stored form is JSON with these
two first, so that the hash of the content is the hash of the bytes from `"role"` on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from operator import attrgetter, is_
from typing import Any, Final, Literal, get_args

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import now
from bamboo_sessions.domain.errors import InputError, InvalidMessageError
from bamboo_sessions.domain.ids import check_message_id, new_id
from bamboo_sessions.domain.limits import MESSAGE_BYTES_MAX, check_limit

Role = Literal["system", "developer", "user", "assistant", "tool", "event"]
ROLES: Final = frozenset(get_args(Role))
_FrozenDict: Final = json.FrozenDict


class ToolCall(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A model's wish to run a tool.

    `arguments` is kept as it came: the JSON text that the model wrote (valid or not), or a JSON object.
    """

    id: str
    name: str
    arguments: str | dict[str, Any] = "{}"

    def __post_init__(self) -> None:
        """Freeze an object given as arguments."""
        if not isinstance(self.arguments, str | json.FrozenDict):
            arguments = json.frozen(self.arguments, what="ToolCall.arguments")
            msgspec.structs.force_setattr(self, "arguments", arguments)

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text, whichever way they were given."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.encode(self.arguments).decode()


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


class Native(msgspec.Struct, frozen=True, gc=False):
    """A framework's own item, byte for byte, with the name of its format."""

    format: str
    data: bytes


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

    Raises:
        InvalidMessageError: The role is unknown, or `created_at` has no time zone.
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
        """Check what the type checker can't, and freeze what comes as a list or a dict.

        It runs for each message that is decoded: types are compared first, which is quicker than `isinstance`.
        """
        if (type(self.role) is not str and not isinstance(self.role, str)) or self.role not in ROLES:
            message = f"{self.role!r} is no role of a message."
            raise InvalidMessageError(message, hint="Use one of: " + ", ".join(sorted(ROLES)) + ".")
        if type(self.created_at) is not datetime or self.created_at.tzinfo is not UTC:
            msgspec.structs.force_setattr(self, "created_at", _in_utc(self.id, self.created_at))
        if type(self.content) is not str and isinstance(self.content, list):
            msgspec.structs.force_setattr(self, "content", tuple(self.content))
        if type(self.tool_calls) is not tuple and isinstance(self.tool_calls, list):
            msgspec.structs.force_setattr(self, "tool_calls", tuple(self.tool_calls))
        if type(self.metadata) is not _FrozenDict:
            metadata = json.frozen(self.metadata, what="Message.metadata")
            msgspec.structs.force_setattr(self, "metadata", metadata)

    @property
    def text(self) -> str:
        """The readable text of any content; parts without text give nothing."""
        if isinstance(self.content, str):
            return self.content
        texts = (_part_text(part) for part in self.content)
        return "\n".join(text for text in texts if text)

    @classmethod
    def user(cls, content: str | tuple[Part, ...], **fields: Any) -> Message:  # noqa: ANN401 - fields of Message
        """What a person says. `fields` are further fields of `Message`."""
        return cls(role="user", content=content, **fields)

    @classmethod
    def assistant(
        cls,
        content: str | tuple[Part, ...] = "",
        tool_calls: tuple[ToolCall, ...] | list[ToolCall] = (),
        **fields: Any,  # noqa: ANN401 - fields of Message
    ) -> Message:
        """What the model says, and the tools it wants to run."""
        return cls(role="assistant", content=content, tool_calls=tuple(tool_calls), **fields)

    @classmethod
    def system(cls, content: str, **fields: Any) -> Message:  # noqa: ANN401 - fields of Message
        """Instructions to the model."""
        return cls(role="system", content=content, **fields)

    @classmethod
    def tool(cls, content: str | tuple[Part, ...], *, tool_call_id: str, **fields: Any) -> Message:  # noqa: ANN401
        """The result of the tool call `tool_call_id`."""
        return cls(role="tool", content=content, tool_call_id=tool_call_id, **fields)


def _in_utc(id: str, moment: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        message = f"Message {id!r} has no time zone in created_at."
        raise InvalidMessageError(message, hint="Use datetime.now(timezone.utc), or set tzinfo.")
    return moment.astimezone(UTC)


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
    body = (json.encode_plain(message) if _is_plain(message) else None) or _checked_body(message)
    check_limit(f"Message {message.id!r}", len(body), MESSAGE_BYTES_MAX, "bytes")
    return StoredMessage(message, body, hash_of_body(body))


_DEFAULTED: Final = attrgetter(*Message.__struct_fields__[4:])  # all behind the content
_DEFAULTS: Final = _DEFAULTED(Message(role="user"))


def _is_plain(message: Message) -> bool:
    """Whether it has a text and nothing else, as most messages do: that is sure to be read back as it is."""
    return type(message) is Message and type(message.content) is str and all(map(is_, _DEFAULTED(message), _DEFAULTS))


def _checked_body(message: Message) -> bytes:
    """The JSON of `message`, which was read back to make sure of what its constructor doesn't check."""
    try:
        return json.encode_readable(message, _checked, what=f"Message {message.id!r}")
    except InputError as exc:
        raise InvalidMessageError(str(exc), hint=exc.hint) from exc


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
    error = f"Message id {message_id!r} occurs twice."
    return InvalidMessageError(error, hint="Give every message an id of its own; leave it out, and it gets a new one.")
