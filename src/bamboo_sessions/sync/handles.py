"""What the generated classes stand on: opening, closing, and what isn't a call."""

from __future__ import annotations

import atexit
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from bamboo_sessions.domain.report import UnsavedWork
from bamboo_sessions.repository.run_lease import RunLease
from bamboo_sessions.sync.blocks import Block, SyncEvent, same
from bamboo_sessions.sync.portal import Portal, ThreadPortal


class Closable(Protocol):
    """An asynchronous handle of a store."""

    def aclose(self) -> Coroutine[Any, Any, tuple[UnsavedWork, ...] | None]:
        """Let everything go."""


H = TypeVar("H", bound=Closable)

_open: Final[dict[Portal, SyncHandle[Any]]] = {}
"""The handles that this module opened. What a program leaves open is closed at its end."""


class SyncHandle(Generic[H]):
    """A handle of a store, for threads. `open` makes one; it is closed by `close`, or at the end of its `with` block.

    Args:
        inner: The asynchronous handle, which is used on the portal's loop.
        portal: The way there.
    """

    def __init__(self, inner: H, portal: Portal) -> None:
        self._inner = inner
        self._portal = portal

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._inner!r}>"

    @classmethod
    def _opened(cls, opening: AbstractAsyncContextManager[H]) -> Self:
        """The handle that `opening` opens, on a loop of its own."""
        portal = ThreadPortal.started()
        try:
            handle = cls(Block(portal, opening, same).__enter__(), portal)
        except BaseException:
            portal.close(_nothing, None)
            raise
        _open[portal] = handle
        return handle

    def close(self) -> tuple[UnsavedWork, ...]:
        """Wait for commits under way, try waiting work once more, and let everything go; what isn't durable.

        Calls of other threads that are under way end: with what they did, or with `StorageError` if they wait for
        something that is yet to come. Closing again does nothing, and so does closing in a forked child. What is still
        open when the interpreter ends is closed then.
        """
        unsaved = self._portal.close(self._inner.aclose, None)
        _open.pop(self._portal, None)
        return unsaved or ()

    aclose = close  # as the asynchronous handles call it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@atexit.register
def _close_all() -> None:
    for handle in list(_open.values()):
        handle.close()


async def _nothing() -> None:
    """Only end the portal."""


class SyncLease:
    """The parts of a run lease that are no calls."""

    def __init__(self, portal: Portal, inner: RunLease) -> None:
        self._portal = portal
        self._inner = inner
        self.token = inner.token
        self.holder = inner.holder
        self.lost = SyncEvent(portal, inner.lost)

    def __repr__(self) -> str:
        return repr(self._inner).replace("<RunLease", "<SyncRunLease")
