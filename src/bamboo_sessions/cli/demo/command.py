"""The command `demo`: the main job on real input, and a check of it, in under a minute."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Final

import click

from bamboo_sessions.cli.demo.conversations import read_conversations
from bamboo_sessions.cli.demo.outcome import Outcome
from bamboo_sessions.cli.demo.progress import progress
from bamboo_sessions.cli.demo.supervisor import DemoFailedError, Plan, Watcher, run
from bamboo_sessions.cli.failures import FAILED, CommandFailedError
from bamboo_sessions.cli.output import json_option, print_json, print_lines

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
@click.option("--naive", is_flag=True, help="Put the same load on a store that writes whole sessions under a lock.")
@click.option(
    "--sessions",
    type=click.IntRange(1, SESSIONS_MAX),
    help="How many sessions; conversations are used again if there are fewer. Default: all of FILE, or 96.",
)
@click.option(
    "--writers",
    default=3,
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
    help="Keep the SQLite file at this new path (with --naive: a folder of JSON files).",
)
@json_option
@click.pass_context
def demo(
    context: click.Context,
    *,
    input_: Path | None,
    naive: bool,
    sessions: int | None,
    writers: int,
    seconds_max: float | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Show what the product does, and race it against a plain store.

    Runtime writers in two processes replay conversations into the same sessions, each saving whole copies that are old
    by then. People in a third process rename, pin, set values, append and answer meanwhile. Every process notes what
    was acknowledged to it. Then a fresh process reads everything back and checks the notes: what was lost, taken back,
    duplicated, torn apart or answered twice.

    With --naive the same load goes to a plain store, to show what it loses.

    Exit code: 0 if nothing was off, else 1. With --naive losses are what is to be shown: 0 if the run was completed.

    \b
    Examples:
      bamboo-sessions demo
      bamboo-sessions demo --input conversations.jsonl.gz --keep demo.db
    """
    _check_keep(keep)
    read_conversations(input_, sessions=sessions)  # what is wrong with it is told before any process starts
    outcome = _outcome(context, Plan(input_, sessions, writers, naive, seconds_max, keep))
    if as_json:
        print_json(outcome.document())
    else:
        print_lines(outcome.lines())
    if not naive and not outcome.verdict.ok:
        context.exit(FAILED)


def _check_keep(keep: Path | None) -> None:
    if keep is None:
        return
    if keep.exists():
        raise click.BadParameter(f"{keep} exists already; name a new path.", param_hint="--keep")
    if not keep.absolute().parent.is_dir():
        raise click.BadParameter(f"{keep.absolute().parent} is no folder.", param_hint="--keep")


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
