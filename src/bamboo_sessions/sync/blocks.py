"""Asynchronous blocks, iterators and events as plain ones, by a portal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from bamboo_sessions.sync.portal import Portal

A = TypeVar("A")
T = TypeVar("T")

_MISSING: Final = object()


def same(value: T) -> T:
    """What needs no twin."""
    return value


class Block(AbstractContextManager[T], Generic[T]):
    """An asynchronous context manager, for `with`.

    Beginning and end run on the loop with the caller's context variables, and what they set there holds for the caller:
    so calls from inside an `edit` block know that they are.

    Args:
        portal: The way to the loop.
        block: The asynchronous one.
        show: Makes of its value what the block is given.
    """

    def __init__(self, portal: Portal, block: AbstractAsyncContextManager[A], show: Callable[[A], T]) -> None:
        self._portal = portal
        self._block: AbstractAsyncContextManager[Any] = block
        self._show: Callable[[Any], T] = show
        self._is_entered = False
        self._context = Context()

    def __enter__(self) -> T:
        try:
            value = self._call(self._enter())
        except BaseException as exc:
            if self._is_entered:  # and the thread was interrupted before it knew
                self.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self._show(value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._call(self._exit(kind, error, trace))

    def _call(self, work: Coroutine[Any, Any, A]) -> A:
        try:
            return self._portal.call(work)
        finally:
            for variable, value in self._context.items():
                if variable.get(_MISSING) is not value:
                    variable.set(value)

    async def _enter(self) -> object:
        value = await self._block.__aenter__()
        self._is_entered, self._context = True, copy_context()
        return value

    async def _exit(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._block.__aexit__(kind, error, trace)
        finally:
            self._context = copy_context()


def iterated(portal: Portal, items: AsyncIterator[T], *, ahead: int = 1) -> Generator[T, None, None]:
    """An asynchronous iterator, for `for`. It may be left early; the loop then closes what it came from.

    Args:
        portal: The way to the loop.
        items: The asynchronous one.
        ahead: How many items to fetch with one call; for iterators that don't wait for what is yet to come.
    """
    end: Exception | None = None
    while end is None:
        batch, end = portal.call(_batch(items, ahead))
        yield from batch
    if not isinstance(end, StopAsyncIteration):
        raise end


async def _batch(items: AsyncIterator[T], count: int) -> tuple[list[T], Exception | None]:
    """The next `count` items, and how it ended before."""
    batch: list[T] = []
    try:
        while len(batch) < count:
            batch.append(await anext(items))
    except Exception as exc:  # noqa: BLE001 - raised by the caller, behind the items before it
        return batch, exc
    return batch, None


class SyncEvent:
    """An event that threads may wait for, as `threading.Event`."""

    def __init__(self, portal: Portal, event: asyncio.Event) -> None:
        self._portal = portal
        self._event = event

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it happens, `timeout` seconds at most (`None`: for ever); whether it has."""
        return self._portal.call(self._waited(timeout))

    async def _waited(self, seconds_max: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds_max):
                return await self._event.wait()
        except TimeoutError:
            return self._event.is_set()
