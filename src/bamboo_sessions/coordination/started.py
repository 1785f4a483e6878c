"""Work that is begun at once, and becomes a task only if it has to wait.

A task, and the turns of the event loop that it takes, cost as much as the plan of a save, and the usual commit needs
none: what it would wait for is done already. Such work runs in two tasks, its caller's and one of its own. So nothing
in it may belong to a task: no time limit, no task group, and no storage of somebody else's, which may use these.
"""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def going_on(work: Coroutine[Any, Any, T], awaited: Future[Any] | None) -> T:
    """The rest of `work`, which has begun by `work.send(None)` and waits for `awaited`, which that gave."""
    try:
        await _once(awaited)
    except BaseException as exc:
        is_cancelled = isinstance(exc, CancelledError) and not (awaited is not None and awaited.cancelled())
        if awaited is None or is_cancelled:  # the event loop ends, and cancels everything
            work.close()
            raise
    return await _rest(work)  # which looks itself at what became of the future


@coroutine
def _once(awaited: object) -> Generator[object, None, None]:
    yield awaited


@coroutine
def _rest(work: Coroutine[Any, Any, T]) -> Generator[object, None, T]:
    return (yield from work.__await__())
