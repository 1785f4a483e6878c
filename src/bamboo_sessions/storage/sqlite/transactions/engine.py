"""The threads and connections behind one open database file.

- The *writer* thread commits in groups, on the only connection that writes (see `writer`). Short commits on a quick
  disk are made with it on the event loop's own thread (see `loop_writer`).
- The *reader* thread does the reads that take long, one after another.
- The *upkeep* thread prepares the file, copies the write-ahead log into it, off the writer's path, and does the reads
  that take seconds: checks, in slices, and backups.
- The *search* thread answers searches, and indexes what was committed (see `search.engine`); there is none until then.
- The event loop's own thread has a connection for small reads, which take less than a hop to a thread; it never
  waits for a lock: what is busy goes to the reader thread.

Nothing survives a fork, for SQLite's locks belong to the process: afterwards each call raises. So it does once the
paths name other files than those that are open (see `open_file`).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, TypeVar

import apsw

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.domain.limits import GROUP_BYTES_MAX, GROUP_COMMITS_MAX
from bamboo_sessions.storage.sqlite.history import reads
from bamboo_sessions.storage.sqlite.search.engine import SearchEngine
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.connection import (
    Durability,
    close,
    connect_reader,
    connect_writer,
    wait_for_locks,
)
from bamboo_sessions.storage.sqlite.transactions.errors import translated, understanding
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter
from bamboo_sessions.storage.sqlite.transactions.migrations import prepare
from bamboo_sessions.storage.sqlite.transactions.open_file import OpenFile, forks
from bamboo_sessions.storage.sqlite.transactions.others import CarryOut, Others
from bamboo_sessions.storage.sqlite.transactions.wal import Log
from bamboo_sessions.storage.sqlite.transactions.worker import Batch, Portable, Request, Worker
from bamboo_sessions.storage.sqlite.transactions.writer import Writer

T = TypeVar("T")
_log: Final = logging.getLogger("bamboo_sessions")
Work = Callable[[apsw.Connection], T]

_left_behind: Final[list[object]] = []
"""Engines of a parent process: closing their connections in the child could disturb the parent, so they are kept."""


_numbers: Final = count(1)
"""Numbers the engines of this process, in the order of their making."""


class Engine:
    """An open database file. Made, used and closed on one event loop's thread."""

    def __init__(
        self, path: str, durability: Durability, busy_timeout_ms: int, carry_out: CarryOut | None = None
    ) -> None:
        self.path = path = os.path.realpath(path)  # SQLite keeps its log beside the file, not beside a link to it
        self._durability = durability
        self._busy_timeout_ms = busy_timeout_ms
        self.number = next(_numbers)
        self._born_after = forks()
        self._is_open = False
        self._is_started = False
        self._closing: asyncio.Future[None] | None = None
        self._loop_reader: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._aside: apsw.Connection | None = None
        self._checkpointer: apsw.Connection | None = None
        self._checkpoint_queued = False
        self._file = OpenFile(path)
        self._others = Others(path, self.number, carry_out)
        log = Log(path, self._queue_checkpoint)
        self._writer = Writer(self._file, self._connect, log, self._others, busy_timeout_ms)
        self._writing = Worker(
            "bamboo-sessions writer",
            self._writer.run,
            self._writer.finish,
            batch=Batch(GROUP_COMMITS_MAX, GROUP_BYTES_MAX),
            after=self._writer.tend_log,
            is_due=lambda: self._writer.log.is_due,
        )
        self._loop_writer = LoopWriter(self._writer, self._writing)
        self._reading = Worker("bamboo-sessions reader", self._run_reads, self._close_reader)
        self._upkeep = Worker("bamboo-sessions upkeep", self._run_upkeep, self._close_rest)
        self.search = SearchEngine(path, busy_timeout_ms)

    # --- life

    async def open(self) -> None:
        """Start the threads and prepare the file."""
        self._is_started = True
        for worker in (self._upkeep, self._reading, self._writing):
            worker.start()
        try:
            await self._upkeep.submit(self._prepare)
        except BaseException:
            await self.aclose()
            raise
        self.search.open()
        self._is_open = True

    async def aclose(self) -> None:
        """Do what is queued, end the threads, close the connections. Idempotent; cancelling only stops the waiting."""
        self._is_open = False
        if not self._is_started:
            return
        if self._closing is None:
            self._loop_writer.finish()
            self._writing.stop()
            self._reading.stop()
            self.search.stop()
            self._closing = self._upkeep.submit(self._join)
            self._upkeep.stop()
        await asyncio.shield(self._closing)
        self._upkeep.join()

    def _join(self, _: object) -> None:
        self._writing.join()
        self._reading.join()
        self.search.join()

    def abandon(self) -> None:
        """Let go without waiting: nobody closed it."""
        if self.is_inherited:
            _left_behind.append(self)
        elif self._is_open:
            self._is_open = False
            for worker in (self._writing, self._reading, self._upkeep):
                worker.stop()
            self.search.stop()

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child, and the engine its parent's."""
        return forks() != self._born_after

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed."""
        return self._is_open

    def check_usable(self) -> None:
        """Raise `StorageError` in a forked child, before `open`, after `aclose`, and once the file was replaced."""
        self.check_not_forked()
        if not self._is_open:
            raise StorageError(f"{self.path} isn't open.", hint="Await `open()` first; after `aclose()` it is over.")
        self._file.check_now_and_then()

    def check_not_forked(self) -> None:
        """Raise `StorageError` in a forked child."""
        if self.is_inherited:
            raise StorageError(
                f"{self.path} was opened by the process that this one was forked from.",
                hint="Close the store before the fork, or start processes with `spawn`; then open it in each of them.",
            )

    # --- work

    async def write(
        self, work: Work[T], size: int = 0, *, is_short: bool = False, portable: Portable | None = None
    ) -> T:
        """Run `work` as one transaction, durable when this returns. `work` may run again.

        Args:
            work: What to do.
            size: Bytes that it writes, roughly.
            is_short: It takes a fraction of a millisecond, and may be done on this thread.
            portable: How another process does it, if that has its turn; `None`: it can't.
        """
        self.check_usable()
        if is_short and self._loop_writer.is_quick:
            result = await self._loop_writer.write(work, size, portable)
        else:
            result = await self._writing.submit(work, size, portable)
        self.search.written()
        return result

    def write_behind(self, work: Work[bool]) -> None:
        """Run `work`, which writes what is derived, behind the writers, and again as long as it returns `True`.

        Nobody waits for it. It is called once more if a transaction fails, and not again once the store is closed.
        """

        def again(connection: apsw.Connection) -> None:
            if work(connection):
                self._writing.post(again)

        self._writing.post(again)

    async def read(self, work: Work[T]) -> T:
        """Run `work` on the reader thread."""
        self.check_usable()
        return await self._reading.submit(work)

    async def read_aside(self, work: Work[T]) -> T:
        """Run `work`, which may take seconds, on the upkeep thread: other reads don't wait for it."""
        self.check_usable()
        return await self._upkeep.submit(lambda _: work(self._opened_aside()))

    def read_on_loop(self, work: Work[T]) -> T:
        """Run `work` now, on this thread; raises `StorageUnavailableError` if it would have to wait."""
        self.check_usable()
        assert self._loop_reader is not None  # noqa: S101 - tells the type checker what check_usable made sure of
        try:
            return work(self._loop_reader)
        except apsw.Error as exc:
            raise self._translated(exc) from exc
        except Exception:
            with understanding(self.path):  # entered only now: it would take longer than the shortest reads
                raise

    def _translated(self, exc: apsw.Error) -> StorageError:
        """Our error: a file that was replaced isn't a corrupt one."""
        return translated(exc, self.path) if self._file.is_in_place() else self._file.error()

    # --- the threads

    def _connect(self) -> apsw.Connection:
        self._check_in_place()
        return connect_writer(self.path, self._durability, busy_timeout_ms=self._busy_timeout_ms)

    def _prepare(self, _: object) -> None:
        """Make the file ready, and the connections, so that the first calls needn't wait for them."""
        self._file.open()
        self._others.join(f"{self._file.identity} {self._durability}")
        prepare(self.path, busy_timeout_ms=self._busy_timeout_ms)
        self._writer.connection()
        reads.warm_up(self._reader_connection())
        # Its settings read the file, which another process may have locked for a moment while it opens or closes.
        self._loop_reader = connect_reader(
            self.path,
            busy_timeout_ms=self._busy_timeout_ms,
            cache_kib=tuning.LOOP_CACHE_KIB,
            mmap_bytes=tuning.LOOP_MMAP_BYTES,
        )
        reads.warm_up(self._loop_reader)
        wait_for_locks(self._loop_reader, 0)
        self._file.note_log()
        self._check_in_place()

    def _check_in_place(self) -> None:
        if not self._file.is_in_place():
            raise self._file.error()

    def _run_upkeep(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._answer(request, lambda: None)

    def _run_reads(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._answer(request, self._reader_connection)

    def _answer(self, request: Request, argument: Callable[[], object]) -> None:
        try:
            with understanding(self.path):
                request.result = request.work(argument())
        except apsw.Error as exc:
            request.error = self._translated(exc)
            request.error.__cause__ = exc
        except BaseException as exc:  # noqa: BLE001 - goes to its caller
            request.error = exc

    def _reader_connection(self) -> apsw.Connection:
        if self._reader is None:
            self._check_in_place()
            self._reader = connect_reader(
                self.path, busy_timeout_ms=self._busy_timeout_ms, cache_kib=tuning.PAGE_CACHE_KIB
            )
        return self._reader

    def _opened_aside(self) -> apsw.Connection:
        if self._aside is None:
            self._check_in_place()
            self._aside = connect_reader(
                self.path, busy_timeout_ms=self._busy_timeout_ms, cache_kib=tuning.LOOP_CACHE_KIB
            )
        return self._aside

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._close(self._reader)

    def _close(self, connection: apsw.Connection) -> None:
        close(connection, checkpoint=self._file.is_in_place())

    # --- checkpoints

    def _queue_checkpoint(self) -> None:
        if not self._checkpoint_queued:
            self._checkpoint_queued = True
            self._upkeep.post(self._checkpoint)

    def _checkpoint(self, _: object) -> None:
        self._checkpoint_queued = False
        if not self._file.is_in_place():  # the log that is open isn't this file's any more
            return
        if self._checkpointer is None:
            self._checkpointer = self._connect()
        try:
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:  # another process is at it
            return
        except apsw.Error as exc:
            _log.error("%s: the log could not be copied into the file: %s", self.path, exc)
            return
        self._writer.log.finish_checkpoint = True

    def _close_rest(self) -> None:
        """The last thread to end closes what is left: the loop's connection, which isn't used any more by then.

        If the opening was cancelled, the other threads may have ended before their connections were made.
        """
        self._writer.close()
        self._close_reader()
        for connection in (self._checkpointer, self._aside, self._loop_reader):
            if connection is not None:
                self._close(connection)
        self._file.close()
