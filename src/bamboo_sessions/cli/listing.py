"""`list`: sessions as a table, as lines for other programs, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.output import console, is_terminal, json_option, json_text, note, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import age, counted, one_line, plain
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_DEFAULT, PAGE_MAX
from bamboo_sessions.domain.report import SessionPage
from bamboo_sessions.repository import SessionRepository
from bamboo_sessions.storage.query import ORDERS

TITLE_CHARS_MAX: Final = 200
TITLE_CHARS_MIN: Final = 10
"""A terminal that leaves fewer columns than this to the titles gets a table without them."""

_GAP: Final = "  "


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
@click.option("--parent", metavar="ID", help="Only children of this session.")
@click.option("--root", metavar="ID", help="Only the tree of this root session.")
@click.option(
    "--order", type=click.Choice(ORDERS), default=ORDERS[0], help="The order; - is newest first.", show_default=True
)
@click.option("--total", is_flag=True, help="Count all that match, too.")
@json_option
@click.pass_obj
def list_sessions(store: Store, /, *, everything: bool, as_json: bool, **filters: Any) -> None:  # noqa: ANN401 - see options
    """List sessions, newest first.

    A table on a terminal. Otherwise a line for each session: id, title, messages, time of the last change and badges,
    with tabs between them.
    """
    if everything and (filters["cursor"] or filters["limit"]):
        raise click.UsageError("--all goes without --limit and --cursor.")
    filters["limit"] = PAGE_MAX if everything else (PAGE_DEFAULT if filters["limit"] is None else filters["limit"])
    if as_json and everything:
        store.run(lambda sessions: _print_document(sessions, filters))
    else:
        store.run(lambda sessions: _print_pages(sessions, filters, everything=everything, as_json=as_json))


async def _print_pages(
    sessions: SessionRepository, filters: dict[str, Any], *, everything: bool, as_json: bool
) -> None:
    while True:
        page = await sessions.list_sessions(**filters)
        if as_json:
            print_json(_page(page))
            return
        (_print_table if is_terminal() else _print_rows)(page.sessions)
        if page.total is not None:
            note(f"{counted(page.total, 'session')} in all.")
        filters = {**filters, "cursor": page.next_cursor, "total": False}
        if page.next_cursor is None or not everything:
            _say_what_is_left(page, is_first=not page.sessions)
            return


def _say_what_is_left(page: SessionPage, *, is_first: bool) -> None:
    if is_first and is_terminal():
        note("No sessions.")
    elif page.next_cursor is not None:
        note(f"There are more: --all, or --cursor {page.next_cursor}")


async def _print_document(sessions: SessionRepository, filters: dict[str, Any]) -> None:
    """One JSON document of all pages, written page by page: it may be larger than memory."""
    total: int | None = None
    click.echo('{"sessions": [', nl=False)
    separator = ""
    while True:
        page = await sessions.list_sessions(**filters)
        total = page.total if page.total is not None else total
        for head in page.sessions:
            click.echo(separator + json_text(document(head)), nl=False)
            separator = ",\n"
        filters = {**filters, "cursor": page.next_cursor, "total": False}
        if page.next_cursor is None:
            break
    click.echo(f'], "next_cursor": null, "total": {json_text(total)}}}')


def _page(page: SessionPage) -> dict[str, Any]:
    fields: dict[str, Any] = document(page)
    return fields


def badges(head: SessionHead) -> list[tuple[str, str]]:
    """What is special about a session, each word with its style."""
    words = [
        ("question", "bold yellow", head.has_question),
        (one_line(head.run_status or "", 20), "green", bool(head.run_status)),
        ("pinned", "cyan", head.pinned),
        ("archived", "dim", head.archived),
        ("child", "dim", head.parent_session_id is not None),
    ]
    return [(word, style) for word, style, applies in words if applies]


def _print_rows(heads: Sequence[SessionHead]) -> None:
    for head in heads:
        title = one_line(head.title or "", TITLE_CHARS_MAX)
        words = " ".join(word for word, _ in badges(head))
        fields = (plain(head.id), title, str(head.message_count), f"{head.updated_at:%Y-%m-%dT%H:%M:%SZ}", words)
        click.echo("\t".join(fields))


def _print_table(heads: Sequence[SessionHead]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not heads:
        return
    now = SYSTEM_CLOCK.now()
    screen = console()
    rows = [(head, age(head.updated_at, now), Text(" ").join(Text(*badge) for badge in badges(head))) for head in heads]
    ids = min(max(len("SESSION"), *(len(head.id) for head in heads)), screen.width // 2)
    ages = max(len("CHANGED"), *(len(changed) for _, changed, _ in rows))
    words = max(len(badge) for _, _, badge in rows)
    titles = screen.width - ids - len("MESSAGES") - ages - words - 4 * len(_GAP)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, len(_GAP), 0, 0))
    table.add_column("SESSION", overflow="fold", min_width=ids)
    has_titles = any(head.title for head in heads) and titles >= TITLE_CHARS_MIN
    if has_titles:
        table.add_column("TITLE", overflow="ellipsis", no_wrap=True, max_width=titles)
    table.add_column("MESSAGES", justify="right", no_wrap=True, min_width=len("MESSAGES"))
    table.add_column("CHANGED", justify="right", no_wrap=True, min_width=ages)
    table.add_column("")
    for head, changed, badge in rows:
        name = Text(plain(head.id), style="bold")
        title = [Text(one_line(head.title or "", TITLE_CHARS_MAX))] if has_titles else []
        table.add_row(name, *title, f"{head.message_count:,}", changed, badge)
    screen.print(table)
