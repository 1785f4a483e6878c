"""Every point at which a call can be cancelled, and ways of cancelling it there.

A point is a suspension of the calling task, or a border of a call of storage, before it and after it, whichever task
makes it: so the commit that the store's own task makes is passed on both sides.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Literal, TypeVar

T = TypeVar("T")

How = Literal["cancel", "late", "timeout", "twice"]
HOW: Final[tuple[How, ...]] = ("cancel", "late", "timeout", "twice")
"""At the point; once its result is there, but before the task has seen it; by `asyncio.timeout`; and once more while
the first is being dealt with."""


class Points:
    """Counts the points of one call, and strikes at one of them.

    Args:
        at: The point to strike at, counted from 1; `None`: none.
        how: See `HOW`.
        passing: Called at each point.
    """

    def __init__(
        self, at: int | None = None, how: How = "cancel", *, passing: Callable[[], None] = lambda: None
    ) -> None:
        self.count = 0
        self.struck = False
        self._at = at
        self._how = how
        self._passing = passing
        self._task: asyncio.Task[Any] | None = None
        self._timeout = asyncio.timeout(None)

    async def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run `call` in this task, and strike when its point is reached."""
        self._task = asyncio.current_task()
        try:
            if self._how != "timeout":
                return await self._stepped(call)
            async with self._timeout:
                return await self._stepped(call)
        finally:
            self._task = None

    @types.coroutine
    def _stepped(self, call: Coroutine[Any, Any, T]) -> Generator[Any, None, T]:
        error: BaseException | None = None
        while True:
            try:
                awaited = call.send(None) if error is None else call.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            self._reach(awaited)
            error = None
            try:
                yield awaited
            except BaseException as exc:  # noqa: BLE001 - goes into the call
                error = exc

    def reach(self) -> None:
        """A border of a call of storage."""
        if self._how != "late":
            self._reach(None)

    def _reach(self, awaited: asyncio.Future[Any] | None) -> None:
        task = self._task
        if task is None:
            return
        self._passing()
        self.count += 1
        if self.struck and self._how == "twice":
            task.cancel()
            self._task = None
        if self.count == self._at:
            self.struck = True
            if self._how == "late" and awaited is not None:
                awaited.add_done_callback(lambda _: task.cancel() and None)
            elif self._how == "timeout":
                self._timeout.reschedule(asyncio.get_running_loop().time())
            else:
                task.cancel()
