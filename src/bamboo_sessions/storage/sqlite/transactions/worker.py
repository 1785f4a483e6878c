"""A thread that does blocking work for the event loop: a queue in, one wake-up of the loop out.

Results travel back with `call_soon_threadsafe`: one call for everything that was finished together. A caller may
have been cancelled meanwhile; the work is done all the same, and its result dropped (G10).

Nobody waits for a thread that has ended, whatever ended it: what is queued then, and what comes later, is refused at
once (L134).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from bamboo_sessions.domain.errors import BambooSessionsError, StorageError, StorageUnavailableError
from bamboo_sessions.domain.limits import WAITING_CALLS_MAX

T = TypeVar("T")
_log: Final = logging.getLogger("bamboo_sessions")


class Portable(Protocol):
    """A request that another process can carry out, or may have carried out."""

    def encode(self) -> bytes | None:
        """The request as bytes; `None`: only this process can carry it out."""
        ...

    def decode(self, outcome: bytes) -> object:
        """The result, of what the other process made of it."""
        ...

    def again(self, connection: Any, /) -> object:  # noqa: ANN401 - as any work
        """Carry it out here, unless that was done already."""
        ...


class Request:
    """A piece of work, its size in bytes, who waits for it (`None`: nobody), and what became of it.

    `portable`: how another process does it; `None`: it can't. `was_posted`: whether one may be doing it.
    """

    __slots__ = ("error", "future", "loop", "portable", "result", "size", "was_posted", "work")

    def __init__(
        self,
        work: Callable[[Any], Any],
        size: int,
        loop: asyncio.AbstractEventLoop | None,
        future: asyncio.Future[Any] | None,
        portable: Portable | None = None,
    ) -> None:
        self.work = work
        self.size = size
        self.loop = loop
        self.future = future
        self.portable = portable
        self.was_posted = False
        self.result: Any = None
        self.error: BaseException | None = None

    def look_first(self) -> None:
        """From now on look whether it was done already, before doing it."""
        if self.portable is not None:
            self.work = self.portable.again


def check_room(waiting: int) -> None:
    """Raise `StorageUnavailableError` if too much is waiting already."""
    if waiting >= WAITING_CALLS_MAX:
        message = f"{WAITING_CALLS_MAX:,} calls are waiting for storage already."
        raise StorageUnavailableError(message, hint="Let fewer tasks write at once, or try again later.")


class Batch(NamedTuple):
    """How much a worker takes from its queue at once: requests, and bytes."""

    requests_max: int
    bytes_max: int


ONE_BY_ONE = Batch(1, 0)

_NOTHING: Final = Request(lambda _: None, 0, None, None)
"""Wakes the thread."""


class Worker:
    """A thread that hands what is queued to `run`, which fills in results or errors and never raises.

    Args:
        name: The thread's name.
        run: Does a batch.
        finish: Called in the thread when it ends.
        batch: Bounds of a batch.
        after: Called in the thread after a batch was answered, and when somebody wakes it, if it `is_due`.
        is_due: Whether there is something to do afterwards.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Request]], None],
        finish: Callable[[], None],
        *,
        batch: Batch = ONE_BY_ONE,
        after: Callable[[], None] = lambda: None,
        is_due: Callable[[], bool] = lambda: False,
    ) -> None:
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._run = run
        self._finish = finish
        self._after = after
        self._is_due = is_due
        self._batch = batch
        self._is_over = False
        self._given = self._taken = self._done = 0
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, work: Callable[[Any], T], size: int = 0, portable: Portable | None = None) -> asyncio.Future[T]:
        """Queue `work`; the future brings its result to the running event loop.

        Raises `StorageUnavailableError` if too much is waiting already.
        """
        check_room(self.waiting)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.put(Request(work, size, loop, future, portable))
        return future

    def put(self, request: Request) -> None:
        """Queue a request, however much is waiting. May be called on any thread."""
        self._given += 1
        self._queue.put(request)
        if self._is_over:
            self._refuse_waiting()

    def post(self, work: Callable[[Any], None]) -> None:
        """Queue `work` that nobody waits for. May be called on any thread."""
        self.put(Request(work, 0, None, None))

    def wake(self) -> None:
        """Let the thread call `after`."""
        self.put(_NOTHING)

    @property
    def waiting(self) -> int:
        """How many requests are queued."""
        return self._queue.qsize()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued, nor being done or tidied up after. For the only thread that queues."""
        return self._done == self._given

    def stop(self) -> None:
        """Let the thread end once it has done what is queued. Doesn't wait."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    def _main(self) -> None:
        try:
            while self._serve():
                pass
        finally:
            self._logging("ending", self._finish)
            self._is_over = True
            self._refuse_waiting()

    def _serve(self) -> bool:
        """One batch, and what comes after it; whether to go on."""
        requests, going = self._next()
        if requests:
            self._guarded(requests)
        is_due = self._is_due()
        if not is_due:
            self._done = self._taken  # before anybody hears of it, and asks `is_idle`
        _wake(requests)
        del requests  # nothing is kept alive while waiting
        if is_due:
            self._logging("tidying up", self._after)
            self._done = self._taken
        return going

    def _guarded(self, requests: Sequence[Request]) -> None:
        """Run a batch; should `run` raise all the same, its callers are told, in place of waiting for ever."""
        try:
            self._run(requests)
        except BaseException as exc:  # noqa: BLE001 - the thread has to go on
            _log.exception("%s: a fault that nobody foresaw", self._thread.name)
            for request in requests:
                request.result, request.error = None, request.error or _unforeseen(exc)

    def _logging(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the thread has to go on
            _log.exception("%s: %s failed", self._thread.name, what)

    def _refuse_waiting(self) -> None:
        """Answer what is queued for a thread that has ended. On any thread; each request is taken once."""
        refused: list[Request] = []
        with suppress(Empty):
            while True:
                request = self._queue.get_nowait()
                if request is not None and request is not _NOTHING:
                    request.error = StorageError(
                        f"The thread {self._thread.name!r} has ended: the store is closed.", hint="Open it anew."
                    )
                    refused.append(request)
        _wake(refused)

    def _next(self) -> tuple[list[Request], bool]:
        """All that is waiting, within the bounds; and whether to go on."""
        first = self._queue.get()
        self._taken += 1
        if first is _NOTHING:
            return [], True
        if first is None:
            return [], False
        requests, size = [first], first.size
        while len(requests) < self._batch.requests_max and size < self._batch.bytes_max:
            try:
                request = self._queue.get_nowait()
            except Empty:
                break
            self._taken += 1
            if request is None:
                return requests, False
            if request is _NOTHING:
                break
            requests.append(request)
            size += request.size
        return requests, True


def _unforeseen(exc: BaseException) -> BaseException:
    """What callers are told: a driver's or Python's own error never leaks."""
    if isinstance(exc, BambooSessionsError):
        return exc
    error = StorageError(f"Storage failed in a way that nobody foresaw: {exc!r}", outcome_unknown=True)
    error.__cause__ = exc
    return error


def _wake(requests: Sequence[Request]) -> None:
    for loop in {request.loop for request in requests if request.loop is not None}:
        waiting = [request for request in requests if request.loop is loop]
        try:
            loop.call_soon_threadsafe(settle, waiting)
        except RuntimeError:  # the loop was closed: nobody waits any more
            continue


def settle(requests: Sequence[Request]) -> None:
    """Give each of `requests` that somebody still waits for its outcome. On the loop's thread."""
    for request in requests:
        if request.future is None or request.future.done():
            continue
        if isinstance(request.error, StopIteration):  # no future takes that
            request.future.set_exception(RuntimeError(f"A plan raised {request.error!r}."))
        elif request.error is not None:
            request.future.set_exception(request.error)
        else:
            request.future.set_result(request.result)
