"""How a run of the demo is shown while it goes on: live on a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from bamboo_sessions.cli.demo.link import Report
from bamboo_sessions.cli.output import note


class PlainProgress:
    """A line for each step, and one for each process at its end."""

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy up."""

    def step(self, text: str) -> None:
        """Say it."""
        note(f"{text}.")

    def counted(self, process: str, report: Report) -> None:
        """Say what a process has done once it is through."""
        if report.step == "done" and report.commits:
            note(f"  {process}: {_counts(report)}")


class LiveProgress:
    """A row with a bar, counters and the throughput for each process."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[counts]}"),
            TextColumn("{task.fields[rate]}", style="cyan"),
            console=Console(stderr=True),
        )
        self._rows: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        self._progress.stop()

    def step(self, text: str) -> None:
        """Say it above the rows."""
        self._progress.console.print(f"{text}.", highlight=False)

    def counted(self, process: str, report: Report) -> None:
        """Move the row of the process."""
        if not report.commits:
            return
        if process not in self._rows:
            self._rows[process] = self._progress.add_task(process, total=report.total or None, counts="", rate="")
        row = self._rows[process]
        task = next(task for task in self._progress.tasks if task.id == row)
        rate = f"{report.commits / task.elapsed:,.0f} commits/s" if task.elapsed else ""
        self._progress.update(row, completed=report.turns, counts=_counts(report), rate=rate)
        if report.step == "done":
            total = report.total or 1
            self._progress.update(row, total=total, completed=report.turns if report.total else total)
            self._progress.stop_task(row)


def progress() -> AbstractContextManager[PlainProgress | LiveProgress]:
    """What suits the stderr of this process."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


def _counts(report: Report) -> str:
    counts = [f"{report.messages:,} messages", f"{report.commits:,} commits"]
    if report.merged or report.refused:
        counts.append(f"{report.merged:,} merged" if report.merged else f"{report.refused:,} refused")
    return ", ".join(counts)
