"""`Portal`: how threads without an event loop call coroutines on one, and wait for what they return.

A caller blocks until its call has ended. If something interrupts the waiting (Ctrl-C, a signal handler that raises),
the call is cancelled, its end is awaited, and the interruption goes on: nothing of the call runs behind the caller's
back, but a commit that is under way (G10).

What would wait for ever raises instead: a call in a forked child, where the loop's thread doesn't exist; a call from
the loop's own thread, or from a function that the loop is waiting for; a call that closing has overtaken.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar

from bamboo_sessions.domain.errors import InputError, StorageError
from bamboo_sessions.domain.limits import PORTAL_GRACE_SECONDS

T = TypeVar("T")
P = ParamSpec("P")

_inside: Final[ContextVar[Portal | None]] = ContextVar("_inside", default=None)
"""The portal one of whose calls is running this function (`Portal.guarded`)."""


class Portal:
    """The way into the event loop that is running now, for all other threads. It lives as long as that loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._process_id = os.getpid()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_open = True
        self._opening = threading.Lock()  # no call gets in once `_is_open` is false
        self._closing = threading.Lock()  # one thread closes, others wait for it

    # --- calling

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait; what it returns, or raises. Context variables are seen by it, not set.

        Raises:
            InputError: This is the loop's own thread, or a function that a call runs on its way.
            StorageError: Closed, or in a forked child.
        """
        outcome: Future[T] = Future()
        call = _Call(self._calls, work, outcome)
        try:
            self._check_callable()
            self._begin(call)
            outcome.exception()  # waits, and returns what the call raised: what is raised here is a signal's
        except BaseException:
            if call.is_begun:
                self._loop.call_soon_threadsafe(call.cancel)
                outcome.exception()
            else:
                work.close()
            raise
        return outcome.result()

    def guarded(self, function: Callable[P, T]) -> Callable[P, T]:
        """`function`, for a call to run on its way: calls from inside are refused, as they would wait for that call."""

        def inside(*args: P.args, **kwargs: P.kwargs) -> T:
            token = _inside.set(self)
            try:
                return function(*args, **kwargs)
            finally:
                _inside.reset(token)

        return inside

    def _check_callable(self) -> None:
        if self.is_inherited:
            message = "This store was opened by the process that this one was forked from."
            raise StorageError(
                message, hint="Open it in each process, after the fork; or start processes with `spawn`."
            )
        if threading.get_ident() == self._thread_id or _inside.get() is self:
            message = "This call would wait for itself: it comes from inside another call of the store."
            raise InputError(message, hint="Make it before or after that one, or from another thread.")

    def _begin(self, call: _Call) -> None:
        with self._opening:
            if not self._is_open:
                raise _closed()
            call.is_begun = True
            self._loop.call_soon_threadsafe(call.begin)

    # --- closing

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy, behind which no loop runs."""
        return os.getpid() != self._process_id

    def close(self, last: Callable[[], Coroutine[Any, Any, T]], otherwise: T) -> T:
        """Make the call `last`, and refuse all others from then on.

        Returns:
            What `last` returns; `otherwise` if that was done before, or there is nothing to close in this process.
        """
        if self.is_inherited:
            return otherwise
        with self._closing:
            if not self._is_open:
                return otherwise
            try:
                return self.call(last())
            finally:
                self._end()

    def _end(self) -> None:
        with self._opening:
            self._is_open = False

    async def _finish(self) -> None:
        """Wait for the calls under way, which know that the store is closed; end those that don't."""
        await asyncio.sleep(0)  # all that were let in begin
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=PORTAL_GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class ThreadPortal(Portal):
    """A portal into a loop in a thread of its own. `started` makes one."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.current_thread()
        self._stop = asyncio.Event()

    @classmethod
    def started(cls) -> ThreadPortal:
        """A new thread's, running now and until `close`. It doesn't keep the interpreter from ending."""
        made: Future[ThreadPortal] = Future()
        threading.Thread(target=lambda: asyncio.run(_served(made)), name="bamboo-sessions", daemon=True).start()
        return made.result()

    def _end(self) -> None:
        super()._end()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def serve(self) -> None:
        """Let calls in until `close`."""
        await self._stop.wait()
        await self._finish()


async def _served(made: Future[ThreadPortal]) -> None:
    portal = ThreadPortal()
    made.set_result(portal)
    await portal.serve()


class _Call:
    """One call under way. Its methods run on the loop."""

    def __init__(self, calls: set[asyncio.Task[None]], work: Coroutine[Any, Any, T], outcome: Future[T]) -> None:
        self._calls = calls
        self._work = work
        self._outcome = outcome
        self._task: asyncio.Task[None] | None = None
        self.is_begun = False  # or about to

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._told())
        self._calls.add(self._task)
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._never_ran()

    async def _told(self) -> None:
        try:
            result = await self._work
        except asyncio.CancelledError as exc:
            self._outcome.set_exception(_closed(exc))
        except BaseException as exc:  # noqa: BLE001 - all of them are the caller's: an exit must not end the loop
            self._outcome.set_exception(exc)
        else:
            self._outcome.set_result(result)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not self._outcome.done():  # it was cancelled before its first step
            self._never_ran()

    def _never_ran(self) -> None:
        self._work.close()
        self._outcome.set_exception(_closed())


def _closed(cause: BaseException | None = None) -> StorageError:
    error = StorageError("The repository is closed.", hint="Open another one.")
    error.__cause__ = cause
    return error
