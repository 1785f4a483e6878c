"""What `open` gives: something to await, or to use as `async with`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

H = TypeVar("H", bound=AbstractAsyncContextManager[Any])


class Opening(Generic[H]):
    """A handle that isn't open yet. Await it, and close it later; or use it as `async with`."""

    def __init__(self, handle: H) -> None:
        self._handle = handle

    def __await__(self) -> Generator[Any, None, H]:
        """The open handle; the caller closes it."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> H:
        """The open handle."""
        await self._handle.__aenter__()
        return self._handle

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._handle.__aexit__(kind, error, trace)

    if not TYPE_CHECKING:  # a type checker would allow every name

        def __getattr__(self, name: str) -> object:
            """What is asked of a handle that isn't open: says how to open it."""
            message = (
                f"The store isn't open yet, so there is no {name!r}: write `async with ….open(…) as …:`, or await it."
            )
            raise AttributeError(message)
