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
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from bamboo_sessions.domain.errors import BambooSessionsError, InputError, InvalidMessageError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.json import thawed
from bamboo_sessions.domain.message import Message, Native
from bamboo_sessions.domain.session import Session
from bamboo_sessions.formats.items import Json, items_of, native_items
from bamboo_sessions.formats.openai_chat import FORMAT, read, write

_KEYS: Final = frozenset({"id", "model", "messages", "metadata"})

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
        if message.id == message_id(session.id, index) and (items := native_items(message, FORMAT)):
            repeated += _own_id(items[0]) not in {None, message.id}
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
    message = read(item, id=_own_id(item) or message_id(session_id, index))
    if from_message(message, session_id, index) == item:
        return message
    return msgspec.structs.replace(message, native=_native(item))


def _native(item: Json) -> Native:
    return Native(FORMAT, json.dumps(item, separators=(",", ":")).encode("ascii"))


def from_message(message: Message, session_id: str, index: int) -> Json:
    """The OpenAI chat message for `message`."""
    (item,) = items_of([message], FORMAT, _read, _write)
    if "id" not in item and message.id != message_id(session_id, index):
        item["id"] = message.id
    return item


def _read(items: Sequence[Json]) -> list[Message]:
    return [read(item) for item in items]


def _write(messages: Sequence[Message]) -> list[Json]:
    return [write(message) for message in messages]


def _own_id(item: Json) -> str | None:
    try:
        return check_message_id(item["id"])
    except (KeyError, InvalidMessageError):
        return None
