"""Starts the processes of the demo, leads them through a run, and leaves nothing behind.

The steps are the same in every run, so that the copies of the runtime writers are sure to be old when they save:

1. people create the sessions;
2. all runtime writers, in both processes, load a copy of every session;
3. people change every session;
4. runtime writers replay, from those copies at first, while people go on;
5. the checker, a process that wrote nothing, reads everything back.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from bamboo_sessions.cli.demo.link import CHECKED, Checked, Order, Report, Role, Step
from bamboo_sessions.cli.demo.outcome import Outcome, store_name

PROGRAM: tuple[str, ...] = (sys.executable, "-m", "bamboo_sessions.cli.demo.worker")
RUNTIMES: Final = ("runtime-1", "runtime-2")
PEOPLE: Final = "people"
PEOPLE_COUNT: Final = 2

_report: Final = msgspec.json.Decoder(Report)


class DemoFailedError(Exception):
    """A process of the demo ended before its work was done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Args:
        input: The conversations; `None`: the built-in set.
        sessions: How many sessions; `None`: as many as the input has.
        writers: Runtime writers in each of the two processes.
        naive: Use the naive store.
        seconds_max: When runtime writers stop, even if they aren't through; `None`: never.
        store: The database, which is left there; `None`: in a temporary folder, which goes.
    """

    input: Path | None
    sessions: int | None
    writers: int
    naive: bool
    seconds_max: float | None
    store: Path | None


class Watcher(Protocol):
    """Is told how a run goes."""

    def step(self, text: str) -> None:
        """A new step begins."""
        ...

    def counted(self, process: str, report: Report) -> None:
        """A process has new counters."""
        ...


async def run(plan: Plan, watcher: Watcher) -> Outcome:
    """Run the demo. Afterwards, also if it is cancelled, every process has ended and the temporary folder is gone.

    Raises:
        DemoFailedError: A process failed.
    """
    with tempfile.TemporaryDirectory(prefix="bamboo-sessions-demo-") as name:
        folder = Path(name)
        store = plan.store or folder / "store"
        if plan.naive:
            store.mkdir()
        processes: list[_Process] = []
        try:
            async with asyncio.TaskGroup() as group:
                return await _Run(plan, watcher, folder, store.absolute(), group=group, processes=processes).lead()
        except BaseExceptionGroup as failures:
            if (failed := failures.subgroup(DemoFailedError)) is not None:
                raise _first(failed) from None
            raise
        finally:
            for process in processes:
                await process.end()


def _first(group: BaseExceptionGroup[DemoFailedError]) -> DemoFailedError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class _Run:
    """One run. Every process that it starts goes into `processes`, whose owner ends them."""

    def __init__(
        self,
        plan: Plan,
        watcher: Watcher,
        folder: Path,
        store: Path,
        *,
        group: asyncio.TaskGroup,
        processes: list[_Process],
    ) -> None:
        self._plan = plan
        self._watcher = watcher
        self._folder = folder
        self._store = store
        self._group = group
        self._processes = processes

    async def lead(self) -> Outcome:
        watcher, plan = self._watcher, self._plan
        watcher.step(f"{store_name(naive=plan.naive)}: starting two processes of runtime writers, and one of people")
        people = await self._start("people", PEOPLE)
        runtimes = [await self._start("runtime", name) for name in RUNTIMES]
        await people.reached("seeded")
        watcher.step("Every runtime writer loads a copy of every session")
        for runtime in runtimes:
            runtime.say("load")
        for runtime in runtimes:
            await runtime.reached("loaded")
        watcher.step("People change every session, behind the back of those copies")
        people.say("change")
        await people.reached("changed")
        watcher.step("Runtime writers replay, and save whole copies; people go on")
        before = people.report.commits
        started = time.monotonic()
        for process in (*runtimes, people):
            process.say("go")
        async with asyncio.TaskGroup() as group:
            limit = group.create_task(_stop_later(runtimes, plan.seconds_max))
            for runtime in runtimes:
                await runtime.reached("replayed")
            limit.cancel()
        seconds = time.monotonic() - started
        commits = sum(process.report.commits for process in (*runtimes, people)) - before
        people.say("stop")
        for process in (*runtimes, people):
            await process.reached("done")
        watcher.step("A process that wrote nothing reads everything back, and checks it")
        checked = await self._check()
        reports = [process.report for process in (*runtimes, people)]
        return Outcome(
            naive=plan.naive,
            writers=plan.writers * len(runtimes),
            people=PEOPLE_COUNT,
            verdict=checked.verdict,
            commits=checked.commits or sum(report.commits for report in reports),
            turns=sum(report.turns for report in reports),
            merged=sum(report.merged for report in reports),
            refused=sum(report.refused for report in reports),
            seconds=seconds,
            replay_commits=commits,
        )

    async def _check(self) -> Checked:
        checker = await self._start("checker", "checker")
        await checker.reached("done")
        return msgspec.json.decode((self._folder / CHECKED).read_bytes(), type=Checked)

    async def _start(self, role: Role, name: str) -> _Process:
        plan = self._plan
        order = Order(
            role=role,
            name=name,
            store=str(self._store),
            naive=plan.naive,
            folder=str(self._folder),
            input=str(plan.input) if plan.input else None,
            sessions=plan.sessions,
            writers=plan.writers,
        )
        process = _Process(name, self._folder / f"{name}.stderr", self._watcher)
        self._processes.append(process)
        await process.start(order)
        self._group.create_task(process.listen())
        return process


async def _stop_later(runtimes: list[_Process], seconds: float | None) -> None:
    if seconds is not None:
        await asyncio.sleep(seconds)
        for runtime in runtimes:
            runtime.say("stop")


class _Process:
    """One process: what it reported, and how to talk to it."""

    def __init__(self, name: str, errors: Path, watcher: Watcher) -> None:
        self.report = Report("working")
        self._name = name
        self._errors = errors
        self._watcher = watcher
        self._steps: dict[Step, asyncio.Event] = {}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, order: Order) -> None:
        with self._errors.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *PROGRAM,
                msgspec.json.encode(order).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )

    def say(self, word: str) -> None:
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(word.encode() + b"\n")

    async def reached(self, step: Step) -> None:
        await self._event(step).wait()

    def _event(self, step: Step) -> asyncio.Event:
        return self._steps.setdefault(step, asyncio.Event())

    async def listen(self) -> None:
        """Take its reports until it has ended."""
        assert self._process is not None  # noqa: S101 - it was started
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        async for line in self._process.stdout:
            self.report = _report.decode(line)
            self._watcher.counted(self._name, self.report)
            self._event(self.report.step).set()
        code = await self._process.wait()
        if code or not self._event("done").is_set():
            raise DemoFailedError(f"The process {self._name!r} failed (exit code {code}): {self._last_words()}")

    async def end(self) -> None:
        """End it at once, if it runs: what it has acknowledged is durable. Nobody may listen any more."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101 - it was asked for
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.stdout.read()
        await process.wait()

    def _last_words(self) -> str:
        lines = self._errors.read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")
