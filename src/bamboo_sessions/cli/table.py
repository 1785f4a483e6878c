"""The table of `list` on a terminal. What is too wide is cut where it hurts least: ids first, then titles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from bamboo_sessions.cli.output import console
from bamboo_sessions.cli.text import age, badges, one_line, shortened
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.repository import SessionRepository

if TYPE_CHECKING:
    from rich.text import Text

TITLE_CHARS_MAX: Final = 200
TITLE_CHARS_MIN: Final = 10
"""A terminal that leaves fewer columns than this to the titles gets a table without them."""

ID_CHARS_MIN: Final = 13
"""Ids are shortened to this before titles are cut; the ends of two ids tell them apart."""

FIRST_WORDS_MESSAGES_MAX: Final = 500
"""A longer conversation isn't read only to show how it begins: lists stay quick."""

_GAP: Final = "  "


class _Row(NamedTuple):
    id: str
    title: Text
    messages: str
    changed: str
    badges: Text


async def print_table(sessions: SessionRepository, heads: Sequence[SessionHead]) -> None:
    """Print a page of sessions."""
    from rich.table import Table

    if not heads:
        return
    rows = [await _row(sessions, head) for head in heads]
    screen = console()
    ids, titles = _widths(rows, screen.width)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, len(_GAP), 0, 0))
    table.add_column("SESSION", style="bold", no_wrap=True, min_width=ids)
    if titles:
        table.add_column("TITLE", overflow="ellipsis", no_wrap=True, max_width=titles)
    table.add_column("MESSAGES", justify="right", no_wrap=True, min_width=len("MESSAGES"))
    table.add_column("CHANGED", justify="right", no_wrap=True, min_width=max(len(row.changed) for row in rows))
    table.add_column("")
    for row in rows:
        title = [row.title] if titles else []
        table.add_row(_plain(shortened(row.id, ids)), *title, row.messages, row.changed, row.badges)
    screen.print(table)


async def _row(sessions: SessionRepository, head: SessionHead) -> _Row:
    from rich.text import Text

    title = Text(one_line(head.title or "", TITLE_CHARS_MAX))
    if not head.title:
        title = Text(await first_words(sessions, head), style="dim italic")
    words = Text(" ").join(Text(*badge) for badge in badges(head))
    return _Row(head.id, title, f"{head.message_count:,}", age(head.updated_at, SYSTEM_CLOCK.now()), words)


async def first_words(sessions: SessionRepository, head: SessionHead) -> str:
    """How the user began; empty if nobody did, or finding out takes too long."""
    if not 0 < head.message_count <= FIRST_WORDS_MESSAGES_MAX:
        return ""
    with suppress(StorageCorruptError):  # a list shows all the others
        session = await sessions.load(head.id)
        for message in session.messages if session is not None else ():
            if message.role == "user" and (words := one_line(message.text, TITLE_CHARS_MAX)):
                return words
    return ""


def _widths(rows: Sequence[_Row], width: int) -> tuple[int, int]:
    """The columns for ids and for titles; 0: no titles."""
    changed = max(len("CHANGED"), *(len(row.changed) for row in rows))
    words = max(len(row.badges) for row in rows)
    left = width - len("MESSAGES") - changed - words - 4 * len(_GAP)
    ids = max(len("SESSION"), *(len(row.id) for row in rows))
    titles = max(row.title.cell_len for row in rows)
    ids_min = min(ids, ID_CHARS_MIN)
    if not titles or left - ids_min < TITLE_CHARS_MIN:
        return min(ids, max(left + len(_GAP), len("SESSION"))), 0
    ids = min(ids, max(ids_min, left - titles))
    return ids, left - ids


def _plain(text: str) -> Text:
    from rich.text import Text

    return Text(text)
