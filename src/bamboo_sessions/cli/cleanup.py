"""`cleanup` and `prune`: what a store forgets because somebody asks for it."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import get_args

import click

from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.failures import FAILED, CommandFailedError, QuietExitError
from bamboo_sessions.cli.output import json_option, note, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted
from bamboo_sessions.cli.times import Age
from bamboo_sessions.domain.report import CleanupReport
from bamboo_sessions.repository.lifecycle import CleanupMode

_MEANT = {
    "all": "all sessions",
    "empty": "all sessions without messages",
    "children": "all sessions that have a parent",
}


@click.command()
@click.argument("mode", metavar="MODE", type=click.Choice(get_args(CleanupMode)))
@click.option("--older-than", type=Age(), metavar="AGE", help="Only trees in which nothing changed for so long: 30d.")
@click.option("--pinned", "with_pinned", is_flag=True, help="Also trees that have a pinned session.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@click.pass_obj
def cleanup(
    store: Store, *, mode: CleanupMode, older_than: timedelta | None, with_pinned: bool, yes: bool, as_json: bool
) -> None:
    """Delete many sessions at once.

    MODE is all, empty (trees without any message) or children (what has a parent). Each session goes with its tree, for
    ever. Trees that have a pinned session stay, and so do those that an agent is running: exit code 1. Asks before, on
    a terminal.

    \b
    Examples:
      bamboo-sessions cleanup empty
      bamboo-sessions cleanup all --older-than 90d --yes
    """
    if sys.stdin.isatty() and not yes:
        _confirm(store, mode, older_than, with_pinned=with_pinned)
    report = store.run(lambda sessions: sessions.cleanup(mode, keep_pinned=not with_pinned, older_than=older_than))
    if as_json:
        print_json(document(report))
    else:
        _say(store, report)
    if report.failed:
        raise QuietExitError(FAILED)


def _confirm(store: Store, mode: CleanupMode, older_than: timedelta | None, *, with_pinned: bool) -> None:
    pins = "pinned ones included" if with_pinned else "but for trees with a pinned one"
    since = f", unchanged for {counted(older_than.days, 'day')}" if older_than is not None and older_than.days else ""
    if not click.confirm(f"Delete for ever {_MEANT[mode]} in {store.place}{since}, {pins}?", err=True):
        raise CommandFailedError("Nothing was deleted.")


def _say(store: Store, report: CleanupReport) -> None:
    for failure in report.failed:
        note(f"Error: Session {failure.session_id!r} stays: {failure.error}")
    if report.deleted or report.failed:
        note(f"Deleted {counted(len(report.deleted), 'session')}.")
    else:
        note(f"Nothing to delete in {store.place}.")


@click.command()
@click.option("--older-than", type=Age(), metavar="AGE", required=True, help="What is older goes: 30d; 24h at least.")
@json_option
@click.pass_obj
def prune(store: Store, *, older_than: timedelta, as_json: bool) -> None:
    """Forget old entries of the change feed.

    Of all namespaces. Sessions aren't touched; who follows the feed and stopped before that has to read anew.

    \b
    Examples:
      bamboo-sessions prune --older-than 30d
    """
    pruned = store.run_as_owner(lambda owner: owner.prune_changes(older_than=older_than))
    if as_json:
        print_json({"pruned": pruned})
    elif pruned:
        note(f"Forgot {counted(pruned, 'change')}.")
    else:
        note(f"Nothing that old in the feed of {store.location}.")
