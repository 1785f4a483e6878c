"""How the processes of the demo talk: orders and reports as JSON lines, acknowledgements in a log for each process.

The supervisor starts a process with its `Order`, then sends words, such as `go` and `stop`. A process sends `Report`s.
The end of its input means that the supervisor is gone, and ends it: nobody is left behind, whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from io import FileIO
from pathlib import Path
from typing import Final, Literal

import msgspec

from bamboo_sessions.testing.history_checker import Acknowledgement, Verdict, to_line

Role = Literal["people", "runtime", "checker"]
Step = Literal["seeded", "loaded", "changed", "replayed", "working", "done"]

_REPORTS_PER_SECOND_MAX: Final = 10
_WORD_BYTES_MAX: Final = 4096


class Order(msgspec.Struct, frozen=True):
    """What a process of the demo shall do.

    Args:
        role: Which part it plays.
        name: What its acknowledgements are signed with.
        store: The database file, or the folder of the naive store.
        naive: Whether the naive store is used.
        folder: Where the logs of acknowledgements are.
        input: The conversations; `None`: the built-in set.
        sessions: How many sessions; `None`: as many as the input has.
        writers: Runtime writers in this process.
    """

    role: Role
    name: str
    store: str
    naive: bool
    folder: str
    input: str | None = None
    sessions: int | None = None
    writers: int = 0


class Report(msgspec.Struct, frozen=True):
    """Where a process is. Counters count from its start.

    Args:
        step: What was reached; `working` while it goes on.
        turns: Turns acknowledged to runtime writers.
        messages: Messages acknowledged.
        commits: Writes acknowledged, each of them one commit.
        merged: Saves into which something of others came.
        refused: Answers that were refused because the question had one.
        total: Turns in all, where that is known.
    """

    step: Step
    turns: int = 0
    messages: int = 0
    commits: int = 0
    merged: int = 0
    refused: int = 0
    total: int = 0


NAMESPACE: Final = "race"
"""Where the race is in the database, beside what the tour shows."""

CHECKED: Final = "checked.json"
"""The file in which the checker leaves its result."""


class Checked(msgspec.Struct, frozen=True):
    """The checker's verdict, and the commits that the store counted itself (0: it doesn't count)."""

    verdict: Verdict
    commits: int


class Counters:
    """The counters of a process, and its log of acknowledgements."""

    def __init__(self, log: FileIO) -> None:
        self._log = log
        self._reported_at = 0.0
        self.total = 0
        self.turns = 0
        self.messages = 0
        self.commits = 0
        self.merged = 0
        self.refused = 0

    def note(self, *acknowledgements: Acknowledgement) -> None:
        """Log what one write was acknowledged with; call it after the write returned."""
        for acknowledgement in acknowledgements:
            self._log.write(to_line(acknowledgement))
        self.commits += 1
        if time.monotonic() > self._reported_at + 1 / _REPORTS_PER_SECOND_MAX:
            self.report("working")

    def report(self, step: Step) -> None:
        """Tell the supervisor."""
        self._reported_at = time.monotonic()
        report = Report(step, self.turns, self.messages, self.commits, self.merged, self.refused, self.total)
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


class Words:
    """The words that the supervisor sends."""

    def __init__(self) -> None:
        self._heard: dict[str, asyncio.Event] = {}
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, daemon=True, name="supervisor's words").start()

    def event(self, word: str) -> asyncio.Event:
        """Set once `word` was heard."""
        return self._heard.setdefault(word, asyncio.Event())

    def _listen(self) -> None:
        # Not through sys.stdin: a thread that waits inside its lock would be in the way when the process ends.
        rest = b""
        while data := os.read(0, _WORD_BYTES_MAX):
            *words, rest = (rest + data).split(b"\n")
            for word in words:
                self._loop.call_soon_threadsafe(self.event(word.decode()).set)
        os._exit(1)  # the supervisor is gone


def log_path(order: Order) -> Path:
    """Where a process logs its acknowledgements."""
    return Path(order.folder) / f"{order.name}.acknowledged.jsonl"
