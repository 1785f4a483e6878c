"""Tasks that outlive their callers, and the one event loop that a store belongs to while that runs."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from traceback import walk_tb
from typing import Any, Final, TypeVar

from bamboo_sessions.domain.errors import BambooSessionsError, StorageError

T = TypeVar("T")
_log: Final = logging.getLogger("bamboo_sessions")


class OwnedTasks:
    """The tasks of a store.

    Args:
        forget_loop: Called when the store is used in another event loop than before, which runs no more: what was under
            way there never ends.
    """

    def __init__(self, forget_loop: Callable[[], None]) -> None:
        self._forget_loop = forget_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_open = True

    def open(self) -> None:
        """Let calls begin again after `close`."""
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether calls may begin."""
        return self._is_open

    def check_usable(self) -> None:
        """Raise `StorageError` if the store was closed, or belongs to an event loop that runs in another thread."""
        if not self._is_open:
            message = "The repository is closed."
            raise StorageError(message, hint="Open it again (`async with sessions:`), or open another one.")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and self._loop.is_running():
            message = "This repository is in use by another event loop, which is running."
            raise StorageError(message, hint="Open a repository in each event loop: several may share one file.")
        if self._loop is not None:
            self._tasks.clear()
            self._forget_loop()
        self._loop = loop

    async def run(self, work: Coroutine[Any, Any, T], release: Callable[[], None] | None = None) -> T:
        """Run `work` as a task of the store's; cancelling the caller only stops its waiting (G10).

        `release` is called when it has ended, in whatever way. Then other tasks get a turn, also if nothing had to be
        waited for: who writes without a pause starves nobody.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        task = _begun(self._tell(work, outcome, release), loop)

        def ended(task: asyncio.Task[None]) -> None:
            if task in self._tasks:  # it was cancelled before it began
                self._tasks.discard(task)
                work.close()
                outcome.cancel()
                if release is not None:
                    release()

        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(ended)
        if outcome.done():
            await asyncio.sleep(0)
        return await outcome

    async def _tell(
        self, work: Coroutine[Any, Any, T], outcome: asyncio.Future[T], release: Callable[[], None] | None
    ) -> None:
        """Run `work` to its end and tell `outcome`, which is done already if whoever waited for it was cancelled."""
        try:
            result = await work
        except asyncio.CancelledError:
            outcome.cancel()
            raise
        except BaseException as exc:  # noqa: BLE001 - goes to whoever waits
            if outcome.done():
                _log_failure(exc)  # nobody else would see it
            else:
                outcome.set_exception(_without_ways_of_ours(exc))
        else:
            if not outcome.done():
                outcome.set_result(result)
        finally:
            if (task := asyncio.current_task()) is not None:
                self._tasks.discard(task)
            if release is not None:
                release()

    def close(self) -> None:
        """Refuse calls from now on."""
        self._is_open = False

    async def finish(self) -> None:
        """Wait for the tasks under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


def _without_ways_of_ours(exc: BaseException) -> BaseException:
    """`exc`; a refusal without its traceback, if that shows nothing but how we came to refuse."""
    if not isinstance(exc, BambooSessionsError) or isinstance(exc, StorageError):
        return exc
    modules = {str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in walk_tb(exc.__traceback__)}
    return exc.with_traceback(None) if modules == {__name__.partition(".")[0]} else exc


def _begun(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
    """A task that runs until it has to wait before this returns, if the interpreter can do that."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)


def _log_failure(exc: BaseException) -> None:
    """Log why the write of a cancelled caller failed."""
    level = logging.INFO if isinstance(exc, BambooSessionsError) else logging.ERROR
    _log.log(level, "a cancelled caller's write failed: %s", exc)
