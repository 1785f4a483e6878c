"""Starting workers, talking to them line by line, and killing them. Nothing here waits for time to pass."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A process that plays a role of `worker.py`."""

    def __init__(self, role: str, *arguments: object) -> None:
        self._command = [sys.executable, str(WORKER), role, *map(str, arguments)]

    async def __aenter__(self) -> Self:
        """Start it."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for its end; kill it if the test failed."""
        if kind is not None and self._process.returncode is None:
            self.kill()
        self._in.close()
        code = await self._process.wait()
        await self._out.read()
        assert kind is not None or code in {0, -9}, f"{self._command} ended with {code}"

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def line(self) -> str:
        """What it says next; empty once it has ended. A line that it was killed in the middle of wasn't said."""
        line = await self._out.readline()
        return line.decode().strip() if line.endswith(b"\n") else ""

    async def lines(self) -> AsyncIterator[str]:
        """All that it says until it ends."""
        while line := await self.line():
            yield line

    async def ready(self) -> Self:
        """Wait until it has prepared everything."""
        assert await self.line() == "ready"
        return self

    def tell(self, line: str = "go") -> None:
        """Give it a line."""
        self._in.write(f"{line}\n".encode())

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP: it notices nothing of the time that passes."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def together(*workers: Worker) -> AsyncIterator[None]:
    """All of them, started, prepared, and let go at the same moment."""
    async with _all(list(workers)):
        await asyncio.gather(*(worker.ready() for worker in workers))
        for worker in workers:
            worker.tell()
        yield


@asynccontextmanager
async def _all(workers: list[Worker]) -> AsyncIterator[None]:
    if not workers:
        yield
        return
    async with workers[0], _all(workers[1:]):
        yield
