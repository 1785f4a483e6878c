"""The part of three histories in which they differ, so that merging a small change of a long one costs little.

Outside of it all three have the very same messages. It begins and ends with a message that no call group reaches over,
which all three have: nothing that a merge does inside depends on what is outside, but for results whose call is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message, is_tool_result

_BORDERS: Final = frozenset({"user", "system", "developer"})
"""Who never speaks inside a call group."""


class Window(NamedTuple):
    """How many messages the three histories share before and behind what is to be merged; and that, of each."""

    before: int
    behind: int
    base: FrozenMessages
    mine: FrozenMessages
    durable: FrozenMessages


def window_of(base: FrozenMessages, mine: FrozenMessages, durable: FrozenMessages) -> Window | None:
    """The part of the three that has to be merged; `None`: all of it.

    Costs as much as the chunks that they don't share, and the way to the next border.
    """
    before = min(base.shared_start(mine), base.shared_start(durable))
    before = _border(mine, range(before - 1, 0, -1))
    left = min(map(len, (base, mine, durable))) - before
    behind = min(base.shared_end(mine), base.shared_end(durable), left)
    behind = len(mine) - _border(mine, range(len(mine) - behind, len(mine)), otherwise=len(mine) - 1) - 1
    if not (before or behind):
        return None
    parts = [FrozenMessages(side[before : len(side) - behind]) for side in (base, mine, durable)]
    if _has_distant_call(parts[1]) or _has_distant_call(parts[2]):
        return None
    return Window(before, behind, *parts)


def _border(messages: Sequence[Message], places: Iterable[int], otherwise: int = 0) -> int:
    """The first of `places` that has a border."""
    return next((place for place in places if messages[place].role in _BORDERS), otherwise)


def _has_distant_call(messages: Iterable[Message]) -> bool:
    """Whether a result belongs to a call that isn't before it among `messages`."""
    made: set[str | None] = set()
    for message in messages:
        if is_tool_result(message) and message.tool_call_id not in made:
            return True
        made.update(call.id for call in message.tool_calls)
    return False
