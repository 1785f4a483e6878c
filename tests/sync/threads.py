"""The synchronous handles, called from eight threads in turn, in the shape of the asynchronous ones."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

THREADS: Final = 8


class InThreads:
    """An object whose calls are made by threads: each by the next one, and awaited.

    Blocks become asynchronous ones, iterators asynchronous iterators; values are handed through.

    Args:
        inner: The object.
        threads: Who makes the calls.
        besides: What is asked for besides, of another object.
    """

    def __init__(self, inner: object, threads: ThreadPoolExecutor, besides: object = None) -> None:
        self._inner = inner
        self._threads = threads
        self._besides = besides

    def __repr__(self) -> str:
        return repr(self._inner)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the other object has
        if self._besides is not None and not hasattr(self._inner, name):
            return getattr(self._besides, name)
        value = getattr(self._inner, name)
        return self._call(value) if callable(value) else self._shown(value)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._inner, name, value)

    def _call(self, call: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(call)
        def begun(*args: object, **kwargs: object) -> object:
            if call.__name__ in _AT_ONCE:
                return self._shown(call(*args, **kwargs))
            return in_thread(self._threads, lambda: call(*args, **kwargs))

        return begun

    def _shown(self, value: object) -> object:
        if isinstance(value, AbstractContextManager) and not hasattr(value, "close"):
            return _BlockInThreads(value, self._threads)
        if isinstance(value, Iterator):
            return _items(value, self._threads)
        if type(value).__name__.startswith("Sync"):
            return InThreads(value, self._threads, getattr(value, "_inner", None))
        return value


_AT_ONCE: Final = {"changes", "edit", "in_namespace", "is_set", "iter_sessions", "lease", "namespaces", "scan"}
"""The calls that aren't awaited."""


async def in_thread(threads: ThreadPoolExecutor, call: Callable[[], object]) -> Any:  # noqa: ANN401 - what it returns
    """Make a call in a thread, with the context variables of this task: what it sets there holds here."""
    context = contextvars.copy_context()
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, context.run, call)
    finally:
        for variable, value in context.items():
            if variable.get(None) is not value:
                variable.set(value)


class _BlockInThreads:
    def __init__(self, block: AbstractContextManager[Any], threads: ThreadPoolExecutor) -> None:
        self._block = block
        self._threads = threads

    async def __aenter__(self) -> object:
        value = await in_thread(self._threads, self._block.__enter__)
        return InThreads(value, self._threads)._shown(value)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> object:
        return await in_thread(self._threads, lambda: self._block.__exit__(kind, error, trace))


async def _items(items: Iterator[object], threads: ThreadPoolExecutor) -> AsyncIterator[object]:
    end = object()
    while (item := await in_thread(threads, lambda: next(items, end))) is not end:
        yield item
