"""What adapters share: where their sessions are, and waiting for the outcome of a write.

People make a framework's session object for each request, wherever they are: in an event loop, in one after another
(`asyncio.run`), in several at once (a thread each). Opening a store for each of them would cost milliseconds, and a
cache. So for a URL there is one repository for each running event loop: opened on first use, shared by all objects that
name the URL, closed when the loop ends.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.repository import SessionRepository

T = TypeVar("T")


class Store:
    """Where an adapter keeps its sessions.

    Args:
        sessions: A repository, which belongs to its user; or the URL or path of one.

    Raises:
        InputError: It is neither.
    """

    def __init__(self, sessions: SessionRepository | str | Path) -> None:
        if not isinstance(sessions, SessionRepository | str | Path):
            message = (
                f"Sessions are kept in a SessionRepository, or by a URL or path, not in {type(sessions).__name__}."
            )
            raise InputError(message, hint='Pass sessions="sqlite:///agents.db", or an open SessionRepository.')
        self._sessions = sessions

    async def repository(self) -> SessionRepository:
        """The repository to use in the event loop that is running.

        Raises:
            InputError, StorageError: It can't be opened, as `SessionRepository.open` says.
        """
        if isinstance(self._sessions, SessionRepository):
            return self._sessions
        return await _shared(str(self._sessions))


async def finished(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, or raises. If the caller is cancelled, that comes out when the outcome is there."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as exc:
            cancelled = cancelled or exc
    if cancelled is not None:
        task.cancelled() or task.exception()  # nobody else looks at it
        raise cancelled
    return task.result()


# --- one repository for each URL and running event loop


class _Shared:
    """A repository, and the event loop that it is used in."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.opening: asyncio.Task[SessionRepository] | None = None
        self.kept: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}  # until each of them ends


_Key = tuple[int, str, str]  # the process, which may be forked; the folder, which URLs may be relative to; the URL

_repositories: Final[dict[_Key, list[_Shared]]] = {}
_lock: Final = threading.Lock()


async def _shared(url: str) -> SessionRepository:
    key = (os.getpid(), str(Path.cwd()), url)
    loop = asyncio.get_running_loop()
    shared = _taken(key, loop)
    if shared.opening is None:
        shared.opening = loop.create_task(_opened(key, shared))
    if not shared.opening.done():
        await asyncio.wait({shared.opening})
    repository = shared.opening.result()
    if loop not in shared.kept:
        shared.kept[loop] = _until_the_loop_ends(key, shared, repository)
        await anext(shared.kept[loop])
    return repository


def _taken(key: _Key, loop: asyncio.AbstractEventLoop) -> _Shared:
    """This loop's; or one whose loop has stopped; or a new one."""
    with _lock:
        all_of_it = _repositories.setdefault(key, [])
        for shared in all_of_it:
            if shared.loop is loop:
                return shared
        for shared in all_of_it:
            if not shared.loop.is_running() and shared.opening is not None and shared.opening.done():
                shared.loop = loop
                return shared
        all_of_it.append(shared := _Shared(loop))
        return shared


async def _opened(key: _Key, shared: _Shared) -> SessionRepository:
    try:
        return await SessionRepository.open(key[-1])
    except BaseException:
        _forget(key, shared)  # the next call tries again
        raise


async def _until_the_loop_ends(key: _Key, shared: _Shared, repository: SessionRepository) -> AsyncGenerator[None, None]:
    """Close the repository when its loop ends: `asyncio.run` then closes the generators that are open.

    What is in memory outlives the loop, for the next one to take.
    """
    loop = shared.loop
    try:
        yield
    finally:
        if shared.loop is loop and not key[-1].startswith("memory:"):
            _forget(key, shared)
            await repository.aclose()


def _forget(key: _Key, shared: _Shared) -> None:
    with _lock:
        if shared in (all_of_it := _repositories.get(key, [])):
            all_of_it.remove(shared)
