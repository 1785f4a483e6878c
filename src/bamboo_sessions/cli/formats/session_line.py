"""A line that holds a conversation: what it says of the session, besides the messages, and back again.

Whatever a line has besides the keys that are understood, and which of them it lacks, is kept under one reserved key of
the metadata, the name of the format, so that it can be written again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from bamboo_sessions.cli.formats import moments
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.errors import BambooSessionsError, InputError, InvalidMessageError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import check_message_id, check_name
from bamboo_sessions.domain.json import thawed
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.formats.items import Json

_NAMES: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


class Line(msgspec.Struct, frozen=True):
    """A line of a format, whose messages are under one of its keys.

    Args:
        fields: The line.
        format_name: The format, and the reserved key.
        key: Where its messages are.
        items: These messages, as they came.
        id: The session's: the line's own, or one that follows from the messages.
        since: The line's time, else that of its oldest message, else now: how old a message without a time is.
    """

    fields: Json
    format_name: str
    key: str
    items: list[Any]
    id: str
    since: datetime


def read_line(line: object, format_name: str, key: str) -> Line:
    """The line; raises `InputError` if it is no conversation."""
    if not isinstance(line, dict):
        raise InputError(f"A conversation is a JSON object, not {kind_of(line)}.")
    items = _required(line, key, list)
    id = _required(line, "id", str) if "id" in line else f"{format_name}-{_digest(items)}"
    times = [moment for item in items if isinstance(item, dict) and (moment := moments.moment_in(item))]
    since = moments.moment_in(line) or min(times, default=SYSTEM_CLOCK.now())
    return Line(line, format_name, key, items, id, since)


def session_of(line: Line, messages: Sequence[Message], *, namespace: str) -> Session:
    """The session that `line` describes, with its messages, not saved yet. Raises `InputError`."""
    fields = line.fields
    session = Session(
        line.id,
        _optional(fields, "model", str),
        namespace=namespace,
        owner=_owner(fields),
        title=_title(fields),
        created_at=line.since,
        metadata=_metadata(line, messages),
    )
    for index, message in enumerate(messages):
        with naming(index):
            session.add_message(message)
    session.updated_at = max([line.since, *(message.created_at for message in messages)])
    return session


def line_of(head: SessionHead, format_name: str, messages: Sequence[Message]) -> Json:
    """The line that describes a session, without its messages."""
    metadata = thawed(dict(head.metadata))
    kept = metadata.pop(format_name, {})
    kept = kept if isinstance(kept, dict) else {"shadowed": kept}
    if "shadowed" in kept:
        metadata[format_name] = kept["shadowed"]
    absent, extra = kept.get("absent", []), kept.get("extra", {})
    line: Json = {"id": head.id}
    line |= {name: value for name in ("title", "owner") if (value := getattr(head, name)) is not None}
    if _is_timed(head.created_at, messages) and moments.CREATED_AT not in absent and not moments.has_moment(extra):
        line[moments.CREATED_AT] = moments.text_of(head.created_at)
    if head.model is not None or "model" not in absent:
        line["model"] = head.model
    if metadata or "metadata" not in absent:
        line["metadata"] = metadata or kept.get("metadata", {})
    return {**extra, **line}


def _metadata(line: Line, messages: Sequence[Message]) -> Json:
    """A session's metadata, with what else the line says under the reserved key."""
    fields = line.fields
    metadata = dict(_optional(fields, "metadata", dict) or {})
    kept: Json = {}
    absent = [key for key in ("model", "metadata") if key not in fields]
    if _is_timed(line.since, messages) and not moments.has_moment(fields):
        absent.append(moments.CREATED_AT)
    if absent:
        kept["absent"] = absent
    if "metadata" in fields and fields["metadata"] is None:
        kept["metadata"] = None
    known = {"id", "model", "metadata", line.key, *_written_again(line, messages)}
    if extra := {key: value for key, value in fields.items() if key not in known}:
        kept["extra"] = extra
    if line.format_name in metadata:
        kept["shadowed"] = metadata[line.format_name]
    return {**metadata, line.format_name: kept} if kept else metadata


def _written_again(line: Line, messages: Sequence[Message]) -> Iterator[str]:
    """The keys that are written from the session itself."""
    fields = line.fields
    if _title(fields) is not None:
        yield "title"
    if _owner(fields) is not None:
        yield "owner"
    is_usual = [key for key in moments.KEYS if key in fields] == [moments.CREATED_AT]
    if is_usual and fields[moments.CREATED_AT] == moments.text_of(line.since) and _is_timed(line.since, messages):
        yield moments.CREATED_AT


def _is_timed(since: datetime, messages: Sequence[Message]) -> bool:
    """Whether the session's time means anything: not if all its messages have none of their own."""
    return not messages or any(message.created_at != since for message in messages)


def _title(fields: Json) -> str | None:
    title = fields.get("title")
    return title if isinstance(title, str) and title.strip() else None


def _owner(fields: Json) -> str | None:
    try:
        return check_name(fields["owner"], what="owner")
    except (KeyError, InputError):
        return None


def _required(fields: Json, key: str, kind: type) -> Any:  # noqa: ANN401 - of type `kind`
    if key not in fields:
        raise InputError(f"The conversation has no {key!r}.")
    if not isinstance(fields[key], kind):
        raise InputError(f"{key!r} must be {_NAMES[kind]}, not {kind_of(fields[key])}.")
    return fields[key]


def _optional(fields: Json, key: str, kind: type) -> Any:  # noqa: ANN401 - of type `kind`, or None
    return None if fields.get(key) is None else _required(fields, key, kind)


def kind_of(value: object) -> str:
    """What JSON calls it."""
    return _NAMES.get(type(value), type(value).__name__)


@contextmanager
def naming(index: int) -> Iterator[None]:
    """Say which message an error is about."""
    try:
        yield
    except BambooSessionsError as exc:
        raise InputError(f"Message {index + 1}: {exc}", hint=exc.hint) from exc
    except RecursionError as exc:
        raise InputError(f"Message {index + 1} is nested too deeply.") from exc


# --- ids


def message_id(format_name: str, session_id: str, index: int) -> str:
    """The id of the message at `index` if it brings none: the same at each import."""
    digest = blake2b(session_id.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{format_name}-{digest}-{index}"


def own_id(item: Json) -> str | None:
    """The id that an item brings, if it can be one."""
    try:
        return check_message_id(item["id"])
    except (KeyError, InvalidMessageError):
        return None


def _digest(items: list[Any]) -> str:
    """What a conversation without an id is named after: the same messages have the same name."""
    try:
        text = json.dumps(items, sort_keys=True, separators=(",", ":"))
    except RecursionError as exc:
        raise InputError("A message is nested too deeply.") from exc
    return blake2b(text.encode("ascii"), digest_size=12).hexdigest()
