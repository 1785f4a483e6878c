"""Each disk operation of each call fails, in each way: no driver's error, no false answer, nothing lost (G1, G3, G8).

As SQLite's own tests do it: fail the first operation, then the second … until the call needs no more of them. Then
the fault is gone, the same call is made again, and the store has to hold exactly what it holds without any fault.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from bamboo_sessions import Session, SessionRepository, StorageError, StorageFullError
from bamboo_sessions.domain.errors import SessionExistsError, StorageCorruptError, StorageUnavailableError
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions import wal as log
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of
from bamboo_sessions.testing import ManualClock
from bamboo_sessions.testing.disk import DiskFault, Kind, SimulatedDisk, What
from tests.faults.calls import READS, WRITES, Call, plain, prepare, state
from tests.power_cut.recovery import NAME, folder

CALLS: Final = {**READS, **WRITES}
_OPERATIONS_MAX: Final = 400


class Case(msgspec.Struct, frozen=True):
    """A way to fail: what, which operations, of which files, how many times (`None`: until the disk is mended)."""

    what: What
    kinds: tuple[Kind, ...] = ()
    file: str = ""
    times: int | None = 1

    def __str__(self) -> str:
        """As the id of a test."""
        return " ".join((self.what, *self.kinds, self.file, "once" if self.times else "for long")).replace("  ", " ")


ONCE: Final = Case("io")
FULL: Final = Case("full", ("write",), times=None)
LONG_CASES: Final = (
    Case("io", times=None),
    Case("full", ("write",)),
    Case("io", ("write",), times=None),
    Case("io", ("sync",), times=None),
    Case("io", ("read",), times=None),
    Case("io", ("size",), times=None),
)
OPENING: Final = (
    ONCE,
    Case("full", ("write",)),
    Case("short", ("read",), "-wal"),
    Case("busy", ("lock", "open")),
    Case("cantopen", ("open",)),
    Case("busy", ("lock",), times=None),
)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A folder with the store that the calls work on."""
    with folder() as place:
        asyncio.run(prepare(place / NAME))
        yield place


class Outcome(msgspec.Struct):
    """What came of a call under a fault, and of the same call afterwards: results as bytes, or errors."""

    fault: DiskFault
    first: bytes | None = None
    error: Exception | None = None
    second: bytes | None = None
    again: Exception | None = None


async def _attempt(sessions: SessionRepository, call: Call) -> tuple[bytes | None, Exception | None]:
    try:
        return plain(await call(sessions)), None
    except Exception as exc:  # noqa: BLE001 - all are judged
        return None, exc


async def _struck(place: Path, disk: SimulatedDisk, call: Call, case: Case, nth: int) -> Outcome:
    storage = SqliteStorage(place / NAME, busy_timeout_ms=50)
    async with SessionRepository.open(storage, clock=ManualClock()) as sessions:
        with disk.fail(case.what, *case.kinds, file=case.file, nth=nth, times=case.times) as fault:
            first, error = await _attempt(sessions, call)
        second, again = first, None
        if error is not None or call in READS.values():
            second, again = await _attempt(sessions, call)
    return Outcome(fault, first, error, second, again)


async def _without_faults(place: Path, call: Call) -> tuple[bytes, str]:
    async with SessionRepository.open(SqliteStorage(place / NAME), clock=ManualClock()) as sessions:
        result = plain(await call(sessions))
    return result, await state(place / NAME)


def _judge(name: str, outcome: Outcome, result: bytes) -> None:
    """The first answer is right, or an error of ours; the second one is right."""
    if outcome.error is None:
        assert outcome.first == result
    else:
        assert isinstance(outcome.error, StorageError), repr(outcome.error)
        assert str(outcome.error)
        if outcome.fault.what == "full":
            assert isinstance(outcome.error, StorageFullError)
            assert not outcome.error.outcome_unknown
    if isinstance(outcome.again, SessionExistsError):
        assert name in {"create", "fork"}  # the first one happened
        assert getattr(outcome.error, "outcome_unknown", False)
    else:
        assert outcome.again is None, repr(outcome.again)
    if name in READS:
        assert outcome.second == result


def _fail_each(template: Path, name: str, case: Case) -> int:
    """Fail each operation of a call in turn; how many there were."""
    call = CALLS[name]
    with folder() as place:
        shutil.copytree(template, place, dirs_exist_ok=True)
        result, after = asyncio.run(_without_faults(place, call))
    for nth in range(1, _OPERATIONS_MAX):
        with folder() as place:
            shutil.copytree(template, place, dirs_exist_ok=True)
            with SimulatedDisk(place) as disk:
                outcome = asyncio.run(_struck(place, disk, call, case, nth))
            try:
                _judge(name, outcome, result)
                if name in WRITES or not outcome.fault.hits:
                    assert asyncio.run(state(place / NAME)) == after
            except AssertionError as exc:
                exc.add_note(f"{name}: {case}, operation {nth} ({outcome.fault.struck})")
                raise
            if not outcome.fault.hits:
                return nth - 1
    pytest.fail(f"{name} never came to an end")


@pytest.mark.parametrize("name", CALLS)
def test_any_operation_may_fail_once(template: Path, name: str) -> None:
    """One failing disk operation, whichever, gives the right answer or an error of ours; the same call then works."""
    count = _fail_each(template, name, ONCE)
    assert count > 0


@pytest.mark.parametrize("name", ["append", "save", "delete", "put", "fork"])
def test_a_full_disk_writes_nothing_and_says_so(template: Path, name: str) -> None:
    """A disk without room is `StorageFullError`, nothing is written, and the call succeeds once there is room."""
    assert _fail_each(template, name, FULL) > 0


@pytest.mark.long
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_any_operation_may_fail_in_each_way(template: Path, name: str, case: Case) -> None:
    """Likewise for each kind of operation by itself, once and until the disk is mended."""
    _fail_each(template, name, case)


# --- opening, closing, checkpoints


@pytest.fixture(scope="module")
def crashed(template: Path) -> Iterator[Path]:
    """The same store as a killed process leaves it: with a log that the next opening has to read."""

    async def write(place: Path) -> None:
        async with SessionRepository.open(SqliteStorage(place / NAME), clock=ManualClock()) as sessions:
            await WRITES["append"](sessions)
            for each in place.iterdir():
                if not each.name.endswith("-shm"):
                    shutil.copy(each, left)

    with folder() as left, folder() as place:
        shutil.copytree(template, place, dirs_exist_ok=True)
        asyncio.run(write(place))
        yield left


async def _opened(place: Path, disk: SimulatedDisk, case: Case, nth: int) -> DiskFault:
    """Open under a fault; then without, and read."""
    storage = SqliteStorage(place / NAME, busy_timeout_ms=20)
    fault = disk.fail(case.what, *case.kinds, file=case.file, nth=nth, times=case.times)
    try:
        await storage.open()
    except StorageError as exc:
        assert str(exc)  # noqa: PT017 - it may also go well
        if case.what == "busy":
            assert isinstance(exc, StorageUnavailableError)  # noqa: PT017 - as above
        assert not isinstance(exc, StorageCorruptError) or case.what == "short"  # noqa: PT017 - as above
    fault.stop()
    await storage.open()
    await storage.aclose()
    return fault


def _open_each(source: Path, case: Case) -> None:
    """Fail each operation of opening in turn."""
    with folder() as place:
        shutil.copytree(source, place, dirs_exist_ok=True)
        expected = asyncio.run(state(place / NAME))
    for nth in range(1, _OPERATIONS_MAX):
        with folder() as place:
            shutil.copytree(source, place, dirs_exist_ok=True)
            with SimulatedDisk(place) as disk:
                fault = asyncio.run(_opened(place, disk, case, nth))
            assert asyncio.run(state(place / NAME)) == expected, f"{case}, operation {nth}: {fault.struck}"
            if not fault.hits:
                return
    pytest.fail("opening never came to an end")


@pytest.mark.parametrize("case", OPENING, ids=str)
@pytest.mark.parametrize("which", ["new", "closed", "crashed"])
def test_opening_may_fail_anywhere(template: Path, crashed: Path, tmp_path: Path, which: str, case: Case) -> None:
    """Opening a new, closed or crashed store under a fault works, or is an error of ours; without it all is there."""
    _open_each({"new": tmp_path, "closed": template, "crashed": crashed}[which], case)


@pytest.mark.long
@pytest.mark.parametrize("which", ["new", "closed", "crashed"])
def test_opening_may_fail_until_the_disk_is_mended(template: Path, crashed: Path, tmp_path: Path, which: str) -> None:
    """Likewise if every operation fails from some moment on, until the disk is mended."""
    _open_each({"new": tmp_path, "closed": template, "crashed": crashed}[which], Case("io", times=None))


async def _tended(place: Path, disk: SimulatedDisk, case: Case, nth: int) -> DiskFault:
    """Write until the log is checkpointed and starts over, under a fault, insisting; then close under it."""
    storage = SqliteStorage(place / NAME, busy_timeout_ms=50)
    sessions = await SessionRepository.open(storage, clock=ManualClock())
    fault = disk.fail(case.what, *case.kinds, file=case.file, nth=nth, times=case.times)
    for number in range(6):
        for _ in range(2):
            try:
                await sessions.set_value("s0", "n", number)
                await sessions.records.put("graph", f"key{number}", b"x" * 9_000, session="s0")
                break
            except StorageError:
                continue
    await sessions.aclose()
    return fault


@pytest.mark.parametrize("case", [ONCE, Case("io", ("sync",)), Case("full", ("write",))], ids=str)
def test_a_checkpoint_or_closing_may_fail_anywhere(template: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """Whichever operation of a checkpoint or of closing fails, what was acknowledged is there, and no thread dies."""
    monkeypatch.setattr(log, "WAL_PAGES_CHECKPOINT", 12)
    step = {"io once": 5, "full write once": 4}.get(str(case), 1)
    for nth in range(1, step * _OPERATIONS_MAX, step):
        with folder() as place:
            shutil.copytree(template, place, dirs_exist_ok=True)
            with SimulatedDisk(place) as disk:
                fault = asyncio.run(_tended(place, disk, case, nth))
            storage = SqliteStorage(place / NAME)
            assert asyncio.run(_values(storage)) == (5, 6), f"{case}, operation {nth}: {fault.struck}"
            if not fault.hits:
                return
    pytest.fail("it never came to an end")


async def _values(storage: SqliteStorage) -> tuple[object, int]:
    async with SessionRepository.open(storage, clock=ManualClock()) as sessions:
        assert (await storage.check()).ok
        session: Session = await sessions.get("s0")
        records = [record async for record in sessions.records.scan("graph", session="s0", prefix="key")]
        return session.metadata["n"], len(records)


# --- repairing


async def _repaired(place: Path, disk: SimulatedDisk, case: Case, nth: int) -> DiskFault:
    """Damage what is derived, repair it under a fault, then without one."""
    storage = SqliteStorage(place / NAME)
    await storage.open()
    await storage._engine.write(lambda c: rows_of(c, "UPDATE sessions SET message_count = 7 WHERE session_id = 's0'"))
    with disk.fail(case.what, *case.kinds, nth=nth, times=case.times) as fault:
        try:
            assert (await storage.check(repair=True)).ok
        except StorageError as exc:
            assert case.what != "full" or isinstance(exc, StorageFullError)  # noqa: PT017 - it may also go well
    again = await storage.check(repair=True)
    await storage.aclose()
    assert again.ok
    return fault


async def _checked(path: Path) -> bool:
    storage = SqliteStorage(path)
    await storage.open()
    report = await storage.check()
    await storage.aclose()
    return report.sessions > 0 and {problem.kind for problem in report.problems} <= {"count"}


@pytest.mark.parametrize("case", [Case("full", ("write",)), Case("io", ("write", "sync"))], ids=str)
def test_a_repair_may_fail_anywhere(template: Path, case: Case) -> None:
    """A repair that can't make its backup changes nothing and leaves no half backup; the next one succeeds."""
    for nth in range(1, 9 * _OPERATIONS_MAX, 9):
        with folder() as place:
            shutil.copytree(template, place, dirs_exist_ok=True)
            with SimulatedDisk(place) as disk:
                fault = asyncio.run(_repaired(place, disk, case, nth))
            backups = list(place.glob("*.backup-*"))
            assert backups or not fault.hits
            for backup in backups:
                assert asyncio.run(_checked(backup)), f"{case}, operation {nth}: {fault.struck} left {backup.name}"
            if not fault.hits:
                return
    pytest.fail("it never came to an end")
