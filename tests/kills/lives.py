"""The test's end of a nursery: starts processes, kills them, and hears what they say."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kills.notes import Dead, Note, from_line

ROOT = Path(__file__).parents[2]


class Lives:
    """Processes that run a module's `live` on one file, numbered in the order of their beginning.

    Args:
        module: The module.
        path: The file.
        seed: Of what they do; each gets a seed of its own.
    """

    def __init__(self, module: str, path: Path, seed: int) -> None:
        self._command = [sys.executable, "-m", "tests.kills.nursery", module, str(path)]
        self.rng = random.Random(seed)
        self.begun = 0
        self.kills = 0
        self.alive: list[int] = []
        self.notes: list[Note] = []

    def __enter__(self) -> Self:
        """Start the nursery."""
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, cwd=ROOT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill all that live, and hear what they still had to say."""
        if kind is not None:
            self._process.kill()
            self._process.communicate()
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        for _ in self.said():
            pass
        self._process.stdout.close()
        assert self._process.wait() == 0

    def spawn(self) -> None:
        """One more."""
        self.alive.append(self.begun)
        self._tell(f"spawn {self.begun} {self.rng.randrange(1 << 32)}")
        self.begun += 1

    def kill(self, *victims: int) -> None:
        """SIGKILL, and wait until they are gone."""
        self._tell(f"kill {' '.join(map(str, victims))}")
        for _ in self.said():
            if not set(victims) & set(self.alive):
                return

    def said(self) -> Iterator[Note]:
        """What they say, as it comes, until all have ended. Fails if one ends by itself."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            note = from_line(line)
            self.notes.append(note)
            if isinstance(note, Dead):
                assert note.status == signal.SIGKILL, f"a process ended by itself: {note}"
                self.alive.remove(note.life)
                self.kills += 1
            yield note

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
