"""The search index on its thread: catching up with the database, answering, looking for damage.

Made by the first search, and imported then, for most processes never search. The index is derived: one that is
damaged is thrown away and made anew. One that this user can't write, which another user has made, doesn't keep anybody
from searching: then the index is a temporary file of this process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageError, StorageUnavailableError
from bamboo_sessions.domain.report import Problem
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.storage.search_query import SearchQuery
from bamboo_sessions.storage.sqlite.search import indexing
from bamboo_sessions.storage.sqlite.search.file import Main, Mark, empty, end_of, open_index
from bamboo_sessions.storage.sqlite.search.searching import Check, Search
from bamboo_sessions.storage.sqlite.search.waiting import Waiting
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.connection import close, connect_reader, reading
from bamboo_sessions.storage.sqlite.transactions.errors import translating
from bamboo_sessions.storage.sqlite.transactions.open_file import OpenFile
from bamboo_sessions.storage.sqlite.upkeep.search_check import find_index_problems

T = TypeVar("T")
Work = Callable[[apsw.Connection, Main], T]

_log: Final = logging.getLogger("bamboo_sessions")
_OUT_OF_REACH: Final = (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, StorageError)
_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.IOError, apsw.FormatError)


class SearchIndex:
    """The index at `path` of the database at `main_path`. Used on one thread; opens its connections when needed."""

    def __init__(self, main_path: str, path: Path, busy_timeout_ms: int) -> None:
        self._main_path = main_path
        self._path = path
        self._file = OpenFile(str(path))
        self._is_temporary = False
        self._busy_timeout_ms = busy_timeout_ms
        self._index: apsw.Connection | None = None
        self._main: Main | None = None

    def close(self) -> None:
        """Close both connections; they are opened again if need be."""
        index, self._index = self._index, None
        main, self._main = self._main, None
        if main is not None:
            close(main.connection)
        if index is not None:
            close(index)
        self._file.close()

    def answer(self, query: SearchQuery, waiting: Waiting) -> SearchPage:
        """Catch up, and search; with an index that is damaged, on a new one."""
        try:
            return _search(*self._connections(), query, waiting)
        except _DAMAGED as exc:
            _log.warning("the search index %s is made anew: %s", self._path, exc)
            self._throw_away()
            return _search(*self._connections(), query, waiting)

    def advance(self) -> bool:
        """Index one chunk of what is new; whether that was all."""
        return indexing.advance(*self._connections()).is_done

    def find_problems(self, waiting: Waiting, *, repair: bool) -> tuple[Problem, ...]:
        """Catch up, and say what is wrong with the index; with `repair` it is made anew."""
        try:
            index, main = self._connections()
            _catch_up(index, main, waiting, end_of(main))
            problems = find_index_problems(index, main)
        except _DAMAGED as exc:
            problems = (Problem(kind="search_index", detail=str(exc), repair="Makes the search index anew."),)
        if not problems or not repair:
            return problems
        self._throw_away()
        index, main = self._connections()
        _catch_up(index, main, waiting, end_of(main))
        return tuple(msgspec.structs.replace(problem, repaired=True) for problem in problems)

    def _connections(self) -> tuple[apsw.Connection, Main]:
        if self._main is None:
            with translating(self._main_path):
                reader = connect_reader(
                    self._main_path, busy_timeout_ms=self._busy_timeout_ms, cache_kib=tuning.LOOP_CACHE_KIB
                )
            self._main = Main(reader, self._main_path)
        if self._index is None:
            self._index = self._opened()
        return self._index, self._main

    def _opened(self) -> apsw.Connection:
        try:
            self._file.open(beside=self._main_path)
            index = open_index(str(self._path), busy_timeout_ms=self._busy_timeout_ms)
            self._is_temporary = False
        except StorageUnavailableError:
            raise
        except _OUT_OF_REACH as exc:
            self._file.close()
            _log.warning(
                "the search index %s can't be opened (%s), so this process makes one of its own each time it starts; "
                "give the file to the owner of the store, or delete it while nobody has the store open",
                self._path,
                exc,
            )
            index = open_index("", busy_timeout_ms=self._busy_timeout_ms)
            self._is_temporary = True
        return index

    def _throw_away(self) -> None:
        try:
            self.close()
        finally:
            if not self._is_temporary:
                empty(self._path, busy_timeout_ms=self._busy_timeout_ms)


def _search(index: apsw.Connection, main: Main, query: SearchQuery, waiting: Waiting) -> SearchPage:
    """The answer with an index that is as new as the main file; if writers never pause, as new as at the call."""
    goal = end_of(main)
    for _ in range(tuning.SEARCH_ATTEMPTS):
        if (page := _page(index, main, query, waiting.check, only_if_current=True)) is not None:
            return page
        _catch_up(index, main, waiting, goal)
    page = _page(index, main, query, waiting.check)
    assert page is not None  # noqa: S101 - tells the type checker that there is no condition
    return page


def _page(
    index: apsw.Connection, main: Main, query: SearchQuery, check: Check, *, only_if_current: bool = False
) -> SearchPage | None:
    """The answer. The index's snapshot must be the older one, or rows of the main file could seem to be missing."""
    with reading(index):
        index.execute("SELECT 1 FROM meta").fetchall()
        with main.reading():
            if only_if_current and not indexing.is_current(index, main):
                return None
            return Search(index, main, query, check).page()


def _catch_up(index: apsw.Connection, main: Main, waiting: Waiting, goal: Mark) -> None:
    while True:
        progress = indexing.advance(index, main)
        waiting.check()
        if progress.has(goal):
            return
        waiting.tell(progress.mark.position, progress.end.position)
