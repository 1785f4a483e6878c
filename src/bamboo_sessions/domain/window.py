"""Windows on a history, cut at tool-pair borders only (L54), and the view that a model may see (L93)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from bamboo_sessions.domain.message import Message


def first_of_window(messages: Sequence[Message], limit: int) -> int | None:
    """Where the newest window of at most `limit` messages begins: never at a tool's result.

    It is shorter than `limit` where that would cut a tool pair, and longer if one pair alone is longer.
    `None` if the pair begins before `messages` do, so that more have to be read.
    """
    start = max(0, len(messages) - limit)
    return _first_border(messages, chain(range(start, len(messages)), range(start - 1, -1, -1)))


def end_of_window(messages: Sequence[Message], limit: int) -> int | None:
    """Where the oldest window of at most `limit` messages ends (exclusive); `None` if more have to be read.

    `messages` must have more than `limit` unless these are all: else nobody knows whether a result follows.
    """
    if len(messages) <= limit:
        return len(messages)
    return _first_border(messages, chain(range(limit, 0, -1), range(limit + 1, len(messages))))


def _first_border(messages: Sequence[Message], places: Iterable[int]) -> int | None:
    """The first of `places` that isn't between a call and its results."""
    return next((place for place in places if messages[place].role != "tool"), None)


def model_view(messages: Sequence[Message]) -> tuple[Message, ...]:
    """What can be sent to a model: no events, no calls without all their results, no results without their call.

    A message that says something keeps its text when its unanswered calls are left out (and loses its native form,
    which has them still).
    """
    spoken = [message for message in messages if message.role != "event"]
    view: list[Message] = []
    index = 0
    while index < len(spoken):
        message = spoken[index]
        index += 1
        if message.role == "tool":
            continue  # its call isn't directly before it
        results: list[Message] = []
        while index < len(spoken) and spoken[index].role == "tool":
            results.append(spoken[index])
            index += 1
        view.extend(_whole(message, results) if message.tool_calls else [message])
    return tuple(view)


def _whole(message: Message, results: Sequence[Message]) -> list[Message]:
    """A message with the calls that have a result, and these results: of several for one call, the last."""
    latest = {result.tool_call_id: result for result in results}
    calls = tuple(call for call in message.tool_calls if call.id in latest)
    if not calls and not message.content:
        return []
    whole = message
    if len(calls) < len(message.tool_calls):
        whole = msgspec.structs.replace(message, tool_calls=calls, native=None)
    kept = {latest[call.id].id for call in calls}
    return [whole, *(result for result in results if result.id in kept)]
