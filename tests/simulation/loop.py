"""An event loop without time, threads and I/O: what runs next is drawn from a seed, so a run can be repeated.

Time stands still while anything is ready, then it jumps to the next timer. Of the tasks that are ready a random one
runs next; plain callbacks run first and in their order, which asyncio promises. A process that crashed doesn't run
any more: its tasks stop where they are, no `finally` included.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import random
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from itertools import count
from typing import Any, Final, TypeVar

T = TypeVar("T")

process: Final[ContextVar[str]] = ContextVar("process", default="")
"""The simulated process that the running task belongs to; tasks inherit it."""


class StuckError(Exception):
    """Nothing is ready and no timer is set: somebody waits for ever."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module.

    Args:
        seed: Decides the order of what is ready.
    """

    _ready: Any
    _scheduled: Any

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.steps = 0
        self._chance = random.Random(seed)
        self._now = 0.0
        self._numbers = count(1)
        self._trace = hashlib.blake2b(digest_size=8)
        self._crashed: set[str] = set()
        self._stopped: list[asyncio.Handle] = []
        self._paused: dict[str, list[asyncio.Handle]] = {}
        self.set_task_factory(self._numbered_task)

    def _numbered_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,  # noqa: ANN401 - those of tasks
    ) -> asyncio.Task[T]:
        options["name"] = f"{next(self._numbers)}"
        return asyncio.Task(coro, loop=loop, **options)

    def time(self) -> float:
        """The simulated time, in seconds."""
        return self._now

    # --- the trace

    def note(self, text: str) -> None:
        """Make `text` part of what `trace` tells."""
        self._trace.update(f"{self.steps} {text}\n".encode())

    @property
    def trace(self) -> str:
        """A hash of all that happened, in its order."""
        return self._trace.hexdigest()

    # --- crashes

    def crash(self, name: str) -> None:
        """Stop all tasks of a process where they are."""
        self._crashed.add(name)

    def is_crashed(self, name: str) -> bool:
        """Whether `crash` was called."""
        return name in self._crashed

    def pause(self, name: str, seconds: float) -> None:
        """Stop all tasks of a process where they are, and let them go on later as if nothing had happened."""
        if name not in self._paused:
            self._paused[name] = []
            self.call_later(seconds, self._resume, name)

    def _resume(self, name: str) -> None:
        self.note(f"{name} goes on")
        self._ready.extend(self._paused.pop(name))

    async def bury(self) -> None:
        """At the end, let go what the crashed processes left."""
        self._crashed.clear()
        self._ready.extend(self._stopped)
        self._stopped.clear()
        while left := self._left():
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _left(self) -> list[asyncio.Task[Any]]:
        """All other tasks, in the order in which they were made: that of a set differs from run to run."""
        left = asyncio.all_tasks(self) - {asyncio.current_task(self)}
        return sorted(left, key=lambda task: int(task.get_name()))

    # --- running

    def _run_once(self) -> None:
        if not self._ready:
            self._jump()
        handle = self._next()
        context = handle._context
        if context.get(process, "") in self._crashed:
            self._stopped.append(handle)
        elif context.get(process, "") in self._paused:
            self._paused[context.get(process, "")].append(handle)
        elif not handle.cancelled():
            self.steps += 1
            handle._run()

    def _jump(self) -> None:
        """On to the next timer."""
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise StuckError(f"after {self.steps} steps, at {self._now:.3f} s")
        self._now = max(self._now, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self._now:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False
            self._ready.append(timer)

    def _next(self) -> Any:  # noqa: ANN401 - a handle, whose private parts are used
        tasks = []
        for handle in self._ready:
            owner = getattr(handle._callback, "__self__", None)
            if not isinstance(owner, asyncio.Task):
                self._ready.remove(handle)
                return handle
            tasks.append((int(owner.get_name()), handle))
        tasks.sort(key=lambda each: each[0])
        number, handle = tasks[self._chance.randrange(len(tasks))] if len(tasks) > 1 else tasks[0]
        self._ready.remove(handle)
        self.note(f"task {number}")
        return handle

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        raise AssertionError("a thread in a simulation")
