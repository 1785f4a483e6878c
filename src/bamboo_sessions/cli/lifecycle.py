"""`fork`, `truncate` and `delete`: beginnings from another session, and ends."""

from __future__ import annotations

import sys

import click

from bamboo_sessions.cli.arguments import complete_session, session_argument
from bamboo_sessions.cli.documents import document, head_of
from bamboo_sessions.cli.failures import NOT_FOUND, CommandFailedError
from bamboo_sessions.cli.output import json_option, note, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted, one_line, plain
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.repository import SessionRepository


@click.command()
@session_argument
@click.option("--new-id", metavar="ID", help="The fork's id. Default: a new UUID.")
@click.option("--at-message", metavar="M", help="The id of the last message to take. Default: all.")
@click.option("--at-revision", type=int, metavar="R", help="Take the messages as they were at this revision.")
@json_option
@click.pass_obj
def fork(
    store: Store,
    *,
    session_id: str,
    new_id: str | None,
    at_message: str | None,
    at_revision: int | None,
    as_json: bool,
) -> None:
    """Start a new session with the history of another.

    Prints the id of the new session. The original isn't changed.

    \b
    Examples:
      bamboo-sessions fork chat-42 --new-id chat-42-b
      bamboo-sessions show $(bamboo-sessions fork chat-42)
    """
    session = store.run(
        lambda sessions: sessions.fork(session_id, new_id=new_id, at_message_id=at_message, at_revision=at_revision)
    )
    if as_json:
        print_json(document(head_of(session)))
    else:
        click.echo(session.id)


@click.command()
@session_argument
@click.argument("message_id", metavar="MESSAGE")
@json_option
@click.pass_obj
def truncate(store: Store, *, session_id: str, message_id: str, as_json: bool) -> None:
    """Remove the end of a conversation.

    Everything behind the message whose id is MESSAGE goes; `show --ids` shows the ids. Earlier revisions keep it.

    \b
    Examples:
      bamboo-sessions truncate chat-42 0199c0de-7a00-7000-8000-000000000000
    """
    session = store.run(lambda sessions: sessions.truncate(session_id, after_message_id=message_id))
    if as_json:
        print_json(document(head_of(session)))
    else:
        note(f"{counted(session.message_count, 'message')} left, revision {session.revision}.")


@click.command()
@click.argument("session_ids", metavar="ID…", nargs=-1, required=True, shell_complete=complete_session)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--force", is_flag=True, help="Also sessions that an agent is running. The agent can't save any more.")
@json_option
@click.pass_obj
def delete(store: Store, *, session_ids: tuple[str, ...], yes: bool, force: bool, as_json: bool) -> None:
    """Delete sessions and all below them, for ever.

    Asks before, on a terminal. A deleted id stays deleted: what still holds a copy can't bring it back by saving.

    \b
    Examples:
      bamboo-sessions delete chat-42 chat-43 --yes
    """
    wanted = tuple(dict.fromkeys(session_ids))
    if sys.stdin.isatty() and not yes:
        _confirm(store.run(lambda sessions: _found(sessions, wanted)))
    deleted = store.run(lambda sessions: _delete(sessions, wanted, force=force))
    missing = [session_id for session_id in wanted if session_id not in deleted]
    if as_json:
        print_json({"deleted": deleted, "not_found": missing})
    elif deleted:
        note(f"Deleted {counted(len(deleted), 'session')}.")
    if missing:
        names = ", ".join(repr(session_id) for session_id in missing)
        sentence = f"There is no session {names} in {store.place}."
        if deleted:
            note(f"Note: {sentence}")
        else:
            raise CommandFailedError(
                sentence,
                hint="Check the id and --namespace; `bamboo-sessions list` shows what there is.",
                exit_code=NOT_FOUND,
            )


async def _found(sessions: SessionRepository, session_ids: tuple[str, ...]) -> list[SessionHead]:
    loaded = [await sessions.load(session_id) for session_id in session_ids]
    return [head_of(session) for session in loaded if session is not None]


def _confirm(heads: list[SessionHead]) -> None:
    for head in heads:
        title = f" “{one_line(head.title, 60)}”" if head.title else ""
        note(f"{plain(head.id)}{title}, {counted(head.message_count, 'message')}{', pinned' if head.pinned else ''}")
    if heads and not click.confirm("Delete for ever, with all sessions below?", err=True):
        raise CommandFailedError("Nothing was deleted.")


async def _delete(sessions: SessionRepository, session_ids: tuple[str, ...], *, force: bool) -> list[str]:
    return [session_id for session_id in session_ids if await sessions.delete(session_id, force=force)]
