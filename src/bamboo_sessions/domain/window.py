"""Windows on a history, cut at the borders of call groups only (L54), and the view that a model may see (L93)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from bamboo_sessions.domain.call_groups import Kind, call_groups, groups_of, kind_of
from bamboo_sessions.domain.message import Message, is_tool_result


def first_of_window(messages: Sequence[Message], limit: int, *, has_earlier: bool) -> int | None:
    """Where the newest window of at most `limit` messages begins: never inside a call group, nor at a tool's result.

    It is shorter than `limit` where that would cut a group, and longer if one group alone is longer.

    Args:
        messages: The newest ones of what is asked for, more than `limit` if there are.
        limit: How many there may be.
        has_earlier: Whether the history has messages in front of these.

    Returns:
        The place; `None` if only earlier messages can tell.
    """
    start = max(0, len(messages) - limit)
    if messages and kind_of(messages[start]) is Kind.OTHER:
        return start  # that ends every group, so the others needn't be looked at
    kinds = [kind_of(message) for message in messages]
    inside = _inside(kinds)
    if has_earlier:
        open_until = next(call_groups([Kind.CALL, *kinds])).end - 1  # what may belong to a group that begins earlier
        if Kind.CALL in kinds[start:open_until]:
            return None
        inside.update(range(open_until))
    borders = (place for place in _from(start, len(messages)) if place not in inside)
    return next((place for place in borders if kinds[place] is not Kind.RESULT or not (place or has_earlier)), None)


def newest(messages: Sequence[Message], limit: int) -> Sequence[Message]:
    """The newest window of at most `limit` messages (1 or more); looks at no more of them than it has to."""
    count = limit + 1
    while len(messages) > limit:
        shown = messages[-count:]
        start = first_of_window(shown, limit, has_earlier=len(shown) < len(messages))
        if start is not None:
            return shown[start:]
        count *= 2
    return messages


def _from(start: int, stop: int) -> Iterable[int]:
    """The places from `start` on, then those before it, nearest first."""
    return chain(range(start, stop), range(start - 1, -1, -1))


def end_of_window(messages: Sequence[Message], limit: int, *, has_later: bool) -> int | None:
    """Where the oldest window of at most `limit` messages ends (exclusive), as `first_of_window` at the other end.

    Args:
        messages: The oldest ones of what is asked for, more than `limit` if there are.
        limit: How many there may be.
        has_later: Whether the history has messages behind these.
    """
    if len(messages) <= limit:
        return len(messages)
    kinds = [kind_of(message) for message in messages]
    inside = _inside(kinds, goes_on=has_later)
    borders = (place for place in chain(range(limit, 0, -1), range(limit + 1, len(messages))) if place not in inside)
    found = next((place for place in borders if kinds[place] is not Kind.RESULT), None)
    return len(messages) if found is None and not has_later else found


def _inside(kinds: Sequence[Kind], *, goes_on: bool = False) -> set[int]:
    """The places between messages of one group. `goes_on`: the last group may go on behind what is known."""
    inside: set[int] = set()
    for group in call_groups(kinds):
        is_open = goes_on and group.reach == len(kinds)
        inside.update(range(group.start + 1, group.reach + 1 if is_open else group.end))
    return inside


def model_view(messages: Sequence[Message]) -> tuple[Message, ...]:
    """What can be sent to a model: no events, no calls without a result, no results without their call.

    Each call has one result in its group: of several the last, and as many as there are calls of one id. A message
    that says something keeps its text when its unanswered calls are left out (and loses its native form, which has
    them still); one of the assistant that says nothing then is left out. Parallel calls stay in the messages that make
    them: the formats join what a provider wants in one.
    """
    view: list[Message] = []
    behind = 0
    for group in groups_of(messages):
        view += _spoken(messages[behind : group.start])
        behind = group.end
        view += _whole(messages[group.start : behind])
    return (*view, *_spoken(messages[behind:]))


def _spoken(messages: Sequence[Message]) -> list[Message]:
    """What isn't in a group, without events and results."""
    spoken = [message for message in messages if message.role not in {"tool", "event"}]
    return [_without_calls(message) for message in spoken if message.role != "assistant" or _says_something(message)]


def _without_calls(message: Message) -> Message:
    return msgspec.structs.replace(message, tool_calls=(), native=None) if message.tool_calls else message


def _says_something(message: Message) -> bool:
    """Whether it has content or a call, or a framework's own item, which nobody here can read."""
    return bool(message.content or message.tool_calls or message.native)


def _whole(group: Sequence[Message]) -> list[Message]:
    """A group with the calls that have a result, the nearest first, and these results, the last first."""
    called = Counter(call.id for message in group if message.role == "assistant" for call in message.tool_calls)
    answered = Counter(message.tool_call_id for message in group if is_tool_result(message))
    calls = Counter({id_: min(count, answered[id_]) for id_, count in called.items()})
    results = Counter[str | None](calls)
    whole: list[Message] = []
    for message in reversed(group):
        if message.role == "assistant":
            shown = _with_calls(message, calls)
            whole += [shown] if _says_something(shown) else []
        elif is_tool_result(message) and results[message.tool_call_id] > 0:
            results[message.tool_call_id] -= 1
            whole.append(message)
    return whole[::-1]


def _with_calls(message: Message, left: Counter[str]) -> Message:
    """The message with those of its calls that are among `left`, and these taken out of it, the last first."""
    kept = []
    for call in reversed(message.tool_calls):
        if left[call.id] > 0:
            left[call.id] -= 1
            kept.append(call)
    if len(kept) == len(message.tool_calls):
        return message
    return msgspec.structs.replace(message, tool_calls=tuple(reversed(kept)), native=None)
