"""`import` and `export`: conversations from files into the store, and out of it to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from bamboo_sessions.cli.arguments import complete_session
from bamboo_sessions.cli.documents import head_of
from bamboo_sessions.cli.failures import FAILED, NOT_FOUND, QuietExitError
from bamboo_sessions.cli.importing import Importer, Tally
from bamboo_sessions.cli.lines import STDIN, Input, InputLine
from bamboo_sessions.cli.output import is_terminal, json_option, note, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted, escaped, one_line
from bamboo_sessions.domain.errors import InputError, StorageCorruptError
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository import SessionRepository

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_NAME_CHARS_MAX: Final = 30


@contextmanager
def _progress(*, quiet_stdout: bool = True) -> Iterator[Progress | None]:
    """A progress bar on stderr if a person looks at that, and at nothing else there; `None` elsewhere."""
    if not sys.stderr.isatty() or not quiet_stdout:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        yield progress


# --- import


_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)


def _list_formats(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    from bamboo_sessions.cli.formats.known import FORMATS

    if value and not ctx.resilient_parsing:
        for name, known in FORMATS.items():
            click.echo(f"{name}\t{known.shape}")
        ctx.exit()


@click.command("import")
@click.argument("words", metavar="[FORMAT] FILE…", nargs=-1, required=True, type=click.Path())  # completed as files
@click.option(
    "--list-formats",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_formats,
    help="Show the formats, and what a line of each is.",
)
@click.option("--recreate", is_flag=True, help="Make sessions again whose ids were deleted, in place of refusing them.")
@json_option
@click.pass_context
def import_conversations(ctx: click.Context, *, words: tuple[str, ...], recreate: bool, as_json: bool) -> None:
    """Import conversations from files.

    Each line is a conversation as JSON, such as {"id": "chat-42", "messages": [OpenAI chat messages]}. FORMAT is one of
    --list-formats; without it, it is guessed line by line. FILE may be gzip, or - for stdin.

    Importing again changes nothing, and a longer version of a conversation adds its new messages. A bad line is
    reported, the others are imported; the exit code is 1 then.

    \b
    Examples:
      bamboo-sessions import conversations.jsonl.gz
      ssh other-host bamboo-sessions export | bamboo-sessions import openai-chat -
    """
    store: Store = ctx.obj
    format_name, files = _meant(ctx, words)
    tally = Tally()
    try:
        store.run(lambda sessions: _import(sessions, format_name, files, tally, recreate=recreate), creates=True)
    except BaseException:
        if any(tally.document().values()):
            note(f"Stopped early. Until then: {_summary(tally)} Importing again goes on from there.")
        raise
    if as_json:
        print_json(tally.document())
    else:
        note(_summary(tally))
    if tally.failed:
        raise QuietExitError(FAILED)


def _meant(ctx: click.Context, words: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """The format that is named, if any, and the files, which have to be there."""
    from bamboo_sessions.cli.formats.known import FORMATS

    first, *others = words
    if first in FORMATS:
        if not others:
            raise click.UsageError(f"Name a FILE to import {first} from, or - for stdin.")
        return first, [_readable(path, ctx) for path in others]
    if others and first != STDIN and not Path(first).exists():
        message = f"{first!r} is neither a format nor a file. --list-formats shows the formats."
        raise click.UsageError(message)
    return None, [_readable(path, ctx) for path in words]


def _readable(path: str, ctx: click.Context) -> str:
    _FILE.convert(path, None, ctx)
    return path


async def _import(
    sessions: SessionRepository, format_name: str | None, files: list[str], tally: Tally, *, recreate: bool
) -> None:
    from bamboo_sessions.cli.formats.json_text import parsed
    from bamboo_sessions.cli.formats.known import FORMATS, guessed
    from bamboo_sessions.cli.formats.openai_chat import repeated_ids

    def read(line: InputLine) -> Session:
        if line.flaw is not None:
            raise InputError(line.flaw)
        document = parsed(line.data)
        return FORMATS[format_name or guessed(document)].to_session(document, namespace=sessions.namespace)

    with _progress() as progress:
        importer = Importer(sessions, tally, note, recreate=recreate, repeated_ids=repeated_ids)
        for path in files:
            source = Input(path)
            await importer.bring_in(source.name, _watched(source, progress), read)


async def _watched(source: Input, progress: Progress | None) -> AsyncIterator[InputLine]:
    """The lines of `source`, with a progress bar, and a word if there are none."""
    bar = (
        progress.add_task(one_line(Path(source.name).name, BAR_NAME_CHARS_MAX), total=source.size)
        if progress is not None
        else None
    )
    is_empty = True
    async for line in source.lines():
        is_empty = False
        if progress is not None and bar is not None:
            progress.update(bar, completed=source.position)
        yield line
    if is_empty:
        note(f"Note: {source.name} is empty.")


def _summary(tally: Tally) -> str:
    return (
        f"{counted(tally.imported, 'conversation')} imported, {tally.appended:,} extended, "
        f"{tally.unchanged:,} unchanged, {tally.failed:,} failed; {counted(tally.new_messages, 'new message')}."
    )


# --- export


@click.command()
@click.argument("session_ids", metavar="[ID…]", nargs=-1, shell_complete=complete_session)
@click.option("--json", "_as_json", is_flag=True, help="Changes nothing: what is exported is JSON lines in any case.")
@click.pass_obj
def export(store: Store, *, session_ids: tuple[str, ...], _as_json: bool) -> None:
    """Write conversations to stdout as JSON lines.

    All sessions of the namespace, the oldest first, or those given. The lines are what `import openai-chat` reads, and
    importing them gives back equal conversations. Pins, questions and token usage aren't part of the format.

    \b
    Examples:
      bamboo-sessions export > all.jsonl
      bamboo-sessions export chat-42 | gzip > chat-42.jsonl.gz
    """
    wanted = tuple(dict.fromkeys(session_ids))
    exit_code = store.run(lambda sessions: _export(store, sessions, wanted))
    if exit_code:
        raise QuietExitError(exit_code)


async def _export(store: Store, sessions: SessionRepository, wanted: tuple[str, ...]) -> int:
    """Write the sessions that can be read, and tell of the others; returns the exit code."""
    from bamboo_sessions.cli.formats.openai_chat import from_session

    out = sys.stdout.buffer
    exit_code, count = 0, 0
    with _progress(quiet_stdout=not is_terminal()) as progress:
        bar = progress.add_task("export", total=len(wanted) or await _count(sessions)) if progress is not None else None
        async for session_id in _ids(sessions, wanted):
            try:
                session = await sessions.load(session_id)
            except StorageCorruptError as exc:
                note(f"Error: Session {session_id!r} can't be read: {exc}")
                exit_code = FAILED
            else:
                if session is not None:
                    count += 1
                    out.write(_encoded(from_session(head_of(session), session.messages)))
                    out.flush()
                elif wanted:
                    note(f"Error: There is no session {session_id!r} in {store.place}.")
                    exit_code = exit_code or NOT_FOUND
            if progress is not None and bar is not None:
                progress.advance(bar)
    if not (count or wanted or exit_code):
        note(f"No sessions in {store.place}.")
    return exit_code


async def _ids(sessions: SessionRepository, wanted: tuple[str, ...]) -> AsyncIterator[str]:
    for session_id in wanted:
        yield session_id
    if not wanted:
        async for head in sessions.iter_sessions(order="created_at", page_size=PAGE_MAX):
            yield head.id


async def _count(sessions: SessionRepository) -> int | None:
    return (await sessions.list_sessions(limit=1, total=True)).total


def _encoded(line: dict[str, object]) -> bytes:
    """One JSON line in UTF-8, whatever the terminal speaks; harmless to it, for it may be where stdout goes."""
    return escaped(json.dumps(line, ensure_ascii=False)).encode() + b"\n"
