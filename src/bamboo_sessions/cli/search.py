"""`search`: what was said, where, and when; styled on a terminal, a line for each hit elsewhere, or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, get_args

import click

from bamboo_sessions.cli.arguments import complete_session
from bamboo_sessions.cli.bars import bar
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.output import (
    Line,
    is_terminal,
    json_option,
    jsonl_option,
    note,
    paged,
    print_json,
    print_json_line,
    print_lines,
)
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import age, one_line, plain, utc_time
from bamboo_sessions.cli.times import Moment
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.limits import PAGE_MAX, SEARCH_DEFAULT
from bamboo_sessions.domain.message import Role
from bamboo_sessions.domain.search import SearchHit, SearchPage, Snippet
from bamboo_sessions.repository import SessionRepository

_TITLE_CHARS_MAX: Final = 80


@click.command()
@click.argument("text", nargs=-1, required=True, metavar="TEXT…")
@click.option(
    "-n",
    "--limit",
    type=int,
    metavar="N",
    default=SEARCH_DEFAULT,
    help=f"Hits at most, 1 to {PAGE_MAX}. Default: {SEARCH_DEFAULT}.",
)
@click.option("--role", type=click.Choice(get_args(Role)), help="Only messages of this role.")
@click.option("--session", metavar="ID", help="Only in this session.", shell_complete=complete_session)
@click.option("--owner", metavar="OWNER", help="Only in sessions of this owner.")
@click.option("--kind", metavar="KIND", help="Only in sessions of this kind, for example root or child.")
@click.option("--archived/--not-archived", default=None, help="Only in those that are archived, or aren't.")
@click.option("--since", type=Moment(), metavar="TIME", help="Only from then on: a date, a time, or 3d, 12h ago.")
@click.option("--until", type=Moment(), metavar="TIME", help="Only before then.")
@click.option("--tools", "include_tools", is_flag=True, help="In tool calls and their results, too.")
@jsonl_option
@json_option
@click.pass_obj
def search(
    store: Store,
    /,
    *,
    text: tuple[str, ...],
    as_json: bool,
    as_jsonl: bool,
    **filters: Any,  # noqa: ANN401 - see options
) -> None:
    """Search titles, summaries and messages.

    All words have to be in one text. "a phrase" in quotes, begin* for beginnings of words, -not for what must not be
    there (after --, or it is taken for an option). The first search of a store builds its index.

    \b
    Examples:
      bamboo-sessions search refund --since 3d
      bamboo-sessions search --role user '"order number"' -- -draft
    """
    if as_json and as_jsonl:
        raise click.UsageError("--json and --jsonl are two forms of the same; name one.")
    page = store.run(lambda sessions: _search(sessions, " ".join(text), filters))
    if as_json:
        print_json(document(page))
    elif as_jsonl:
        for hit in page.hits:
            print_json_line(document(hit))
    else:
        with paged():
            (_print_blocks if is_terminal() else _print_rows)(page)
        _say_what_is_left(store, page)


async def _search(sessions: SessionRepository, text: str, filters: dict[str, Any]) -> SearchPage:
    with bar("building the index") as on_progress:
        page = await sessions.search(text, on_progress=on_progress, **filters)
    if not page.hits and filters["session"] is not None:
        await sessions.history(filters["session"], limit=1)  # raises if there is no such session
    return page


def _say_what_is_left(store: Store, page: SearchPage) -> None:
    if not page.hits:
        note(f"Nothing found in {store.place}.")
    elif page.has_more:
        note("There is more: --limit N shows more of it.")


# --- hits


def _print_rows(page: SearchPage) -> None:
    for hit in page.hits:
        said = " ".join(one_line(hit.snippet.text, 10_000).split())
        fields = (plain(hit.session_id), plain(hit.message_id or ""), hit.role or hit.place)
        click.echo("\t".join((*fields, utc_time(hit.at), said)))


def _print_blocks(page: SearchPage) -> None:
    now = SYSTEM_CLOCK.now()
    print_lines(line for hit in page.hits for line in _block(hit, now))


def _block(hit: SearchHit, now: datetime) -> Iterator[Line]:
    title = one_line(hit.title or "", _TITLE_CHARS_MAX)
    where = hit.role if hit.role is not None else hit.place
    facts = f"  {where.replace('_', ' ')} · {age(hit.at, now)}"
    yield Line((*(((title, "bold"), ("  ", "")) if title else ()), (plain(hit.session_id), "cyan"), (facts, "dim")))
    yield Line(tuple(_styled(hit.snippet)), 2)
    if hit.message_id is not None:
        yield Line(((plain(hit.message_id), "dim"),), 2, cut=True)
    yield Line()


def _styled(snippet: Snippet) -> Iterator[tuple[str, str]]:
    """The pieces on one line, matches in colour."""
    if snippet.cut_before:
        yield "… ", "dim"
    for piece in snippet.pieces:
        yield re.sub(r"\s+", " ", plain(piece.text)), "bold yellow" if piece.is_match else ""
    if snippet.cut_after:
        yield " …", "dim"
