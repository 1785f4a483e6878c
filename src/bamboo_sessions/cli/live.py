"""Commands that go on until somebody ends them: by Ctrl-C, or by no longer reading what they print."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bamboo_sessions.cli import INTERRUPTED
from bamboo_sessions.cli.failures import QuietExitError, end_line
from bamboo_sessions.cli.store import Store
from bamboo_sessions.repository import SessionRepository

T = TypeVar("T")


def run_live(store: Store, work: Callable[[SessionRepository], Awaitable[T]], *, waits: bool) -> T:
    """Do `work` with the open repository, see `Store.run`. Ctrl-C is the usual end of it, and needs no word.

    What waits makes the store in the user's data folder, if need be: others will write there. A URL may be mistyped.
    """

    async def watched(sessions: SessionRepository) -> T:
        return await _while_somebody_reads(work(sessions))

    try:
        return store.run(watched, creates=waits and store.url is None)
    except KeyboardInterrupt:
        end_line()
        raise QuietExitError(INTERRUPTED) from None


async def _while_somebody_reads(work: Awaitable[T]) -> T:
    """Cancel `work` with `BrokenPipeError` once the reader of stdout has gone, even if there is nothing to write."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    loop = asyncio.get_running_loop()
    pipe = _pipe()
    has_gone = False

    def gone() -> None:
        nonlocal has_gone
        has_gone = True
        assert pipe is not None  # noqa: S101 - tells the type checker what the caller knows
        loop.remove_reader(pipe)
        task.cancel()

    if pipe is not None:
        loop.add_reader(pipe, gone)  # nothing can be read from this end: it wakes when the other end is closed
    try:
        return await work
    except asyncio.CancelledError:
        if has_gone:
            raise BrokenPipeError from None
        raise
    finally:
        if pipe is not None:
            loop.remove_reader(pipe)


def _pipe() -> int | None:
    """Stdout, if it is a pipe whose end can be noticed."""
    try:
        number = sys.stdout.fileno()
        return number if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(number).st_mode) else None
    except (OSError, ValueError):  # closed, or not a file at all
        return None
