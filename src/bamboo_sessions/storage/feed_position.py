"""Places in a feed whose commits are numbered in their order, as the engines in memory and on SQLite have it.

A position names the store's epoch, a number that rises with each commit of the store, whatever its namespace, and a
mark of that very commit: a store that was restored from an older copy gives numbers again, and must not be taken for
the same (L123). Above the engine a position is an opaque text, which sorts as the commits do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Final, NamedTuple

from bamboo_sessions.domain.errors import InputError, PositionExpiredError

_DIGITS: Final = 19
_NUMBER_MAX: Final = 2**63 - 1
_POSITION: Final = re.compile(rf"([!-9;-~]{{1,128}}):([0-9]{{{_DIGITS}}}):([0-9a-f]{{0,64}})")


class FeedPosition(NamedTuple):
    """A place in the feed, behind the commit with this number; 0: before all of them.

    `mark` tells that commit from another one that a restored store gives the same number; empty before all of them.
    """

    epoch: str
    number: int
    mark: str = ""

    def __str__(self) -> str:
        """As callers keep it."""
        return f"{self.epoch}:{self.number:0{_DIGITS}}:{self.mark}"


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


def check_kept(position: FeedPosition, there: FeedPosition, bounds: FeedBounds) -> None:
    """Raise `PositionExpiredError` unless every commit behind `position` is kept.

    Args:
        position: Where a subscriber is.
        there: What the store has at this number; at the floor, the last commit that was pruned.
        bounds: What is kept now.
    """
    oldest = str(bounds.oldest)
    if position.epoch != bounds.newest.epoch:
        raise PositionExpiredError(str(position), reason="other_epoch", oldest=oldest)
    if position.number > bounds.newest.number:
        raise PositionExpiredError(str(position), reason="restored", oldest=oldest)
    if position.number < bounds.oldest.number:
        raise PositionExpiredError(str(position), reason="pruned", oldest=oldest)
    if position.mark != there.mark:
        raise PositionExpiredError(str(position), reason="restored", oldest=oldest)


def due(logged: Iterable[datetime], *, before: datetime, now: datetime) -> int:
    """How many of the oldest commits may be forgotten, by the times at which the engine logged them.

    All up to the first that was logged from `before` on. A time ahead of `now` was a wrong clock's, and says nothing:
    such a commit goes with the next one whose time can be right (L129).
    """
    count = 0
    for index, at in enumerate(logged, 1):
        if before <= at <= now:
            break
        if at < before:
            count = index
    return count
