"""Runs the tests against mutants: each in a fork of a process that has collected the tests already.

In the fork the code of one function is replaced, and only the tests that reach it run, the quickest first. What
importing a module runs can't be replaced like that: there the fork starts before the project is imported.
"""

from __future__ import annotations

import functools
import gc
import importlib.machinery
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Final, NoReturn

import anyio.pytest_plugin  # noqa: F401 - all that the tests need is imported once, before the forks
import hypothesis.strategies
import msgspec
import pytest

from tests.mutation.mutants import Mutant, compiled

TESTS: Final = ("tests/unit/domain", "tests/merge", "tests/conformance/test_memory.py", "tests/docs/test_complete.py")
_TABLES: Final = ("tests/docs/", "tests/unit/domain/test_values.py")  # these hold most of what importing runs
_WARNINGS: Final = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
_OPTIONS: Final = (
    "-q",
    "--tb=no",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--timeout=300",  # under the profile, on a busy machine; mutants have their own limit
    *_WARNINGS,
)
_CPU_SECONDS: Final = 5  # what any mutant may take, beside a multiple of what its tests take unchanged
_MEMORY_BYTES: Final = 2 * 2**30  # a loop without an end must not fill the machine

Function = tuple[str, int]
"""A function of the project: its file and first line."""
Tell = Callable[[Mutant, str], None]
"""Is told how a mutant ended."""


class Reach(msgspec.Struct):
    """For each test, how long it took (seconds), and which functions it called; those that the import calls."""

    seconds: dict[str, float] = {}
    functions: dict[str, list[Function]] = {}
    imported: list[Function] = []

    def tests_for(self, mutant: Mutant) -> list[str]:
        """The tests that may notice the mutant, the quickest first; all of them if importing runs it."""
        key = (mutant.path, mutant.function or 0)
        near = {test for test, called in self.functions.items() if mutant.path in {path for path, _ in called}}
        chosen = [test for test in self.seconds if mutant.function is None or key in self.functions[test]]
        is_table = {test: mutant.function is None and test.startswith(_TABLES) for test in chosen}
        return sorted(chosen, key=lambda test: (not is_table[test], test not in near, self.seconds[test]))


def use_examples(count: int) -> None:
    """Let properties try `count` examples, the same ones each time, and stop at the first that fails."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=count,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"


def forked(jobs: Iterable[tuple[Mutant, float, Callable[[], int]]], workers: int) -> Iterator[tuple[Mutant, str]]:
    """Run each job in a fork, `workers` at a time, within its seconds of processor time; yield how each ended."""
    running: dict[int, Mutant] = {}
    for mutant, seconds, job in jobs:
        if len(running) >= workers:
            yield _ended(running)
        if (process := os.fork()) == 0:
            _run(job, seconds)
        running[process] = mutant
    while running:
        yield _ended(running)


def _run(job: Callable[[], int], seconds: float) -> NoReturn:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = job()
    finally:
        os._exit(code)


def _ended(running: dict[int, Mutant]) -> tuple[Mutant, str]:
    process, status = os.wait()
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGXCPU, signal.SIGKILL}:
        return running.pop(process), "timed out"
    return running.pop(process), "survived" if status == 0 else "killed"


class Warm:
    """A plugin of pytest that runs mutants of functions in place of the tests."""

    def __init__(self, mutants: Sequence[Mutant], workers: int, out: Path, tell: Tell) -> None:
        self.mutants = mutants
        self.workers = workers
        self.out = out
        self.tell = tell
        self.calls = _Calls({mutant.path for mutant in mutants})
        self.reach = Reach()
        self.failed: list[str] = []
        sys.setprofile(self.calls)

    def pytest_collection_finish(self) -> None:
        """Importing is over."""
        sys.setprofile(None)
        self.reach.imported = sorted(self.calls.found)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what failed, and how long the test took."""
        self.reach.seconds[report.nodeid] = self.reach.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests once as they are, then those that matter against each mutant."""
        items = {item.nodeid: item for item in session.items}
        if (process := os.fork()) == 0:
            self._measure(items)
        os.waitpid(process, 0)
        if not self.out.exists():
            raise pytest.UsageError("the tests fail without any mutant")
        self.reach = msgspec.json.decode(self.out.read_bytes(), type=Reach)
        functions = _functions()
        gc.freeze()
        for mutant, outcome in forked(self._jobs(items, functions), self.workers):
            self.tell(mutant, outcome)
        return True

    def _measure(self, items: dict[str, pytest.Item]) -> NoReturn:
        for name, item in items.items():
            self.calls.found = set()
            sys.setprofile(self.calls)
            threading.setprofile(self.calls)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            sys.setprofile(None)
            self.reach.functions[name] = sorted(self.calls.found)
        if not self.failed:
            self.out.write_bytes(msgspec.json.encode(self.reach))
        os._exit(0)

    def _jobs(
        self, items: dict[str, pytest.Item], functions: dict[Function, list[FunctionType]]
    ) -> Iterator[tuple[Mutant, float, Callable[[], int]]]:
        for mutant in self.mutants:
            if mutant.function is None:
                continue
            tests = self.reach.tests_for(mutant)
            seconds = _CPU_SECONDS + 3 * sum(self.reach.seconds[test] for test in tests)
            chosen = [items[test] for test in tests]
            yield mutant, seconds, functools.partial(self._try, mutant, chosen, functions)

    def _try(self, mutant: Mutant, items: list[pytest.Item], functions: dict[Function, list[FunctionType]]) -> int:
        assert mutant.function is not None
        changed = compiled(mutant)
        assert changed is not None
        for function in functions.get((mutant.path, mutant.function), []):
            function.__code__ = _code_like(changed, function.__code__)
        for one in gc.get_objects():
            if isinstance(one, functools._lru_cache_wrapper):
                one.cache_clear()
        for item in items:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self.failed:
                return 1
        return 0


class _Calls:
    """A profile function that notes which functions of some files are called."""

    def __init__(self, files: set[str]) -> None:
        self.files = {str(Path(file).resolve()): file for file in files}
        self.found: set[Function] = set()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and (file := self.files.get(frame.f_code.co_filename)):
            self.found.add((file, frame.f_code.co_firstlineno))


def _functions() -> dict[Function, list[FunctionType]]:
    """All living functions, by file and first line."""
    found: dict[Function, list[FunctionType]] = {}
    for one in gc.get_objects():
        if isinstance(one, FunctionType):
            with suppress(ValueError):
                path = str(Path(one.__code__.co_filename).relative_to(Path.cwd()))
                found.setdefault((path, one.__code__.co_firstlineno), []).append(one)
    return found


def _code_like(code: CodeType, wanted: CodeType) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if (constant.co_firstlineno, constant.co_qualname) == (wanted.co_firstlineno, wanted.co_qualname):
                return constant
            with suppress(LookupError):
                return _code_like(constant, wanted)
    raise LookupError(wanted)


class Chosen:
    """A plugin of pytest that runs some tests in a certain order, and ends the process at the first failure."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.order = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out and sort."""
        items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda one: self.order[one.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One failure is enough."""
        if report.failed:
            os._exit(1)


def from_scratch(mutant: Mutant, tests: Sequence[str]) -> int:
    """Import the project with the mutant in it, and run tests: 0 if they pass."""
    changed = compiled(mutant)
    target = str(Path(mutant.path).resolve())
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, name: str) -> CodeType | None:
        return changed if self.path == target else original(self, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]
    return int(pytest.main([*_OPTIONS, *dict.fromkeys(test.split("::")[0] for test in tests)], plugins=[Chosen(tests)]))


def run(mutants: Sequence[Mutant], folder: Path, workers: int, tell: Tell) -> None:
    """Try all mutants. `tell` hears of those of functions in a fork, which has ended when `run` goes on to others."""
    reach_file = folder / "reach.json"
    reach_file.unlink(missing_ok=True)
    if (process := os.fork()) == 0:
        plugin = Warm(mutants, workers, reach_file, tell)
        os._exit(int(pytest.main([*_OPTIONS, "--capture=no", *TESTS], plugins=[plugin])))
    _, status = os.waitpid(process, 0)
    if status:
        sys.exit("the tests fail without any mutant, or the runner is broken; its message is above")


def run_cold(mutants: Sequence[Mutant], survived: set[Mutant], folder: Path, workers: int, tell: Tell) -> None:
    """Try the mutants that importing runs, and again those that survived but are in functions that importing calls."""
    reach = msgspec.json.decode((folder / "reach.json").read_bytes(), type=Reach)
    imported = set(reach.imported)
    cold = [mutant for mutant in mutants if mutant.function is None]
    cold += [mutant for mutant in mutants if mutant in survived and (mutant.path, mutant.function) in imported]
    jobs = []
    for mutant in cold:
        tests = reach.tests_for(mutant)
        seconds = _CPU_SECONDS + 3 * sum(reach.seconds[test] for test in tests)
        jobs.append((mutant, seconds, functools.partial(from_scratch, mutant, tests)))
    for mutant, outcome in forked(jobs, workers):
        tell(mutant, outcome)
