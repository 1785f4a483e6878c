"""Looks for what can't be right in the search index, once it is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import apsw

from bamboo_sessions.domain.report import Problem
from bamboo_sessions.storage.sqlite.search.file import Main
from bamboo_sessions.storage.sqlite.search.indexing import (
    HEAD_TABLES,
    MESSAGE_TABLES,
    advance,
    advance_within,
    expected_rows,
    is_current,
    writing,
)
from bamboo_sessions.storage.sqlite.transactions.connection import reading, rows_of
from bamboo_sessions.storage.sqlite.transactions.tuning import SEARCH_ATTEMPTS

_REPAIR: Final = "Makes the search index anew."


def find_index_problems(index: apsw.Connection, main: Main) -> tuple[Problem, ...]:
    """What is wrong: its pages, its tables, and whether it has a row for each text and no other.

    Looks at the two when the index is as new as the main file, which nobody waits for. If writers never pause, they are
    held up for as long as it takes.
    """
    for _ in range(SEARCH_ATTEMPTS):
        while not advance(index, main).is_done:
            pass
        with reading(index):
            index.execute("SELECT 1 FROM meta").fetchall()  # its snapshot has to be the older one
            with main.reading():
                if is_current(index, main):
                    return _found(index, main)
    with writing(index), main.reading():  # so that nobody gets ahead between the two
        while not advance_within(index, main).is_done:
            pass
        return _found(index, main)


def _found(index: apsw.Connection, main: Main) -> tuple[Problem, ...]:
    return tuple(Problem(kind="search_index", detail=each, repair=_REPAIR) for each in _problems(index, main))


def _problems(index: apsw.Connection, main: Main) -> Iterator[str]:
    for (text,) in rows_of(index, "PRAGMA quick_check(10)"):
        if text != "ok":
            yield f"The search index is damaged: {text}"
            return
    for tables, expected in zip((MESSAGE_TABLES, HEAD_TABLES), expected_rows(main), strict=True):
        for table in tables:
            found = {number for (number,) in rows_of(index, f"SELECT id FROM {table}_docsize")}  # noqa: S608 - constants
            if found != expected:
                missing, other = len(expected - found), len(found - expected)
                yield f"The search index lacks {missing} texts and has {other} that don't exist ({table})."
