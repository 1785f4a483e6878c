"""A whole session as JSON and back, with its counters: for storages of one's own that keep sessions as documents."""

from __future__ import annotations

from typing import Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_of, freeze


class _Document(msgspec.Struct, frozen=True):
    head: SessionHead
    messages: list[Message]


_DOCUMENT: Final = msgspec.json.Decoder(_Document)


def session_to_json(session: Session) -> bytes:
    """The session's present state as JSON bytes, lossless for every text (L94). Raises `InputError`."""
    draft = freeze(session)
    return json.encode(_Document(draft.head, list(draft.messages)))


def session_from_json(data: bytes, *, clock: Clock = SYSTEM_CLOCK) -> Session:
    """The session in what `session_to_json` gave, as it was stored. Raises `StorageCorruptError`."""
    document = json.decode(data, _DOCUMENT, what="A stored session")
    return copy_of(Snapshot(document.head, FrozenMessages(document.messages), len(data)), clock)
