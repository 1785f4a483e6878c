"""The commands that change a session: append, answer, and what people set (G5)."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import click

from bamboo_sessions.cli.arguments import session_argument
from bamboo_sessions.cli.documents import document, head_of
from bamboo_sessions.cli.failures import NOT_FOUND, CommandFailedError
from bamboo_sessions.cli.output import json_option, note, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted, one_line
from bamboo_sessions.domain.errors import InputError, SessionNotFoundError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.message import ROLES, Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository import SessionRepository


def _text_or_stdin(text: str) -> str:
    """`text`, or all of stdin if it is `-`, less the line end that editors and `echo` add."""
    if text != "-":
        return text
    try:
        read = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as exc:
        raise InputError("What comes from stdin isn't UTF-8 text.", hint="Nothing was written.") from exc
    if not read:
        raise InputError("Nothing came from stdin.", hint="Pipe a text into it, or give the text itself.")
    return read.removesuffix("\n").removesuffix("\r")


# --- append


@click.command()
@session_argument
@click.argument("text", metavar="TEXT")
@click.option(
    "--role", type=click.Choice(sorted(ROLES)), help="Who speaks. Default: user, or tool with --tool-call-id."
)
@click.option("--create", is_flag=True, help="Make the session if there never was one.")
@click.option("--model", metavar="MODEL", help="The model of a session made so.")
@click.option("--tool-call-id", metavar="CALL", help="The tool call whose result this is.")
@click.option("--message-id", metavar="ID", help="The message's id: appending it again changes nothing.")
@json_option
@click.pass_obj
def append(
    store: Store,
    *,
    session_id: str,
    text: str,
    role: str | None,
    create: bool,
    model: str | None,
    tool_call_id: str | None,
    message_id: str | None,
    as_json: bool,
) -> None:
    """Append a message to a session.

    TEXT is the message, or - to read it from stdin. Write -- before a text that begins with a dash.

    \b
    Examples:
      bamboo-sessions append chat-42 "And where is my refund?"
      make 2>&1 | bamboo-sessions append build-7 --create --role event -
    """
    if model is not None and not create:
        raise click.UsageError("--model is for a session that is made: it goes with --create.")
    content = _text_or_stdin(text)
    if not content.strip() and tool_call_id is None:
        raise InputError("An empty text isn't appended.", hint="Nothing was changed.")
    message = Message(
        role=role or ("tool" if tool_call_id is not None else "user"),  # type: ignore[arg-type] # one of ROLES
        content=content,
        tool_call_id=tool_call_id,
        id=new_id() if message_id is None else message_id,
    )
    try:
        appended = store.run(
            lambda sessions: sessions.append(session_id, message, create=create, model=model), creates=create
        )
    except SessionNotFoundError:
        sentence = f"There is no session {session_id!r} in {store.place}."
        hint = "Check the id and --namespace; --create begins a new session."
        raise CommandFailedError(sentence, hint=hint, exit_code=NOT_FOUND) from None
    if as_json:
        print_json({"message_id": message.id, **document(appended)})
    elif appended.duplicates:
        note("It was there already; nothing was changed.")
    else:
        note(f"Appended; {counted(appended.message_count, 'message')} now, revision {appended.revision}.")


# --- answer


@click.command()
@session_argument
@click.argument("text", metavar="TEXT")
@click.option(
    "--question", metavar="Q", help="Its id, or the id of its tool call. Default: the one that is open longest."
)
@click.option("--answer-id", metavar="A", help="Your key of this answer: giving it again changes nothing.")
@json_option
@click.pass_obj
def answer(
    store: Store, *, session_id: str, text: str, question: str | None, answer_id: str | None, as_json: bool
) -> None:
    """Answer the question that an agent asked.

    TEXT is one of the offered answers, or any text where the question allows that; - reads it from stdin. A question
    is answered once: of two different answers one wins.

    \b
    Examples:
      bamboo-sessions answer chat-42 "Refund it"
    """
    given = _text_or_stdin(text)

    async def work(sessions: SessionRepository) -> Session:
        wanted = question if question is not None else await _meant(sessions, session_id, answer_id)
        return await sessions.answer(session_id, wanted, given, answer_id=answer_id)

    tell(head_of(store.run(work)), "Answered.", as_json=as_json)


async def _meant(sessions: SessionRepository, session_id: str, answer_id: str | None) -> str:
    """The question that this very answer was given to; else the open one; else the last one that was answered."""
    session = await sessions.get(session_id)
    answered = [question for question in session.questions if question.state in {"answered", "consumed"}]
    for question in answered:
        if answer_id is not None and question.answer_id == answer_id:
            return question.id
    if session.pending_question is not None:
        return session.pending_question.id
    if not answered:
        raise CommandFailedError(f"Session {session_id!r} has no open question.", exit_code=NOT_FOUND)
    return answered[-1].id


# --- what people set


def tell(head: SessionHead, done: str, *, as_json: bool) -> None:
    """Say what was done, or print the session as it is now."""
    if as_json:
        print_json(document(head))
    else:
        note(done)


def _set(
    store: Store, change: Callable[[SessionRepository], Awaitable[SessionHead]], done: str, *, as_json: bool
) -> None:
    tell(store.run(change), done, as_json=as_json)


@click.command()
@session_argument
@click.argument("title", metavar="TITLE")
@json_option
@click.pass_obj
def rename(store: Store, *, session_id: str, title: str, as_json: bool) -> None:
    """Give a session a title.

    A title that a person gave is never replaced by a generated one, nor by the save of an agent that runs.

    \b
    Examples:
      bamboo-sessions rename chat-42 "Lost order"
    """
    done = f"Renamed to “{one_line(title, 100)}”."
    _set(store, lambda sessions: sessions.rename(session_id, title), done, as_json=as_json)


@click.command()
@session_argument
@json_option
@click.pass_obj
def pin(store: Store, *, session_id: str, as_json: bool) -> None:
    """Pin a session: clean-ups spare it.

    \b
    Examples:
      bamboo-sessions pin chat-42
    """
    _set(store, lambda sessions: sessions.pin(session_id), "Pinned.", as_json=as_json)


@click.command()
@session_argument
@json_option
@click.pass_obj
def unpin(store: Store, *, session_id: str, as_json: bool) -> None:
    """Take a session's pin away.

    \b
    Examples:
      bamboo-sessions unpin chat-42
    """
    _set(store, lambda sessions: sessions.pin(session_id, pinned=False), "Unpinned.", as_json=as_json)


@click.command()
@session_argument
@json_option
@click.pass_obj
def archive(store: Store, *, session_id: str, as_json: bool) -> None:
    """Archive a session.

    \b
    Examples:
      bamboo-sessions archive chat-42
    """
    _set(store, lambda sessions: sessions.archive(session_id), "Archived.", as_json=as_json)


@click.command()
@session_argument
@json_option
@click.pass_obj
def unarchive(store: Store, *, session_id: str, as_json: bool) -> None:
    """Bring a session back from the archive.

    \b
    Examples:
      bamboo-sessions unarchive chat-42
    """
    done = "Brought back from the archive."
    _set(store, lambda sessions: sessions.archive(session_id, archived=False), done, as_json=as_json)
