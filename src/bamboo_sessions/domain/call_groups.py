"""Call groups: tool calls and their results, as one place in a history.

A group is a run of neighbouring assistant messages that begins and ends with one that makes tool calls (texts of the
assistant and events may stand between), and the tool messages behind it. Nothing else ever stands between its first
call and its last result, for providers accept nothing else. Merging, appending, windows, the model's view, reports and
`check` read histories by what is in this module, and `domain.placing` builds them by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Final, NamedTuple

from bamboo_sessions.domain.message import Message, ToolCall, is_tool_result


class Kind(Enum):
    """What a message is to call groups."""

    CALL = "an assistant's message that makes tool calls"
    TEXT = "an assistant's message that makes none"
    EVENT = "an event"
    RESULT = "a tool's message, whether or not it says whose result it is"
    OTHER = "what a person or the system says"


_KINDS: Final = {"assistant": Kind.TEXT, "event": Kind.EVENT, "tool": Kind.RESULT}


def kind_of(message: Message) -> Kind:
    """What `message` is to call groups."""
    if message.tool_calls and message.role == "assistant":
        return Kind.CALL
    return _KINDS.get(message.role, Kind.OTHER)  # as `kind_of_role`, which is a call more for each message of a page


def kind_of_role(role: str) -> Kind:
    """What a message of this role that makes no calls is to call groups."""
    return _KINDS.get(role, Kind.OTHER)


def makes_call(message: Message, call_id: str | None) -> bool:
    """Whether `message` makes the tool call `call_id`."""
    return message.role == "assistant" and any(call.id == call_id for call in message.tool_calls)


def belongs(kind: Kind, *, in_run: bool, text_since: bool) -> bool | None:
    """Whether a message of this kind belongs to the group in front of it; `None`: it ends that group.

    `False`: it may stand between members, so that the group goes on if one follows.

    Args:
        kind: The message's kind.
        in_run: Whether the group has no results yet, so that further calls belong to it.
        text_since: Whether a text of the assistant has followed its last member.
    """
    match kind:
        case Kind.CALL:
            return True if in_run else None
        case Kind.RESULT:
            return None if text_since else True
        case Kind.TEXT:
            return False if in_run else None
        case Kind.EVENT:
            return False
        case _:
            return None


class CallGroup(NamedTuple):
    """A group in a history: from its first call, at `start`, up to `end` (exclusive).

    Args:
        start, end: Where it stands.
        in_run: Whether it has no results, so that a further call would belong to it.
        text: The first text of the assistant from `end` on, or `reach`: a result behind that wouldn't belong to it.
        reach: The first message that surely ends it, or where the history ends.
    """

    start: int
    end: int
    in_run: bool
    text: int
    reach: int


def call_groups(kinds: Iterable[Kind]) -> Iterator[CallGroup]:
    """The groups of a history, in order; each is given as soon as the message that ends it was looked at."""
    scan: GroupScan | None = None
    count = 0
    for index, kind in enumerate(kinds):
        count = index + 1
        if scan is not None and not scan.takes(kind, index):
            yield scan.group(index)
            scan = None
        if scan is None and kind is Kind.CALL:
            scan = GroupScan(index)
    if scan is not None:
        yield scan.group(count)


class GroupScan:
    """A group while it is being read."""

    __slots__ = ("end", "in_run", "start", "text")

    def __init__(self, start: int) -> None:
        self.start, self.end = start, start + 1
        self.in_run = True
        self.text: int | None = None

    def takes(self, kind: Kind, index: int) -> bool:
        """Go on by one message; `False`: that ends the group."""
        member = belongs(kind, in_run=self.in_run, text_since=self.text is not None)
        if member:
            self.end, self.in_run, self.text = index + 1, kind is Kind.CALL, None
        elif kind is Kind.TEXT and self.text is None:
            self.text = index
        return member is not None

    def group(self, reach: int) -> CallGroup:
        """What was read, up to `reach`."""
        return CallGroup(self.start, self.end, self.in_run, reach if self.text is None else self.text, reach)


def groups_of(messages: Iterable[Message]) -> Iterator[CallGroup]:
    """The groups of these messages, in order."""
    return call_groups(map(kind_of, messages))


# --- calls and their results


def unanswered_calls(messages: Sequence[Message]) -> list[tuple[int, ToolCall]]:
    """The calls that have no result in their group, each with the place behind that; of several of one id the first."""
    return [
        (group.end, call) for group in groups_of(messages) for call in _unanswered(messages[group.start : group.end])
    ]


def _unanswered(group: Sequence[Message]) -> list[ToolCall]:
    answered = Counter(message.tool_call_id for message in group if is_tool_result(message))
    unanswered: list[ToolCall] = []
    for call in reversed([call for message in group if message.role == "assistant" for call in message.tool_calls]):
        if answered[call.id] > 0:
            answered[call.id] -= 1
        else:
            unanswered.append(call)
    return unanswered[::-1]


def orphans(messages: Sequence[Message]) -> list[str]:
    """The ids of tool results that don't stand in a group that makes their call."""
    found: list[str] = []
    behind = 0
    for group in groups_of(messages):
        found += _results_without(messages[behind : group.start], frozenset())
        behind = group.end
        members = messages[group.start : behind]
        found += _results_without(members, {call.id for message in members for call in message.tool_calls})
    return found + _results_without(messages[behind:], frozenset())


def _results_without(messages: Sequence[Message], called: AbstractSet[str]) -> list[str]:
    return [each.id for each in messages if is_tool_result(each) and each.tool_call_id not in called]
