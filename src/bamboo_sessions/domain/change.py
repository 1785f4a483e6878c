"""The change feed: what a commit did, as a subscriber learns of it (G11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal, get_args

from bamboo_sessions.domain import json
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.merge import REGISTERS, group_changed
from bamboo_sessions.domain.values import Value

ChangeKind = Literal["created", "messages", "questions", "authoritative", "head", "usage", "records", "deleted"]
_REGISTERS_OF: Final = attrgetter(*REGISTERS)
KINDS: Final[tuple[ChangeKind, ...]] = get_args(ChangeKind)
"""All kinds of change, in the order in which a change lists its own."""


class SessionChange(Value, frozen=True):
    """One commit of one session.

    Args:
        position: Where the commit is in the feed: resume with `changes(after=position)`.
        session_id: Which session.
        revision: The revision that the commit made.
        kinds: What it changed: `created`; `messages` added, edited or removed; `questions`; `authoritative` (title,
            pin, archive, values that a person set); `head` (other fields); `usage`; `records`; `deleted`.
        message_ids: The messages that it added, in the order of the conversation; edited and removed ones, and those
            that a fork begins with, are not among them. Empty once the session was deleted.
        at: When it was made, by the clock of the process that made it.
    """

    position: str
    session_id: str
    revision: int
    kinds: tuple[ChangeKind, ...]
    message_ids: tuple[str, ...]
    at: datetime


def head_kinds(before: SessionHead | None, after: SessionHead) -> tuple[ChangeKind, ...]:
    """What a commit changes of a head; `before` is `None` for a new session."""
    if before is None:
        return ("questions",) if after.questions else ()
    changed: dict[ChangeKind, bool] = {
        "questions": after.questions != before.questions,
        "authoritative": group_changed(before, after) or after.owner != before.owner,
        "head": not all(map(json.same, _REGISTERS_OF(before), _REGISTERS_OF(after)))
        or not json.same(_plain_metadata(before, after), _plain_metadata(after, before)),
    }
    return tuple(kind for kind, is_so in changed.items() if is_so)


def _plain_metadata(head: SessionHead, other: SessionHead) -> Mapping[str, Any]:
    """The metadata that no person set, on either side."""
    keys = head.authoritative_keys | other.authoritative_keys
    if not keys:
        return head.metadata
    return json.FrozenDict({key: value for key, value in head.metadata.items() if key not in keys})
