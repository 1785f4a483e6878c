"""`watch`: the change feed, a line for each commit."""

from __future__ import annotations

from contextlib import aclosing

import click

from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.live import run_live
from bamboo_sessions.cli.output import Line, is_terminal, json_option, note, print_json_line, print_lines
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted, local_time, plain
from bamboo_sessions.domain.change import KINDS, SessionChange
from bamboo_sessions.repository import SessionRepository


@click.command()
@click.option("--after", metavar="POSITION", help="Go on behind this position, without a gap.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest change that is kept.")
@click.option("-f", "--follow/--no-follow", default=True, help="Wait for new changes. Default: yes.")
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only such changes; may be repeated.")
@click.option("--session", "ids", metavar="ID", multiple=True, help="Only changes of this session; may be repeated.")
@json_option
@click.pass_obj
def watch(
    store: Store,
    *,
    after: str | None,
    from_start: bool,
    follow: bool,
    limit: int | None,
    kinds: tuple[str, ...],
    ids: tuple[str, ...],
    as_json: bool,
) -> None:
    """Follow the changes of all sessions live.

    A line for each commit of the namespace, from now on. Each has its position; --after goes on from there.
    """
    if after is not None and from_start:
        raise click.UsageError("--after and --from-start name two beginnings.")

    async def work(sessions: SessionRepository) -> None:
        start = after if after is not None or from_start else await sessions.feed_position()
        if follow and is_terminal() and start is not None and after is None:
            note("Waiting for changes; Ctrl-C ends.")
        left = limit
        async with aclosing(sessions.changes(after=start, live=follow)) as feed:
            async for change in feed:
                if (kinds and not set(kinds) & set(change.kinds)) or (ids and change.session_id not in ids):
                    continue
                _print(change, as_json=as_json)
                left = None if left is None else left - 1
                if left == 0:
                    return

    run_live(store, work, waits=follow)


def _print(change: SessionChange, *, as_json: bool) -> None:
    if as_json:
        print_json_line(document(change))
    elif is_terminal():
        print_lines([_line(change)])
    else:
        fields = (
            f"{change.at:%Y-%m-%dT%H:%M:%SZ}",
            plain(change.session_id),
            str(change.revision),
            ",".join(change.kinds),
            str(len(change.message_ids)),
            change.position,
        )
        print_lines([Line((("\t".join(fields), ""),))])


def _line(change: SessionChange) -> Line:
    """For a person: when, which session, what."""
    added = len(change.message_ids)
    words = [counted(added, "new message") if kind == "messages" and added else kind for kind in change.kinds]
    style = "red" if "deleted" in change.kinds else "yellow" if "questions" in change.kinds else "green"
    return Line(
        (
            (f"{local_time(change.at)}  ", "dim"),
            (plain(change.session_id), "bold"),
            (f"  {', '.join(words)}", style),
            (f"  revision {change.revision}", "dim"),
        )
    )
