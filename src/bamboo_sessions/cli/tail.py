"""`tail`: the end of a conversation, and what comes, as it comes.

The feed only says when to look: what is shown is the difference between two snapshots, so that many commits at once are
shown as one, and edits, removals and results that join an earlier call are noticed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final

import click
import msgspec

from bamboo_sessions.cli.arguments import session_argument
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.failures import NOT_FOUND, CommandFailedError
from bamboo_sessions.cli.live import run_live
from bamboo_sessions.cli.output import Line, json_option, note, print_json_line, print_lines
from bamboo_sessions.cli.render import View, asked, heading, spoken
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted, one_line
from bamboo_sessions.domain.change import SessionChange
from bamboo_sessions.domain.errors import SessionNotFoundError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion, changed_since
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import link_of
from bamboo_sessions.repository import SessionRepository

LINES_DEFAULT: Final = 10
_TEXT_CHARS_MAX: Final = 120


@click.command()
@session_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=LINES_DEFAULT,
    metavar="N",
    help=f"Begin with the newest N messages. Default: {LINES_DEFAULT}.",
)
@click.option("-f", "--follow/--no-follow", default=True, help="Wait for what comes. Default: yes.")
@click.option("--tools", is_flag=True, help="Tool calls, results and system prompts in full.")
@click.option("--wait", is_flag=True, help="Wait for the session if there is none yet.")
@json_option
@click.pass_obj
def tail(store: Store, *, session_id: str, limit: int, follow: bool, tools: bool, wait: bool, as_json: bool) -> None:
    """Follow a conversation live.

    The newest messages, then new ones as they come, whoever writes them. Ends when the session is deleted.

    \b
    Examples:
      bamboo-sessions tail chat-42
      bamboo-sessions tail chat-42 -n 0 --json | jq -r 'select(.type == "message").message.content'
    """
    show = _Json() if as_json else _Text(unfold=tools)

    async def work(sessions: SessionRepository) -> None:
        position = await sessions.feed_position()  # before the state is read, so that nothing falls in between
        async with aclosing(sessions.changes(after=position)) as feed:
            shown = await _snapshot(sessions, session_id)
            if shown is None:
                if not wait:
                    raise SessionNotFoundError(session_id)
                note(f"Waiting for session {session_id!r} in {store.place}.")
                shown = await _begun(sessions, session_id, feed)
            show.beginning(shown, limit)
            if follow:
                await _follow(sessions, shown, feed, show)

    run_live(store, work, waits=wait)


async def _snapshot(sessions: SessionRepository, session_id: str) -> Snapshot | None:
    session = await sessions.load(session_id)
    return link_of(session).base if session is not None else None


async def _begun(sessions: SessionRepository, session_id: str, feed: AsyncGenerator[SessionChange, None]) -> Snapshot:
    """Wait until the session is there."""
    async for change in feed:
        if change.session_id == session_id and (found := await _snapshot(sessions, session_id)) is not None:
            return found
    raise AssertionError  # a live feed ends by an error only


async def _follow(
    sessions: SessionRepository, shown: Snapshot, feed: AsyncGenerator[SessionChange, None], show: _Text | _Json
) -> None:
    session_id = shown.head.id
    async for change in feed:
        if change.session_id != session_id or change.revision <= shown.revision:
            continue
        current = await _snapshot(sessions, session_id)
        if current is None or current.head.incarnation != shown.head.incarnation:
            raise CommandFailedError(f"Session {session_id!r} was deleted.", exit_code=NOT_FOUND)
        show.news(news(shown, current), current)
        shown = current


class News(msgspec.Struct, frozen=True):
    """What happened between two snapshots of a session."""

    messages: tuple[Message, ...]
    edited: tuple[Message, ...]
    removed: tuple[str, ...]
    questions: tuple[PendingQuestion, ...]


def news(before: Snapshot, after: Snapshot) -> News:
    """What is in `after` and not in `before`, and the other way round."""
    known = {message.id: message for message in before.messages}
    living = {message.id for message in after.messages}
    return News(
        messages=tuple(message for message in after.messages if message.id not in known),
        edited=tuple(m for m in after.messages if m.id in known and known[m.id] is not m and known[m.id] != m),
        removed=tuple(id_ for id_ in known if id_ not in living),
        questions=changed_since(before.head.questions, after.head.questions),
    )


class _Text:
    """Shows it to a person."""

    def __init__(self, *, unfold: bool) -> None:
        self._unfold = unfold

    def beginning(self, snapshot: Snapshot, limit: int) -> None:
        """Show the newest messages, and what is asked."""
        print_lines(heading(snapshot.head))
        self._print_messages(snapshot, _newest(snapshot, limit))
        self._print_questions(snapshot, tuple(each for each in snapshot.head.questions if each.is_open))

    def news(self, what: News, snapshot: Snapshot) -> None:
        """Show what happened."""
        if what.removed:
            print_lines([Line(((f"– {counted(len(what.removed), 'message')} removed", "dim italic"),))])
        for message in what.edited:
            text = one_line(message.text, _TEXT_CHARS_MAX)
            print_lines([Line((("✎ edited: ", "dim italic"), (text, "dim")), cut=True)])
        self._print_messages(snapshot, what.messages)
        self._print_questions(snapshot, what.questions)

    def _print_messages(self, snapshot: Snapshot, messages: tuple[Message, ...]) -> None:
        view = View(
            snapshot.head,
            messages,
            has_earlier=False,
            is_live=True,
            unfold_tools=self._unfold,
            unfold_prompts=self._unfold,
        )
        print_lines(spoken(view))

    def _print_questions(self, snapshot: Snapshot, questions: tuple[PendingQuestion, ...]) -> None:
        for question in questions:
            print_lines(_question_lines(snapshot.head.id, question))


def _question_lines(session_id: str, question: PendingQuestion) -> Iterator[Line]:
    if question.is_open:
        yield Line()
        yield from asked(session_id, question)
    elif question.state == "answered":
        yield Line((("✓ answered: ", "green"), (one_line(question.answer or "", _TEXT_CHARS_MAX), "")), cut=True)
    elif question.state == "withdrawn":
        text = one_line(question.question, _TEXT_CHARS_MAX)
        yield Line((("– question withdrawn: ", "dim italic"), (text, "dim")), cut=True)


class _Json:
    """Prints a JSON line for each thing."""

    def beginning(self, snapshot: Snapshot, limit: int) -> None:
        """Show the newest messages, and what is asked."""
        open_ones = tuple(question for question in snapshot.head.questions if question.is_open)
        self.news(News(_newest(snapshot, limit), (), (), open_ones), snapshot)

    def news(self, what: News, snapshot: Snapshot) -> None:
        """Show what happened."""
        if what.removed:
            self._print("removed", snapshot, message_ids=list(what.removed))
        for message in what.edited:
            self._print("edited", snapshot, message=document(message))
        for message in what.messages:
            self._print("message", snapshot, message=document(message))
        for question in what.questions:
            self._print("question", snapshot, question=document(question))

    def _print(self, kind: str, snapshot: Snapshot, **fields: Any) -> None:  # noqa: ANN401 - any JSON
        print_json_line({"type": kind, "revision": snapshot.revision, **fields})


def _newest(snapshot: Snapshot, limit: int) -> tuple[Message, ...]:
    count = len(snapshot.messages)
    return tuple(snapshot.messages[max(0, count - limit) :])
