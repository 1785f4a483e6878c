"""`watch`: the change feed, a line for each commit."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import click

from bamboo_sessions.cli.arguments import complete_session
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.happenings import Happenings
from bamboo_sessions.cli.live import run_live
from bamboo_sessions.cli.output import Line, is_terminal, json_option, note, print_json_line, print_lines
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import local_time, one_line, plain, utc_time
from bamboo_sessions.domain.change import KINDS, SessionChange
from bamboo_sessions.repository import SessionRepository

_TITLE_CHARS_MAX: Final = 40


@click.command()
@click.option("--after", metavar="POSITION", help="Go on behind this position, without a gap.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest change that is kept.")
@click.option("-f", "--follow/--no-follow", default=True, help="Wait for new changes. Default: yes.")
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only such changes; may be repeated.")
@click.option(
    "--session",
    "ids",
    metavar="ID",
    multiple=True,
    help="Only changes of this session; may be repeated.",
    shell_complete=complete_session,
)
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

    \b
    Examples:
      bamboo-sessions watch --kind questions
      bamboo-sessions watch --after "$(cat position)" --json
    """
    if after is not None and from_start:
        raise click.UsageError("--after and --from-start name two beginnings.")

    async def work(sessions: SessionRepository) -> None:
        start = after if after is not None or from_start else await sessions.feed_position()
        happenings = Happenings(sessions) if is_terminal() and not as_json else None
        if happenings is not None:
            await happenings.prepare()
        if follow and happenings is not None and start is not None and after is None:
            note(f"Waiting for changes in {store.place}; Ctrl-C ends.")
        seen = 0
        async with aclosing(sessions.changes(after=start, live=follow)) as feed:
            async for change in feed:
                told = await happenings.told(change) if happenings is not None else None
                if (kinds and not set(kinds) & set(change.kinds)) or (ids and change.session_id not in ids):
                    continue
                _print(change, told, as_json=as_json)
                seen += 1
                if seen == limit:
                    return
        if not seen and not as_json:
            note(f"No changes in {store.place}.")

    run_live(store, work, waits=follow)


def _print(change: SessionChange, told: tuple[str | None, list[str]] | None, *, as_json: bool) -> None:
    if as_json:
        print_json_line(document(change))
    elif told is not None:
        print_lines([_line(change, *told)])
    else:
        fields = (
            utc_time(change.at),
            plain(change.session_id),
            str(change.revision),
            ",".join(change.kinds),
            str(len(change.message_ids)),
            change.position,
        )
        print_lines([Line((("\t".join(fields), ""),))])


def _line(change: SessionChange, title: str | None, words: list[str]) -> Line:
    """For a person: when, which session, what."""
    style = "red" if "deleted" in change.kinds else "yellow" if "questions" in change.kinds else "green"
    named = f"  “{one_line(title, _TITLE_CHARS_MAX)}”" if title else ""
    return Line(
        (
            (f"{local_time(change.at)}  ", "dim"),
            (plain(change.session_id), "bold"),
            (named, ""),
            (f"  {', '.join(words)}", style),
        )
    )
