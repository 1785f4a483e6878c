"""The search index at work: a thread of its own, which answers searches and keeps the index up to date behind writers.

Nothing exists until somebody searches: the first search makes the file. Where there is one, commits of this process
are indexed a moment later, many at once and a chunk at a time, so that writers don't notice and a search never
waits for long. A search first catches up with everything that any process has committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.report import Problem
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.storage.port import Progress
from bamboo_sessions.storage.query import SearchQuery
from bamboo_sessions.storage.sqlite import indexing, tuning
from bamboo_sessions.storage.sqlite.connection import connect_reader, reading
from bamboo_sessions.storage.sqlite.errors import translated, translating
from bamboo_sessions.storage.sqlite.search_check import find_index_problems
from bamboo_sessions.storage.sqlite.search_file import Main, Mark, empty, end_of, index_path, open_index, size_of
from bamboo_sessions.storage.sqlite.searching import Check, Search
from bamboo_sessions.storage.sqlite.worker import Request, Worker

T = TypeVar("T")
Work = Callable[[apsw.Connection, Main], T]

_log: Final = logging.getLogger("bamboo_sessions")
_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.IOError, apsw.FormatError)


class _Waiting:
    """Whether somebody waits for an answer; and whom to tell how far it is."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.is_over = False
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        if self.is_over:
            raise StorageError("The store was closed, or the search cancelled, before it was done.")

    def tell(self, done: int, total: int) -> None:
        if self._on_progress is not None and not self.is_over:
            self._loop.call_soon_threadsafe(self._report, done, total)

    def _report(self, done: int, total: int) -> None:
        if self._on_progress is not None and not self.is_over:
            self._on_progress(done, total)


class SearchEngine:
    """Searches of one open database file. Used on one event loop's thread; what begins with `_` on its own."""

    def __init__(self, path: str, busy_timeout_ms: int) -> None:
        self._main_path = path
        self._path = index_path(path)
        self._busy_timeout_ms = busy_timeout_ms
        self._worker: Worker | None = None
        self._index: apsw.Connection | None = None
        self._main: Main | None = None
        self._is_kept = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_tending = False
        self._is_open = False
        self._searches: set[_Waiting] = set()

    # --- life

    def open(self) -> None:
        """Find out whether there is an index, which is kept up to date then."""
        self._is_open = True
        self._is_kept = self._path.exists()

    def stop(self) -> None:
        """Let the thread end; searches under way fail at their next chunk. Doesn't wait."""
        self._is_open = self._is_kept = False
        for waiting in self._searches:
            waiting.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._worker is not None:
            self._worker.stop()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._worker is not None:
            self._worker.join()

    def _started(self) -> Worker:
        if self._worker is None:
            self._worker = Worker("bamboo-sessions search", self._run, self._close)
            self._worker.start()
        return self._worker

    def _run(self, requests: Sequence[Request]) -> None:
        for request in requests:
            try:
                request.result = request.work(None)
            except apsw.Error as exc:
                request.error = translated(exc, str(self._path))
                request.error.__cause__ = exc
            except BaseException as exc:  # noqa: BLE001 - goes to its caller
                request.error = exc

    def _close(self) -> None:
        index, self._index = self._index, None
        main, self._main = self._main, None
        if main is not None:
            main.connection.close()
        if index is not None:
            index.close()

    # --- searching

    async def search(self, query: SearchQuery, on_progress: Progress | None) -> SearchPage:
        """Catch up, and search. Cancelling ends the work at the next chunk."""
        with self._waiting(on_progress) as waiting:
            page = await self._started().submit(lambda _: self._answer(query, waiting))
        self._is_kept = self._is_open
        return page

    @contextmanager
    def _waiting(self, on_progress: Progress | None = None) -> Iterator[_Waiting]:
        waiting = _Waiting(on_progress)
        self._searches.add(waiting)
        try:
            yield waiting
        finally:
            waiting.is_over = True
            self._searches.discard(waiting)

    def _answer(self, query: SearchQuery, waiting: _Waiting) -> SearchPage:
        return self._on_index(lambda index, main: self._search(index, main, query, waiting))

    def _search(self, index: apsw.Connection, main: Main, query: SearchQuery, waiting: _Waiting) -> SearchPage:
        """The answer with an index that is as new as the main file; if writers never pause, as new as at the call."""
        goal = end_of(main)
        for _ in range(tuning.SEARCH_ATTEMPTS):
            if (page := _page(index, main, query, waiting.check, only_if_current=True)) is not None:
                return page
            _catch_up(index, main, waiting, goal)
        page = _page(index, main, query, waiting.check)
        assert page is not None  # noqa: S101 - tells the type checker that there is no condition
        return page

    def _on_index(self, work: Work[T]) -> T:
        """Do `work` with the index; if that is damaged, with a new one."""
        try:
            return work(*self._connections())
        except _DAMAGED as exc:
            _log.warning("the search index %s is made anew: %s", self._path, exc)
            self._throw_away()
            return work(*self._connections())

    def _connections(self) -> tuple[apsw.Connection, Main]:
        if self._main is None:
            with translating(self._main_path):
                reader = connect_reader(
                    self._main_path, busy_timeout_ms=self._busy_timeout_ms, cache_kib=tuning.LOOP_CACHE_KIB
                )
            self._main = Main(reader, self._main_path)
        if self._index is None:
            self._index = open_index(self._path, busy_timeout_ms=self._busy_timeout_ms)
        return self._index, self._main

    def _throw_away(self) -> None:
        try:
            self._close()
        finally:
            empty(self._path, busy_timeout_ms=self._busy_timeout_ms)

    # --- behind the writers

    def written(self) -> None:
        """Something was committed: index it in a while. Costs nothing."""
        if self._is_kept and self._timer is None and not self._is_tending:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(tuning.SEARCH_DELAY_SECONDS, self._tend)

    def _tend(self) -> None:
        self._timer = None
        if self._is_kept:
            self._is_tending = True
            self._started().post(self._tend_here)

    def _tend_here(self, _: object) -> None:
        """A chunk, then what is queued meanwhile, then the next chunk."""
        done = True
        try:
            done = indexing.advance(*self._connections()).is_done
        except (apsw.Error, OSError, StorageError) as exc:  # the next search meets it, too, and deals with it
            _log.debug("indexing behind the writers: %s", exc)
        self._is_tending = not done
        if not done and self._worker is not None:
            self._worker.post(self._tend_here)

    # --- upkeep

    async def check(self, *, repair: bool) -> tuple[Problem, ...]:
        """What is wrong with the index, if there is one; with `repair` it is made anew."""
        if not self._path.exists():
            return ()
        with self._waiting() as waiting:
            return await self._started().submit(lambda _: self._find_problems(waiting, repair=repair))

    def _find_problems(self, waiting: _Waiting, *, repair: bool) -> tuple[Problem, ...]:
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

    @property
    def size(self) -> int:
        """Bytes of the index on disk."""
        return size_of(self._path)


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


def _catch_up(index: apsw.Connection, main: Main, waiting: _Waiting, goal: Mark) -> None:
    while True:
        progress = indexing.advance(index, main)
        waiting.check()
        if progress.has(goal):
            return
        waiting.tell(progress.mark.row, progress.end.row)
