"""One fault: which calls it strikes, and what their callers get."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from bamboo_sessions.domain.errors import SchemaVersionError, StorageError, StorageUnavailableError
from bamboo_sessions.testing.faults.calls import WRITES


class Fault:
    """An error that is waiting for its call. As a context manager it ends with the block.

    `hits` counts how often it struck.
    """

    def __init__(
        self,
        call: str | None,
        error: StorageError | type[StorageError],
        *,
        nth: int,
        times: int | None,
        after: bool,
        unknown: bool | None,
    ) -> None:
        self.call = call
        self.after = after
        self.hits = 0
        self._error = error
        self._skip = nth - 1
        self._left = times
        self._unknown = unknown

    def stop(self) -> None:
        """Strike no more."""
        self._left = 0

    @property
    def is_over(self) -> bool:
        """Whether it will never strike again."""
        return self._left == 0

    def takes(self, call: str) -> bool:
        """Whether it strikes this call; counts the call."""
        if self.is_over or self.call not in {None, call}:
            return False
        if self._skip:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        self.hits += 1
        return True

    def error(self, call: str) -> StorageError:
        """What the caller of `call` gets."""
        if isinstance(self._error, StorageError):
            return self._error
        unknown = self._unknown
        if unknown is None:
            unknown = self.after and call in WRITES
        return _made(self._error, call, unknown=unknown)

    def __enter__(self) -> Self:
        """Be switched on for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be switched off."""
        self.stop()


class Stall(Fault):
    """A call that hangs until `release`. `reached` is set once it hangs."""

    def __init__(self, call: str | None, *, nth: int, times: int | None, after: bool) -> None:
        super().__init__(call, StorageUnavailableError, nth=nth, times=times, after=after, unknown=None)
        self.reached = asyncio.Event()
        self._released = asyncio.Event()

    async def hang(self) -> None:
        """Wait to be released."""
        self.reached.set()
        await self._released.wait()

    def release(self) -> None:
        """Let the call go on, and all later ones."""
        self._released.set()

    def stop(self) -> None:
        """Strike no more, and let go what hangs."""
        super().stop()
        self.release()


class Pause(Fault):
    """A few steps of the event loop: others get ahead."""

    def __init__(self, steps: int, *, after: bool) -> None:
        super().__init__(None, StorageUnavailableError, nth=1, times=1, after=after, unknown=None)
        self.steps = steps


async def strike(call: str, faults: list[Fault]) -> None:
    """Stalls first, then the error, so that a call can hang and then fail."""
    for fault in faults:
        if isinstance(fault, Stall):
            await fault.hang()
        elif isinstance(fault, Pause):
            for _ in range(fault.steps):
                await asyncio.sleep(0)
    for fault in faults:
        if not isinstance(fault, Stall | Pause):
            raise fault.error(call)


def _made(error: type[StorageError], call: str, *, unknown: bool) -> StorageError:
    if issubclass(error, SchemaVersionError):
        return error(found=999, supported=1, location="The store behind FaultyStorage")
    return error(f"{call} failed on purpose.", outcome_unknown=unknown)
