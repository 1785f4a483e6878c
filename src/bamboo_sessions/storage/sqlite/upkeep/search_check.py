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
    advance_within,
    expected_rows,
    writing,
)
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of

_REPAIR: Final = "Makes the search index anew."


def find_index_problems(index: apsw.Connection, main: Main) -> tuple[Problem, ...]:
    """What is wrong: its pages, its tables, and whether it has a row for each text and no other."""
    with writing(index), main.reading():  # so that nobody gets ahead between the two
        while not advance_within(index, main).is_done:
            pass
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
