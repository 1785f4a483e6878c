"""The change feed: what a commit did, as a subscriber learns of it, and where in the feed that was (G11).

A position names the store's epoch, a number that rises with each commit of the store, whatever its namespace, and that
very commit: a store that was restored from an older copy gives numbers again, and must not be taken for the same. For
callers a position is an opaque string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import InputError, PositionExpiredError, SubscriberTooSlowError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.merge import REGISTERS, group_changed

ChangeKind = Literal["created", "messages", "questions", "authoritative", "head", "usage", "records", "deleted"]
KINDS: Final[tuple[ChangeKind, ...]] = get_args(ChangeKind)
"""All kinds of change, in the order in which a change lists its own."""

_NUMBER_MAX: Final = 2**63 - 1
_POSITION: Final = re.compile(r"([!-9;-~]+):([0-9]{1,19}):([0-9a-f]*)")


class SessionChange(msgspec.Struct, frozen=True):
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


class FeedPosition(NamedTuple):
    """A place in the feed, behind the commit with this number; 0: before all of them.

    `mark` tells that commit from another one that a restored store gives the same number; empty where nobody knows.
    """

    epoch: str
    number: int
    mark: str = ""

    def __str__(self) -> str:
        """As callers keep it."""
        return f"{self.epoch}:{self.number}:{self.mark}"


def mark_of(commit_id: str) -> str:
    """The mark of a commit."""
    return blake2b(commit_id.encode(errors="surrogatepass"), digest_size=6).hexdigest()


def parse_position(text: str) -> FeedPosition:
    """The position that `text` names; raises `InputError` if it can't be one."""
    found = _POSITION.fullmatch(text) if isinstance(text, str) else None
    if found is None or int(found[2]) > _NUMBER_MAX:
        message = f"{text!r} is no position of the change feed."
        raise InputError(message, hint="Use the position of a change, or what feed_position() gave.")
    return FeedPosition(found[1], int(found[2]), found[3])


class FeedBounds(NamedTuple):
    """What a store keeps of its feed: the commits behind `oldest`, up to and including that of `newest`."""

    oldest: FeedPosition
    newest: FeedPosition


def check_position(position: FeedPosition, there: FeedPosition, bounds: FeedBounds, *, was_following: bool) -> None:
    """Raise unless every commit behind `position` is kept.

    Args:
        position: Where a subscriber is.
        there: What the store has at this number.
        bounds: What is kept now.
        was_following: Whether the subscriber was reading already, and what it hadn't read was pruned meanwhile.

    Raises:
        PositionExpiredError: It is older than what is kept, of another epoch, or of a commit that the store has lost.
        SubscriberTooSlowError: It is older than what is kept, and `was_following`.
    """
    oldest = str(bounds.oldest)
    if position.epoch != bounds.newest.epoch:
        raise PositionExpiredError(str(position), reason="other_epoch", oldest=oldest)
    is_another = bool(position.mark and there.mark) and position.mark != there.mark
    if is_another or position.number > bounds.newest.number:
        raise PositionExpiredError(str(position), reason="restored", oldest=oldest)
    if position.number < bounds.oldest.number:
        if was_following:
            raise SubscriberTooSlowError(str(position), oldest=oldest)
        raise PositionExpiredError(str(position), reason="pruned", oldest=oldest)


def head_kinds(before: SessionHead | None, after: SessionHead) -> tuple[ChangeKind, ...]:
    """What a commit changes of a head; `before` is `None` for a new session."""
    if before is None:
        return ("questions",) if after.questions else ()
    changed: dict[ChangeKind, bool] = {
        "questions": after.questions != before.questions,
        "authoritative": group_changed(before, after),
        "head": any(not json.same(getattr(before, name), getattr(after, name)) for name in REGISTERS)
        or not json.same(_plain_metadata(before, after), _plain_metadata(after, before)),
    }
    return tuple(kind for kind, is_so in changed.items() if is_so)


def _plain_metadata(head: SessionHead, other: SessionHead) -> Mapping[str, Any]:
    """The metadata that no person set, on either side."""
    keys = head.authoritative_keys | other.authoritative_keys
    if not keys:
        return head.metadata
    return json.FrozenDict({key: value for key, value in head.metadata.items() if key not in keys})
