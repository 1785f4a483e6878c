"""`list`: sessions as a table, as lines for other programs, or as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import click

from bamboo_sessions.cli.arguments import complete_session
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.output import (
    is_terminal,
    json_option,
    json_text,
    jsonl_option,
    note,
    paged,
    print_json,
    print_json_line,
)
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.table import print_table
from bamboo_sessions.cli.text import badges, counted, one_line, plain, utc_time
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_DEFAULT, PAGE_MAX
from bamboo_sessions.domain.report import SessionPage
from bamboo_sessions.repository import SessionRepository
from bamboo_sessions.storage.query import ORDERS

TITLE_CHARS_MAX: Final = 200


@click.command("list")
@click.option(
    "-n", "--limit", type=int, metavar="N", help=f"Sessions at most, 1 to {PAGE_MAX}. Default: {PAGE_DEFAULT}."
)
@click.option("--cursor", metavar="C", help="Go on where the page before ended (its next_cursor).")
@click.option("--all", "everything", is_flag=True, help="All that match, not only the first page.")
@click.option("--owner", metavar="OWNER", help="Only sessions of this owner.")
@click.option("--owner-prefix", metavar="PREFIX", help="Only sessions whose owner begins so.")
@click.option("--kind", metavar="KIND", help="Only sessions of this kind, for example root or child.")
@click.option("--pinned/--unpinned", default=None, help="Only those that are pinned, or aren't.")
@click.option("--archived/--not-archived", default=None, help="Only those that are archived, or aren't.")
@click.option("--has-question/--no-question", default=None, help="Only those that wait for an answer, or don't.")
@click.option("--run-status", metavar="STATUS", help="Only sessions whose run state says this, for example running.")
@click.option("--parent", metavar="ID", help="Only children of this session.", shell_complete=complete_session)
@click.option("--root", metavar="ID", help="Only the tree of this root session.", shell_complete=complete_session)
@click.option(
    "--order", type=click.Choice(ORDERS), default=ORDERS[0], help="The order; - is newest first.", show_default=True
)
@click.option("--total", is_flag=True, help="Count all that match, too.")
@jsonl_option
@json_option
@click.pass_obj
def list_sessions(store: Store, /, *, everything: bool, as_json: bool, as_jsonl: bool, **filters: Any) -> None:  # noqa: ANN401 - see options
    """List sessions, newest first.

    A table on a terminal, with the first words of the user where there is no title. Otherwise a line for each session:
    id, title, messages, time of the last change and badges, with tabs between them.

    \b
    Examples:
      bamboo-sessions list --has-question
      bamboo-sessions list --all --archived --jsonl | jq -r .id
    """
    if everything and (filters["cursor"] or filters["limit"]):
        raise click.UsageError("--all goes without --limit and --cursor.")
    if as_json and as_jsonl:
        raise click.UsageError("--json and --jsonl are two forms of the same; name one.")
    filters["limit"] = PAGE_MAX if everything else (PAGE_DEFAULT if filters["limit"] is None else filters["limit"])
    if as_json and everything:
        store.run(lambda sessions: _print_document(sessions, filters))
    elif as_json:
        print_json(document(store.run(lambda sessions: sessions.list_sessions(**filters))))
    elif as_jsonl:
        store.run(lambda sessions: _print_lines(sessions, filters, everything=everything))
    else:
        with paged():
            page, count = store.run(lambda sessions: _print_pages(sessions, filters, everything=everything))
        _say_the_rest(store, page, count)


async def _pages(
    sessions: SessionRepository, filters: dict[str, Any], *, everything: bool
) -> AsyncIterator[SessionPage]:
    """The page that was asked for, or all that there are, also of sessions that are saved meanwhile."""
    first = await sessions.list_sessions(**filters)
    if first.next_cursor is None or not everything:
        yield first
        return
    chosen = {name: value for name, value in filters.items() if name not in {"limit", "cursor", "total"}}
    heads: list[SessionHead] = []
    async for head in sessions.iter_sessions(page_size=PAGE_MAX, **chosen):
        heads.append(head)
        if len(heads) == len(first.sessions):
            yield SessionPage(sessions=tuple(heads), total=first.total)
            heads = []
    if heads:
        yield SessionPage(sessions=tuple(heads), total=first.total)


async def _print_pages(
    sessions: SessionRepository, filters: dict[str, Any], *, everything: bool
) -> tuple[SessionPage, int]:
    """Print what was asked for; the last page, with the total, and how many sessions there were."""
    count, total = 0, None
    page = SessionPage(sessions=())
    async for page in _pages(sessions, filters, everything=everything):
        count += len(page.sessions)
        total = page.total if page.total is not None else total
        if is_terminal():
            await print_table(sessions, page.sessions)
        else:
            _print_rows(page.sessions)
    return SessionPage(sessions=(), next_cursor=page.next_cursor, total=total), count


def _say_the_rest(store: Store, page: SessionPage, count: int) -> None:
    if page.total is not None:
        note(f"{counted(page.total, 'session')} in all.")
    if not count:
        note(f"No sessions in {store.place}.")
    elif page.next_cursor is not None:
        note(f"There are more: --all, or --cursor {page.next_cursor}")


async def _print_lines(sessions: SessionRepository, filters: dict[str, Any], *, everything: bool) -> None:
    async for page in _pages(sessions, filters, everything=everything):
        for head in page.sessions:
            print_json_line(document(head))


async def _print_document(sessions: SessionRepository, filters: dict[str, Any]) -> None:
    """One JSON document of all pages, written page by page: it may be larger than memory."""
    total: int | None = None
    click.echo('{"sessions": [', nl=False)
    separator = ""
    async for page in _pages(sessions, filters, everything=True):
        total = page.total if page.total is not None else total
        for head in page.sessions:
            click.echo(separator + json_text(document(head)), nl=False)
            separator = ",\n"
    click.echo(f'], "next_cursor": null, "total": {json_text(total)}}}')


def _print_rows(heads: Sequence[SessionHead]) -> None:
    for head in heads:
        title = one_line(head.title or "", TITLE_CHARS_MAX)
        words = " ".join(word for word, _ in badges(head))
        fields = (plain(head.id), title, str(head.message_count), utc_time(head.updated_at), words)
        click.echo("\t".join(fields))
