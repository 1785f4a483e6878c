"""`openai-chat`: a conversation as `{"id", "model", "messages": [OpenAI chat messages], "metadata"}`.

`title`, `owner` and `created_at`, of the conversation and of each message, have keys of their own. Both ways are pure
functions, and together they are lossless: what comes in goes out as an equal JSON value. Each
message is read into a `Message`; if writing that doesn't give the item back, the item itself is kept in
`Message.native` and written instead, for as long as nobody edits the message. What a line has besides its keys,
and which of them it lacks, is kept under one reserved key of the metadata.

A message without an id gets one from the session's id and its place, so that importing again changes nothing (G4) and
a longer version of the conversation adds only what is new. Such ids aren't written; all others are. So does a message
whose id an earlier one has (L115); its item is kept, so that it goes out with the id that it came with. A message
without a time is as old as its session, and its time isn't written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from bamboo_sessions.cli.formats import moments
from bamboo_sessions.cli.formats.session_line import kind_of, line_of, message_id, naming, own_id, read_line, session_of
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import Message, Native
from bamboo_sessions.domain.session import Session
from bamboo_sessions.formats.items import Json, items_of, native_items
from bamboo_sessions.formats.openai_chat import FORMAT, read, write

# --- sessions


def to_session(line: object, *, namespace: str = "default") -> Session:
    """The session that a line describes, not saved yet.

    Raises:
        InputError: It isn't a conversation: what is missing or wrong, and in which message.
    """
    its = read_line(line, FORMAT, "messages")
    messages: list[Message] = []
    seen: set[str] = set()
    for index, item in enumerate(its.items):
        with naming(index):
            message = to_message(item, its.id, index, its.since)
            if message.id in seen:
                message = _of_its_place(message, item, its.id, index)
            seen.add(message.id)
            messages.append(message)
    return session_of(its, messages, namespace=namespace)


def repeated_ids(session: Session) -> int:
    """How many messages of an imported session have an id of their place, since an earlier one had theirs."""
    repeated = 0
    for index, message in enumerate(session.messages):
        if message.id == message_id(FORMAT, session.id, index) and (items := native_items(message, FORMAT)):
            repeated += own_id(items[0]) not in {None, message.id}
    return repeated


def _of_its_place(message: Message, item: Json, session_id: str, index: int) -> Message:
    return msgspec.structs.replace(message, id=message_id(FORMAT, session_id, index), native=_native(item))


def from_session(head: SessionHead, messages: Iterable[Message]) -> Json:
    """The line that describes a session."""
    all_of_it = list(messages)
    items = [from_message(message, head.id, index, head.created_at) for index, message in enumerate(all_of_it)]
    return {**line_of(head, FORMAT, all_of_it), "messages": items}


# --- messages


def to_message(item: object, session_id: str, index: int, since: datetime) -> Message:
    """The message that `item` describes; `item` itself is kept in it if it says more than a `Message` can.

    Args:
        item: An OpenAI chat message.
        session_id, index: Its place.
        since: How old its session is, and so the message if it names no time.

    Raises:
        InputError: It is no object, or its role is unknown.
    """
    if not isinstance(item, dict):
        raise InputError(f"A message is a JSON object, not {kind_of(item)}.")
    message = read(item, id=own_id(item) or message_id(FORMAT, session_id, index))
    message = msgspec.structs.replace(message, created_at=moments.moment_in(item) or since)
    if from_message(message, session_id, index, since) == item:
        return message
    return msgspec.structs.replace(message, native=_native(item))


def _native(item: Json) -> Native:
    return Native(FORMAT, json.dumps(item, separators=(",", ":")).encode("ascii"))


def from_message(message: Message, session_id: str, index: int, since: datetime) -> Json:
    """The OpenAI chat message for `message`."""
    (item,) = items_of([message], FORMAT, _read, _write)
    if "id" not in item and message.id != message_id(FORMAT, session_id, index):
        item["id"] = message.id
    if message.created_at != since and not moments.has_moment(item):
        item[moments.CREATED_AT] = moments.text_of(message.created_at)
    return item


def _read(items: Sequence[Json]) -> list[Message]:
    return [read(item) for item in items]


def _write(messages: Sequence[Message]) -> list[Json]:
    return [write(message) for message in messages]
