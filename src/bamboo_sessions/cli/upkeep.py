"""Looking after a store: check, migrate, stats and usage."""

from __future__ import annotations

from itertools import groupby
from typing import Final

import click

from bamboo_sessions.cli.arguments import complete_session
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.failures import FAILED, QuietExitError
from bamboo_sessions.cli.output import Line, json_option, note, print_facts, print_json, print_lines
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted, plain
from bamboo_sessions.cli.versions import schema_version
from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.repository import StoreAdmin


@click.command()
@click.argument("session_id", metavar="[ID]", required=False, shell_complete=complete_session)
@click.option("--children", is_flag=True, help="With all sessions below it.")
@json_option
@click.pass_obj
def usage(store: Store, *, session_id: str | None, children: bool, as_json: bool) -> None:
    """Show how many tokens were used.

    By the session ID, or by all sessions of the namespace.

    \b
    Examples:
      bamboo-sessions usage chat-42 --children
    """
    if children and session_id is None:
        raise click.UsageError("--children goes with an ID; without one all sessions are counted anyway.")
    totals = store.run(lambda sessions: sessions.token_usage(session_id, include_children=children))
    counts = {**document(totals), "total_tokens": totals.total_tokens}
    if as_json:
        print_json(counts)
    else:
        print_facts(counts.items())


@click.command()
@json_option
@click.pass_obj
def stats(store: Store, *, as_json: bool) -> None:
    """Show counters of the store.

    Sessions, messages, bytes and so on, of all namespaces.

    \b
    Examples:
      bamboo-sessions stats --json
    """
    counters = store.run_as_owner(lambda owner: owner.stats())
    if as_json:
        print_json(counters)
    else:
        print_facts(counters.items())


@click.command()
@click.option("--new-epoch", is_flag=True, help="After restoring a backup: refuse feed positions given before.")
@json_option
@click.pass_obj
def migrate(store: Store, *, new_epoch: bool, as_json: bool) -> None:
    """Bring the store's schema up to date.

    Every other command does so, too; this one says what it did. It makes the store if there is none.

    \b
    Examples:
      bamboo-sessions migrate
      bamboo-sessions --url restored.db migrate --new-epoch
    """

    async def work(owner: StoreAdmin) -> None:
        if new_epoch:
            await owner.start_epoch()

    before = schema_version(store)
    store.run_as_owner(work, creates=True)
    after = schema_version(store)
    if as_json:
        print_json({"store": store.location, "before": before, "after": after, "new_epoch": new_epoch})
        return
    if after is None:
        note(f"{store.location} has no schema: nothing to migrate.")
    elif before is None:
        note(f"{store.location}: made with schema version {after}.")
    elif before == after:
        note(f"{store.location}: schema version {after}, up to date.")
    else:
        note(f"{store.location}: schema version {before} → {after}.")
    if new_epoch:
        note("The change feed has a new epoch: positions that were given before are refused.")


# --- check


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended, after a backup.")
@json_option
@click.pass_obj
def check(store: Store, *, repair: bool, as_json: bool) -> None:
    """Look for what can't be right in the store.

    Broken rows, counts out of step, tool calls without results, of all namespaces. Nothing is changed without --repair,
    and --repair never drops what was written. The exit code is 1 if a problem remains.

    \b
    Examples:
      bamboo-sessions check
      bamboo-sessions check --repair
    """
    report = store.run_as_owner(lambda owner: owner.check(repair=repair))
    if as_json:
        print_json({**document(report), "ok": report.ok})
    else:
        print_lines(_problem_lines(report))
        _summarise(report)
    if not report.ok:
        raise QuietExitError(FAILED)


def _problem_lines(report: CheckReport) -> list[Line]:
    lines: list[Line] = []
    ordered = sorted(report.problems, key=lambda problem: problem.kind)
    for kind, problems in groupby(ordered, key=lambda problem: problem.kind):
        found = list(problems)
        lines.append(Line(((kind, "bold yellow"), (f"  {counted(len(found), 'problem')}", "dim"))))
        lines += [_problem_line(problem) for problem in found]
    return lines


def _problem_line(problem: Problem) -> Line:
    where = f"{problem.namespace or ''}/{problem.session_id}: " if problem.session_id else ""
    if problem.repaired:
        outcome, style = "repaired", "green"
    elif problem.repair:
        outcome, style = f"--repair: {problem.repair}", "cyan"
    else:
        outcome, style = "can't be repaired", "red"
    return Line(((plain(where), "bold"), (plain(problem.detail), ""), (f" [{outcome}]", style)), 2)


_DAMAGE: Final = frozenset({"integrity", "undecodable", "hash", "head_missing", "unchecked"})
"""Kinds of problems that only a backup mends."""


def _summarise(report: CheckReport) -> None:
    if report.backup is not None:
        note(f"Backup before the repair: {report.backup}")
    looked_at = f"{counted(report.sessions, 'session')} with {counted(report.messages, 'message')} checked"
    repaired = sum(problem.repaired for problem in report.problems)
    remaining = len(report.problems) - repaired
    if not report.problems:
        note(f"{looked_at}: all is well.")
    else:
        note(f"{looked_at}: {counted(repaired, 'problem')} repaired, {remaining:,} remaining.")
    if any(problem.kind in _DAMAGE for problem in report.problems):
        note(
            "Hint: The file is damaged. Restore a backup; or save what can be read: "
            "`bamboo-sessions export > rescued.jsonl`, and import that into a new file."
        )
