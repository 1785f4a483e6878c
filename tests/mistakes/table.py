"""Mistakes that people make at the Python API, and the place that the answer has to name.

`python -m tests.mistakes.table` writes `docs/reference/mistakes.md`: what is typed, what is said.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import bamboo_sessions
from bamboo_sessions import Message, Session, SessionRepository

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "mistakes.md"
OURS: Final = str(ROOT / "src" / "bamboo_sessions")

MISTAKES: Final[dict[str, list[tuple[str, str]]]] = {
    "Making a message": [
        ('Message("user", "hi")', "Message"),
        ('Message(content="hi")', "role"),
        ('Message(role="human", content="hi")', "role"),
        ('Message(role=None, content="hi")', "role"),
        ('Message.user("hi", created=1)', "created"),
        ('Message.user("hi", metdata={})', "metdata"),
        ("Message.user(5)", "Message.content"),
        ('Message.user(b"hi")', "Message.content"),
        ("Message.user([5])", "Message.content[0]"),
        ('Message.user(["hi", {"type": "video", "url": "u"}])', "Message.content[1]"),
        ('Message.user([{"text": "hi"}])', "Message.content[0]"),
        ('Message.user([{"type": "text", "text": "hi", "cache_control": {}}])', "Message.content[0]"),
        ('Message.user([{"type": "image"}])', "Message.content[0]"),
        ('Message.user([{"type": "text", "text": 5}])', "Message.content[0].text"),
        ('Message.user({"a set"})', "Message.content"),
        ('Message.user("hi", id=5)', "message id"),
        ('Message.user("hi", id="")', "message id"),
        ('Message.user("hi", id="a\\nb")', "message id"),
        ('Message.user("hi", id="x" * 513)', "message id"),
        ('Message.user("hi", name=5)', "Message.name"),
        ('Message.user("hi", reasoning=["a"])', "Message.reasoning"),
        ('Message.user("hi", created_at=datetime(2026, 1, 1))', "Message.created_at"),
        ('Message.user("hi", created_at="yesterday")', "Message.created_at"),
        ('Message.user("hi", created_at="2026-01-01T12:00:00")', "Message.created_at"),
        ('Message.user("hi", created_at=1_767_225_600_000)', "Message.created_at"),
        ('Message.user("hi", metadata="tags")', "Message.metadata"),
        (
            'Message.user("hi", metadata={"order": {"lines": [{"amount": Decimal(1)}]}})',
            "metadata.order.lines[0].amount",
        ),
        ('Message.user("hi", metadata={"at": datetime.now(UTC)})', "metadata.at"),
        ('Message.user("hi", metadata={"tags": {"a", "b"}})', "metadata.tags"),
        ('Message.user("hi", metadata={"raw": b"x"})', "metadata.raw"),
        ('Message.user("hi", metadata={1: "one"})', "metadata"),
        ('Message.user("hi", metadata={"x": float("nan")})', "metadata.x"),
        ('Message.user("hi", native={"role": "user"})', "Message.native"),
        ('Message.tool("42", tool_call_id=5)', "Message.tool_call_id"),
        ('Message.tool("42", tool_call_id="c", tool_success="yes")', "Message.tool_success"),
        ('Message.user("hi").replace(text="ho")', "text"),
        ('Message.from_dict({"role": "user", "text": "hi"})', "text"),
        ('Message.from_dict("hi")', "A message"),
    ],
    "Tool calls and parts": [
        ("ToolCall()", "id"),
        ("ToolCall(5, 'look')", "ToolCall.id"),
        ("ToolCall('c', 'look', [1])", "ToolCall.arguments"),
        ("ToolCall('c', 'look', {'a': [Decimal(1)]})", "ToolCall.arguments.a[0]"),
        ("Message.assistant(None, 'look')", "Message.tool_calls"),
        ("Message.assistant(None, ['look'])", "Message.tool_calls[0]"),
        ("Message.assistant(None, [{'name': 'look'}])", "Message.tool_calls[0]"),
        ("Message.assistant(None, [{'id': 'c', 'name': 'look', 'args': {}}])", "Message.tool_calls[0]"),
        ("Message.assistant(None, [{'id': 5, 'name': 'look'}])", "Message.tool_calls[0].id"),
        ("TextPart(5)", "TextPart.text"),
        ("ImagePart(None)", "ImagePart.url"),
        ("ImagePart('u', size=5)", "size"),
        ("Native('openai', 'text')", "Native.data"),
    ],
    "A working copy": [
        ("Session(5)", "session id"),
        ('Session("")', "session id"),
        ('Session("a\\0b")', "session id"),
        ('Session("a", owner=5)', "owner"),
        ('Session("a", spawn_depth=-1)', "Session.spawn_depth"),
        ('Session("a", metadata=[1])', "Session.metadata"),
        ('Session("a", created_at=datetime(2026, 1, 1))', "Session.created_at"),
        ('Session("a", title=5)', "Session.title"),
        ('session.add_message("hi")', "str"),
        ('session.add_message({"role": "user", "content": "hi"})', "dict"),
        ("session.messages = []", "Session.messages"),
        ("session.messages.reverse()", "order"),
        ("session.messages.sort()", "order"),
        ('session.messages.append(Message.user("other", id="m"))', "'m'"),
        ('session.messages.insert(0, Message.user("hi", id="m"))', "'m'"),
        ('session.messages[9] = Message.user("hi")', "index 9"),
        ('session.id = "b"', "Session.id"),
        ('session.owner = "ada"', "Session.owner"),
        ("session.revision = 5", "Session.revision"),
        ('session.pinned = "yes"', "Session.pinned"),
        ("session.model = 5", "Session.model"),
        ("session.metadata = None", "Session.metadata"),
        ('session.metadata = {"x": Decimal(1)}', "Session.metadata.x"),
        ('session.updated_at = "now"', "Session.updated_at"),
        ("session.model_view(limit=0)", "limit"),
        ('session.set_pending_question("Really?")', "question"),
        ('session.consume_question("q")', "'q'"),
    ],
    "Questions and token usage": [
        ('PendingQuestion("c", "ask")', "question"),
        ('PendingQuestion("c", "ask", 5)', "PendingQuestion.question"),
        ('PendingQuestion("c", "ask", "Yes?", options="yes")', "PendingQuestion.options"),
        ('PendingQuestion("c", "ask", "Yes?", options=["yes", 5])', "PendingQuestion.options[1]"),
        ("TokenUsageRecord(input_tokens=-1)", "TokenUsageRecord.input_tokens"),
        ("TokenUsageRecord(output_tokens=1.5)", "TokenUsageRecord.output_tokens"),
        ("TokenUsageRecord(prompt_tokens=5)", "prompt_tokens"),
        ("TokenUsage(5, 3)", "TokenUsage"),
    ],
    "Opening a store": [
        ('SessionRepository.open("memory://").load("a")', "'load'"),
        ('SessionRepository.open("memory://").__enter__()', "async with"),
        ('SessionRepository.open("mysql://host/db")', "mysql://host/db"),
        ('SessionRepository.open("")', "''"),
        ("SessionRepository.open(5)", "int"),
        ('SessionRepository.open("agents.db", durability="none")', "durability"),
        ('SessionRepository.open("memory://", namespace="")', "namespace"),
        ("closed.load('a')", "closed"),
        ("closed.list_sessions()", "closed"),
    ],
    "Reading and writing": [
        ('sessions.get("nothing")', "'nothing'"),
        ('sessions.load("")', "session id"),
        ("sessions.load(5)", "session id"),
        ('sessions.save("a")', "str"),
        ('sessions.save(Session("a", namespace="other"))', "'other'"),
        ('sessions.create(Session("a"))', "'a'"),
        ('sessions.append("a")', "'a'"),
        ('sessions.append("a", "hi")', "str"),
        ('sessions.append("nothing", Message.user("hi"))', "'nothing'"),
        ('sessions.append("a", Message.user("other", id="m"))', "'m'"),
        ('sessions.append("a", Message.user("x", id="n"), Message.user("y", id="n"))', "'n'"),
        ('sessions.append("a", Message.user("hi"), if_revision="1")', "if_revision"),
        ('sessions.append("a", Message.user("hi"), if_revision=7)', "7"),
        ('sessions.append("new", Message.user("hi"), create="yes")', "create="),
        ('sessions.replace_history("a", [Message.user("hi"), "ho"])', "str"),
        ('sessions.rename("a", "")', "title"),
        ('sessions.rename("a", None)', "title"),
        ('sessions.set_value("a", 5, "x")', "key"),
        ('sessions.set_value("a", "x", Decimal(1))', "'x'"),
        ('sessions.truncate("a", after_message_id="z")', "'z'"),
        ('sessions.history("a", limit=0)', "limit"),
        ('sessions.history("a", after="z")', "'z'"),
        ('sessions.list_sessions(order="newest")', "order"),
        ("sessions.list_sessions(limit=5_000)", "limit"),
        ('sessions.list_sessions(cursor="nonsense")', "cursor"),
        ('sessions.answer("a", "q", "yes")', "'q'"),
        ('sessions.append_token_usage_record("a", 5)', "int"),
        ('sessions.update("a", asynchronous)', "update"),
        ('sessions.lease("a").__enter__()', "async with"),
        ('sessions.edit("a").__enter__()', "async with"),
    ],
}


class Answer(NamedTuple):
    """What the package says to a mistake."""

    error: BaseException
    text: str
    frames: int
    """Frames of the package in what a traceback shows, of all errors that it shows."""


async def answers() -> dict[str, Answer | None]:
    """What is said to each mistake, by what was typed; `None`: nothing."""
    closed = await SessionRepository.open("memory://")
    await closed.aclose()
    async with SessionRepository.open("memory://") as sessions:
        session = Session("a")
        session.add_message(Message.user("hi", id="m"))
        await sessions.create(session)
        names = {**vars(bamboo_sessions), "Decimal": Decimal, "datetime": datetime, "UTC": UTC}
        names |= {"sessions": sessions, "session": session, "closed": closed, "asynchronous": _asynchronous}
        return {typed: await _answer(typed, names) for rows in MISTAKES.values() for typed, _ in rows}


async def _asynchronous(session: Session) -> None:
    """What `update` can't run."""


async def _answer(typed: str, names: dict[str, Any]) -> Answer | None:
    is_statement = not isinstance(ast.parse(typed).body[0], ast.Expr)
    try:
        if is_statement:
            exec(typed, names)  # noqa: S102 - the table's own code
        else:
            result = eval(typed, names)  # noqa: S307 - likewise
            if inspect.isawaitable(result):
                await result
    except Exception as exc:  # noqa: BLE001 - whatever is said
        shown = list(_shown(exc))
        frames = [frame for each in shown for frame in traceback.extract_tb(each.__traceback__)]
        said = [str(exc), *getattr(exc, "__notes__", ())]
        return Answer(exc, "\n".join(said), sum(frame.filename.startswith(OURS) for frame in frames))
    return None


def _shown(error: BaseException) -> Iterator[BaseException]:
    """The errors of a traceback: it, and what it is told to come from."""
    yield error
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _shown(before)


def page() -> str:
    """The page: what is typed, what is said."""
    told = asyncio.run(answers())
    lines = [HEAD]
    for heading, rows in MISTAKES.items():
        lines += [f"## {heading}", "", "| typed | said |", "|---|---|"]
        for typed, _ in rows:
            answer = told[typed]
            said = "nothing" if answer is None else f"{type(answer.error).__name__}: {answer.text}"
            lines.append(f"| `{typed}` | {_cell(said)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("\n", "<br>").replace("|", "\\|").replace("<typed>", "typed").replace("*", "\\*")


HEAD: Final = """# What mistakes say

What the package answers to common mistakes: where it is, and what to do. In a traceback the hint stands below the
error; `exc.hint` has it, too. Here `session` is a working copy of a session `"a"` with one message `"m"`, `sessions`
is an open repository, and `closed` is one that was closed.

This page is written by `python -m tests.mistakes.table`, and a test compares it with what is said.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
