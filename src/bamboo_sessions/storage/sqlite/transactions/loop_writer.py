"""Short commits, made on the event loop's own thread while the disk is quick (see `writer` for how they are made).

Handing a commit to a thread and its result back changes threads twice: 50 µs and more, a quarter of what a save takes
on a disk that syncs quickly. So as long as it does, short commits are made here. What would have to wait,
for another process or for a slow disk, goes to the writer thread: the event loop never waits for a lock.

Nobody is told before its commit is durable (G1), and many still share one sync: what the first task in a turn of the
loop writes is committed at once, what others write together, as soon as all tasks that are ready had their say. While
such groups are the rule, the first task joins them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOOP_GROUP_BYTES_MAX,
    LOOP_GROUP_COMMITS_MAX,
)
from bamboo_sessions.storage.sqlite.transactions.worker import Portable, Request, Worker, check_room, settle
from bamboo_sessions.storage.sqlite.transactions.writer import Writer

T = TypeVar("T")


class LoopWriter:
    """Commits of one event loop, made on its thread.

    Args:
        writer: Makes them.
        worker: The writer's thread, for what can't be done here.
    """

    def __init__(self, writer: Writer, worker: Worker) -> None:
        self._writer = writer
        self._worker = worker
        self._gathered: list[Request] = []
        self._first: asyncio.Task[Any] | None = None
        self._is_crowded = False

    @property
    def is_quick(self) -> bool:
        """Whether the disk has been quick enough of late, and has not stalled."""
        return self._writer.pace.is_quick

    async def write(self, work: Callable[[Any], T], size: int, portable: Portable | None = None) -> T:
        """Run `work` as one transaction, durable when this returns. `work` may run again. `size` is in bytes."""
        loop = asyncio.get_running_loop()
        if not self._is_crowded and self._is_alone(loop):
            request = Request(work, size, None, None)
            if self._run([request]):
                if request.error is not None:
                    raise request.error
                result: T = request.result
                return result
            return await self._worker.submit(work, size, portable)
        check_room(len(self._gathered) + self._worker.waiting)
        future: asyncio.Future[T] = loop.create_future()
        self._gather(Request(work, size, loop, future, portable), loop)
        return await future

    def _gather(self, request: Request, loop: asyncio.AbstractEventLoop) -> None:
        if self._gathered and self._gathered[0].loop is not loop:  # which was closed meanwhile
            self.finish()
        if not self._gathered:
            loop.call_soon(self._wait_for_more)
        self._gathered.append(request)

    def _is_alone(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether no other task has written in this turn of the loop."""
        task = asyncio.current_task(loop)
        if self._first is None or self._first.get_loop() is not loop:
            self._first = task
            loop.call_soon(self._begin_turn)
        return self._first is task

    def _begin_turn(self) -> None:
        self._first = None

    def _wait_for_more(self) -> None:
        """One turn longer: who was committed one turn later than the others would be so for ever."""
        asyncio.get_running_loop().call_soon(self._commit_gathered)

    def _commit_gathered(self) -> None:
        group = self._next_group()
        if self._gathered:
            asyncio.get_running_loop().call_soon(self._commit_gathered)
        self._is_crowded = len(group) > 1
        done = False
        try:
            done = bool(group) and self._run(group)
        except BaseException:  # a signal's handler raised: it may have been committed all the same
            for request in group:
                request.look_first()
            raise
        finally:
            if done:
                settle(group)
            else:
                self._hand_over(group)

    def _next_group(self) -> list[Request]:
        """As many as a few milliseconds take."""
        size = count = 0
        for request in self._gathered[:LOOP_GROUP_COMMITS_MAX]:
            size += request.size
            if count and size > LOOP_GROUP_BYTES_MAX:
                break
            count += 1
        group, self._gathered = self._gathered[:count], self._gathered[count:]
        return group

    def _run(self, group: list[Request]) -> bool:
        """Commit, unless the thread is at it, or has something to do first: the writer is used by one at a time."""
        done = self._worker.is_idle and self._writer.run_at_once(group)
        if done and self._writer.log.is_due:
            self._worker.wake()
        return done

    def _hand_over(self, group: list[Request]) -> None:
        for request in group:
            self._worker.put(request)

    def finish(self) -> None:
        """Leave what was gathered to the thread: the loop may not have another turn."""
        group, self._gathered = self._gathered, []
        self._hand_over(group)
