"""What `open` gives: something to await, or to use as `async with`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

H = TypeVar("H", bound=AbstractAsyncContextManager[Any])


class AsyncBlock:
    """A block for `async with`; a plain `with` says so."""

    if not TYPE_CHECKING:  # a type checker would allow it

        def __enter__(self) -> NoReturn:
            """Refused."""
            raise TypeError("This is a block for `async with`, not for `with`; scripts use SyncSessionRepository.")

        def __exit__(self, *_: object) -> None:
            """Never reached."""


class Opening(AsyncBlock, Generic[H]):
    """A handle that isn't open yet. Await it, and close it later; or use it as `async with`."""

    def __init__(self, handle: H) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return f"<{type(self._handle).__name__} that isn't open yet: use it as `async with`, or await it>"

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

        def __getattr__(self, name: str) -> NoReturn:
            """What is asked of a handle that isn't open: says how to open it."""
            kind = type(self._handle).__name__
            raise AttributeError(
                f"This {kind} isn't open yet, so it has no {name!r}: "
                f"write `async with {kind}.open(…) as …:`, or `await {kind}.open(…)`."
            )
