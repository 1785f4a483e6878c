"""The search index at work: a thread of its own, which answers searches and keeps the index up to date behind writers.

Nothing exists until somebody searches: the first search makes the file. Where there is one, commits of this process
are indexed a moment later, many at once and a chunk at a time, so that writers don't notice and a search never
waits for long. A search first catches up with everything that any process has committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import apsw

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.report import Problem
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.storage.port import Progress
from bamboo_sessions.storage.sqlite.search.file import index_path, size_of
from bamboo_sessions.storage.sqlite.search.waiting import Waiting
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.errors import translated
from bamboo_sessions.storage.sqlite.transactions.worker import Request, Worker

if TYPE_CHECKING:
    from bamboo_sessions.storage.search_query import SearchQuery
    from bamboo_sessions.storage.sqlite.search.index import SearchIndex

_log: Final = logging.getLogger("bamboo_sessions")


class SearchEngine:
    """Searches of one open database file. Used on one event loop's thread; what begins with `_` on its own."""

    def __init__(self, path: str, busy_timeout_ms: int) -> None:
        self._main_path = path
        self._path = index_path(path)
        self._busy_timeout_ms = busy_timeout_ms
        self._worker: Worker | None = None
        self._index: SearchIndex | None = None
        self._is_kept = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_tending = False
        self._is_open = False
        self._searches: set[Waiting] = set()

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
        if self._index is not None:
            self._index.close()

    def _opened(self) -> SearchIndex:
        if self._index is None:
            from bamboo_sessions.storage.sqlite.search.index import SearchIndex

            self._index = SearchIndex(self._main_path, self._path, self._busy_timeout_ms)
        return self._index

    # --- searching

    async def search(self, query: SearchQuery, on_progress: Progress | None) -> SearchPage:
        """Catch up, and search. Cancelling ends the work at the next chunk."""
        with self._waiting(on_progress) as waiting:
            page = await self._started().submit(lambda _: self._opened().answer(query, waiting))
        self._is_kept = self._is_open
        return page

    @contextmanager
    def _waiting(self, on_progress: Progress | None = None) -> Iterator[Waiting]:
        waiting = Waiting(on_progress)
        self._searches.add(waiting)
        try:
            yield waiting
        finally:
            waiting.is_over = True
            self._searches.discard(waiting)

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
            self._started().post(self._advance)

    def _advance(self, _: object) -> None:
        """A chunk, then what is queued meanwhile, then the next chunk."""
        done = True
        try:
            done = self._opened().advance()
        except (apsw.Error, OSError, StorageError) as exc:  # the next search meets it, too, and deals with it
            _log.debug("indexing behind the writers: %s", exc)
        self._is_tending = not done
        if not done and self._worker is not None:
            self._worker.post(self._advance)

    # --- upkeep

    async def check(self, *, repair: bool) -> tuple[Problem, ...]:
        """What is wrong with the index, if there is one; with `repair` it is made anew."""
        if not self._path.exists():
            return ()
        with self._waiting() as waiting:
            return await self._started().submit(lambda _: self._opened().find_problems(waiting, repair=repair))

    @property
    def size(self) -> int:
        """Bytes of the index on disk."""
        return size_of(self._path)
