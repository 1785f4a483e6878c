"""A whole session as JSON and back, with its counters: for storages of one's own that keep sessions as documents.

The document of a copy with unsaved work has its base in it, so that nothing of the work is taken for committed (L117).
Of the base's messages only those are written out that the copy hasn't as they are; the others are there by their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import copy_with_changes, copy_without_base, freeze, is_clean, link_of


class _Base(msgspec.Struct, frozen=True):
    head: SessionHead
    messages: list[str | Message]


class _Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """`base` is left out if the copy is as it was loaded, and `None` if it never was."""

    head: SessionHead
    messages: list[Message]
    base: _Base | msgspec.UnsetType | None = msgspec.UNSET
    replaced: Mapping[str, tuple[str, ...]] = {}


_DOCUMENT: Final = msgspec.json.Decoder(_Document)


def session_to_json(session: Session) -> bytes:
    """The session's present state as JSON bytes, lossless for every text (L94), unsaved work too.

    Raises `InputError` if a value can't be stored.
    """
    base = link_of(session).base
    if base is not None and is_clean(session):
        return json.encode(_Document(base.head, list(base.messages)))
    draft = freeze(session)
    document = _Document(draft.head, list(draft.messages), None, dict(draft.replaced))
    if base is not None:
        kept = {id(message) for message in draft.messages}
        messages = [message.id if id(message) in kept else message for message in base.messages]
        document = msgspec.structs.replace(document, base=_Base(base.head, messages))
    return json.encode(document)


def session_from_json(data: bytes, *, clock: Clock = SYSTEM_CLOCK) -> Session:
    """The session in what `session_to_json` gave: a copy with the same base and the same unsaved work.

    What it says of its base is compared with storage by its next save, and refused if it isn't so.

    Raises:
        StorageCorruptError: It is no such document.
    """
    document = json.decode(data, _DOCUMENT, what="A stored session")
    messages = FrozenMessages(document.messages)
    if document.base is None:
        return copy_without_base(document.head, messages, clock)
    base = Snapshot(document.head, messages, len(data))
    if document.base is not msgspec.UNSET:
        base = Snapshot(document.base.head, _base_messages(document.base, messages), len(data))
    session = copy_with_changes(base, document.head, messages, document.replaced, clock)
    link_of(session).is_foreign = True
    return session


def _base_messages(base: _Base, messages: FrozenMessages) -> FrozenMessages:
    found = [messages.find(item) if isinstance(item, str) else item for item in base.messages]
    known = [message for message in found if message is not None]
    if len(known) < len(found):
        raise StorageCorruptError("A stored session names messages that it hasn't.", hint="Load the session again.")
    return FrozenMessages(known)
