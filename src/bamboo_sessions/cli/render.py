"""A conversation as lines that one likes to read: who speaks, what was said, and tool calls folded to one line each.

A call and its results are shown together, wherever the results stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import msgspec

from bamboo_sessions.cli.output import Line, shown_time
from bamboo_sessions.cli.text import badges, counted, folded, one_line, plain
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseInfo
from bamboo_sessions.domain.message import Message, Part, TextPart, ToolCall
from bamboo_sessions.domain.question import PendingQuestion, label_of

ARGUMENTS_CHARS_MAX: Final = 80
RESULT_CHARS_MAX: Final = 120
PROMPT_LINES_MAX: Final = 4
PROMPT_CHARS_MAX: Final = 400
_INDENT: Final = 2

_STYLES: Final = {
    "user": "bold cyan",
    "assistant": "bold green",
    "tool": "bold magenta",
    "system": "bold blue",
    "developer": "bold blue",
    "event": "bold dim",
}


class View(msgspec.Struct, frozen=True):
    """What to show of a session, and what of it in full."""

    head: SessionHead
    messages: tuple[Message, ...]
    has_earlier: bool
    is_live: bool = False  # what lacks a result may still get one
    lease: LeaseInfo | None = None
    unfold_tools: bool = False
    unfold_prompts: bool = False
    show_ids: bool = False


def rendered(view: View) -> Iterator[Line]:
    """The lines of a conversation."""
    yield from heading(view.head)
    if view.lease is not None:
        yield _running(view.lease)
    if view.head.pending_question is not None:
        yield Line()
        yield from asked(view.head.id, view.head.pending_question)
    if view.has_earlier:
        yield Line()
        yield Line((("… earlier messages are left out; --all or --limit N shows them", "dim"),))
    yield from spoken(view)
    if not view.messages:
        yield Line()
        yield Line((("No messages.", "dim"),))


def spoken(view: View) -> Iterator[Line]:
    """The lines of the messages alone."""
    results, folded_away = _results(view.messages)
    above: Message | None = None
    for index, message in enumerate(view.messages):
        if index in folded_away:
            continue
        if view.unfold_tools or view.show_ids or not _goes_on(above, message):
            yield Line()
            yield _speaker(message, with_id=view.show_ids)
        own = {call.id: results.get((index, call.id), []) for call in message.tool_calls}
        yield from _message(view, message, own)
        above = message


def _results(messages: tuple[Message, ...]) -> tuple[dict[tuple[int, str], list[Message]], set[int]]:
    """The results of each call (by the index of its message and its id), and the indices of these results.

    Providers reuse ids of calls: a result belongs to the latest call of its id before it.
    """
    results: dict[tuple[int, str], list[Message]] = {}
    latest: dict[str, int] = {}
    folded_away: set[int] = set()
    for index, message in enumerate(messages):
        if message.role == "tool" and message.tool_call_id in latest:
            results.setdefault((latest[message.tool_call_id], message.tool_call_id), []).append(message)
            folded_away.add(index)
        latest.update((call.id, index) for call in message.tool_calls)
    return results, folded_away


def heading(head: SessionHead) -> Iterator[Line]:
    """What a conversation is, and what is special about it."""
    yield Line(((one_line(head.title or head.id, 200), "bold"),))
    facts = [head.id] if head.title else []
    facts += [head.model] if head.model else []
    facts += [f"owner {head.owner}"] if head.owner else []
    facts += [counted(head.message_count, "message"), f"revision {head.revision}"]
    facts.append(f"changed {shown_time(head.updated_at)}")
    if head.forked_from is not None:
        facts.append(f"fork of {head.forked_from.session_id}")
    if head.parent_session_id is not None:
        facts.append(f"child of {head.parent_session_id}")
    words = [(f" · {word}", style) for word, style in badges(head) if word != "child"]
    yield Line(((plain(" · ".join(facts)), "dim"), *words))


def _running(lease: LeaseInfo) -> Line:
    until = f"until {shown_time(lease.expires_at)} unless renewed"
    waiting = f", {counted(lease.waiting, 'run')} waiting" if lease.waiting else ""
    return Line(((f"▶ {one_line(lease.holder, 200)} runs it", "green"), (f" · {until}{waiting}", "dim")))


def asked(session_id: str, question: PendingQuestion) -> Iterator[Line]:
    """A question that is open."""
    yield Line((("? ", "bold yellow"), ("The agent asks", "bold yellow"), (f" · {_id_of(question)}", "dim")))
    yield from _text(question.question)
    for option in question.options:
        yield Line((("• ", "yellow"), (one_line(label_of(option), 500), "")), _INDENT)
    if question.options and question.allow_custom:
        yield Line((("• ", "yellow"), ("or any other text", "dim")), _INDENT)
    yield Line(((f"Answer: bamboo-sessions answer {plain(session_id)} TEXT", "dim"),), _INDENT)


def _id_of(question: PendingQuestion) -> str:
    return plain(f"question {question.id}" + (f" · {question.source}" if question.source else ""))


def _goes_on(above: Message | None, message: Message) -> bool:
    """Whether `message` needs no heading: the speaker only called tools so far, and goes on."""
    if above is None or not above.tool_calls or above.content:
        return False
    return (above.role, above.name) == (message.role, message.name)


def _speaker(message: Message, *, with_id: bool) -> Line:
    name = f" {one_line(message.name, 60)}" if message.name else ""
    facts = f"  {shown_time(message.created_at)}" + (f"  {plain(message.id)}" if with_id else "")
    return Line(((message.role, _STYLES[message.role]), (name, ""), (facts, "dim")))


def _message(view: View, message: Message, results: dict[str, list[Message]]) -> Iterator[Line]:
    if message.reasoning:
        yield Line(((f"thinking: {one_line(message.reasoning, RESULT_CHARS_MAX)}", "dim italic"),), _INDENT)
    if message.role == "tool":
        yield from _lone_result(view, message)
    else:
        yield from _content(view, message)
    for call in message.tool_calls:
        show = _unfolded_call if view.unfold_tools else _folded_call
        yield from show(call, results.get(call.id, []), _missing(view, call))


def _content(view: View, message: Message) -> Iterator[Line]:
    if message.role in {"system", "developer"} and not view.unfold_prompts:
        begin, rest = folded(message.text, lines_max=PROMPT_LINES_MAX, chars_max=PROMPT_CHARS_MAX)
        yield from _text(begin, "dim")
        if rest:
            yield Line(((f"{rest}; --tools shows them", "dim italic"),), _INDENT)
    elif isinstance(message.content, str):
        yield from _text(message.content)
    else:
        for part in message.content:
            yield from _part(part)


def _part(part: Part) -> Iterator[Line]:
    if isinstance(part, TextPart):
        yield from _text(part.text)
        return
    kind = type(part).__name__.removesuffix("Part").lower()
    yield Line(((f"[{kind}] ", "yellow"), (one_line(part.url, RESULT_CHARS_MAX), "dim")), _INDENT, cut=True)
    transcript = getattr(part, "transcript", None)
    if transcript:
        yield from _text(transcript)


def _text(text: str, style: str = "") -> Iterator[Line]:
    if text:
        for line in plain(text).split("\n"):
            yield Line(((line, style),), _INDENT)


# --- tool calls


def _missing(view: View, call: ToolCall) -> list[tuple[str, str]]:
    """What to say where a call has no result."""
    if any(question.is_open and question.tool_call_id == call.id for question in view.head.questions):
        return [("… waits for an answer", "yellow")]
    return [] if view.is_live else [("… no result", "yellow")]


def _outcome(result: Message) -> tuple[str, str]:
    """How a result is marked, with its style."""
    if result.tool_success is None:
        return "=", "dim"
    return ("✓", "green") if result.tool_success else ("✗ failed:", "bold red")


def _folded_call(call: ToolCall, results: list[Message], missing: list[tuple[str, str]]) -> Iterator[Line]:
    arguments = one_line(call.arguments_text, ARGUMENTS_CHARS_MAX)
    pieces = [("→ ", "magenta"), (one_line(call.name, 100), "magenta"), (f"({arguments})", "dim")]
    for result in results:
        mark, style = _outcome(result)
        pieces += [(f" {mark} ", style), (one_line(result.text, RESULT_CHARS_MAX) or "(empty)", "")]
    if not results:
        pieces += [(f" {text}", style) for text, style in missing]
    yield Line(tuple(pieces), _INDENT, cut=True)


def _unfolded_call(call: ToolCall, results: list[Message], missing: list[tuple[str, str]]) -> Iterator[Line]:
    yield Line((("→ ", "magenta"), (one_line(call.name, 100), "magenta"), (f"  {plain(call.id)}", "dim")), _INDENT)
    for line in _pretty(call.arguments_text).split("\n"):
        yield Line(((line, "dim"),), 2 * _INDENT)
    for result in results:
        mark, style = _outcome(result)
        yield Line(((mark, style), (f" {shown_time(result.created_at)}", "dim")), _INDENT)
        for line in _pretty(result.text).split("\n"):
            yield Line(((line, ""),), 2 * _INDENT)
    if not results and missing:
        yield Line(tuple(missing), _INDENT)


def _lone_result(view: View, message: Message) -> Iterator[Line]:
    """A result whose call isn't shown."""
    mark, style = _outcome(message)
    of = plain(message.tool_call_id or "no call")
    if view.unfold_tools:
        yield Line(((mark, style), (f" result of {of}", "dim")), _INDENT)
        yield from _text(_pretty(message.text))
        return
    text = one_line(message.text, RESULT_CHARS_MAX) or "(empty)"
    yield Line(((f"{mark} ", style), (text, ""), (f"  (of {of})", "dim")), _INDENT, cut=True)


def _pretty(text: str) -> str:
    """JSON objects and arrays with one item on each line; any other text as it is."""
    if text[:1] in {"{", "["}:
        try:
            return plain(json.dumps(json.loads(text), ensure_ascii=False, indent=2))
        except (ValueError, RecursionError):
            pass
    return plain(text)
