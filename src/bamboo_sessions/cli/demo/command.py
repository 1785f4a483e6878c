"""The command `demo`: what the product does, and a race of it against a plain store, in under a minute."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from bamboo_sessions.cli.demo.conversations import BUILT_IN_SESSIONS, read_conversations
from bamboo_sessions.cli.demo.link import NAMESPACE
from bamboo_sessions.cli.demo.outcome import Outcome, race_lines
from bamboo_sessions.cli.demo.progress import progress
from bamboo_sessions.cli.demo.supervisor import DemoFailedError, Plan, Watcher, run
from bamboo_sessions.cli.failures import FAILED, CommandFailedError
from bamboo_sessions.cli.output import Line, json_option, note, print_json, print_lines

WRITERS_MAX: Final = 64
SESSIONS_MAX: Final = 10_000

_TERMINATED: Final = 128 + signal.SIGTERM


@click.command
@click.option(
    "--input",
    "input_",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Conversations in the OpenAI chat format, as JSON lines, gzip is fine. Default: a small set of invented ones.",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, SESSIONS_MAX),
    help="How many sessions; conversations are used again if there are fewer. "
    f"Default: all of FILE, or {BUILT_IN_SESSIONS}.",
)
@click.option(
    "--writers",
    default=2,
    show_default=True,
    type=click.IntRange(1, WRITERS_MAX),
    help="Runtime writers in each of the two processes.",
)
@click.option(
    "--seconds-max",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Stop the writers after this time, even if they aren't through.",
)
@click.option(
    "--keep",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Where to leave the store, a new file. Default: in a new folder for temporary files.",
)
@json_option
@click.pass_context
def demo(
    context: click.Context,
    *,
    input_: Path | None,
    sessions: int | None,
    writers: int,
    seconds_max: float | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Show what the product does, and race it against a plain store.

    First a look around: a conversation, a question that a person answers, a search. Then the race. Runtime writers in
    two processes replay conversations into the same sessions, and save whole copies that are old by then. People in a
    third process rename, pin, set values, append and answer meanwhile. Every process notes what was acknowledged to it.
    Then a fresh process reads everything back and compares. All of it runs twice: on a plain store, which writes whole
    sessions under a lock, and on this one. With --input or --json there is the race alone.

    The store is left for you to look at. Exit code 1 if anything was off in ours.

    \b
    Examples:
      bamboo-sessions demo
      bamboo-sessions demo --input conversations.jsonl.gz --keep demo.db
    """
    _check_keep(keep)
    read_conversations(input_, sessions=sessions)  # what is wrong with it is told before any process starts
    with _new_store(keep) as store:
        note(f"Setting up a store: {store}")
        if input_ is None and not as_json:
            from bamboo_sessions.cli.demo.tour import show_around

            show_around(store)
            print_lines([Line(), Line((("Now the race. Nothing that was acknowledged may be lost:", "bold"),))])
        plan = Plan(input_, sessions, writers, True, seconds_max, None)
        plain = _outcome(context, plan)
        ours = _outcome(context, Plan(input_, sessions, writers, False, seconds_max, store))
    if as_json:
        print_json({"plain": plain.document(), "bamboo_sessions": ours.document(), "store": str(store)})
    else:
        print_lines([Line(), *race_lines(plain, ours)])
        _say_ways_on(store, has_tour=input_ is None)
    if not ours.verdict.ok:
        context.exit(FAILED)


def _check_keep(keep: Path | None) -> None:
    if keep is None:
        return
    if keep.exists():
        raise click.BadParameter(f"{keep} exists already; name a new path.", param_hint="--keep")
    if not keep.absolute().parent.is_dir():
        raise click.BadParameter(f"{keep.absolute().parent} is no folder.", param_hint="--keep")


@contextlib.contextmanager
def _new_store(keep: Path | None) -> Iterator[Path]:
    """Where the store goes, and stays; but a folder that was made for it goes if the demo doesn't come to its end."""
    if keep is not None:
        yield keep.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="bamboo-sessions-demo-"))
    try:
        yield folder / "demo.db"
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _say_ways_on(store: Path, *, has_tour: bool) -> None:
    """The commands that show what is left: each on one line, however long, so that it can be copied."""
    command = f"{_program()} --url {shlex.quote(str(store))}"
    looks = [f"{command} list"] if has_tour else []
    click.echo("\nLook at what is left:")
    for look in (*looks, f"{command} --namespace {NAMESPACE} list"):
        click.echo(f"  {look}")


def _program() -> str:
    """What the user has to type for this program."""
    if shutil.which("bamboo-sessions"):
        return "bamboo-sessions"
    called = Path(sys.argv[0])
    return shlex.quote(str(called)) if called.name == "bamboo-sessions" else f"{sys.executable} -m bamboo_sessions"


def _outcome(context: click.Context, plan: Plan) -> Outcome:
    try:
        with progress() as watcher:
            return asyncio.run(_until_terminated(plan, watcher))
    except DemoFailedError as exc:
        raise CommandFailedError(str(exc)) from exc
    except asyncio.CancelledError:
        context.exit(_TERMINATED)


async def _until_terminated(plan: Plan, watcher: Watcher) -> Outcome:
    """`run`, ended in the same clean way by SIGTERM as by Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - inside a coroutine there is one
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(plan, watcher)
