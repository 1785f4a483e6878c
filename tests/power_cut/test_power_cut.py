"""The power fails at every moment of a mixed workload; what is left is opened by the ordinary engine (G1, G3).

The workload runs once on a simulated disk. Then the recording is cut after each operation, and `power_cut` builds what
a disk may hold then. A failure names the cut and what survived, and keeps its recording for `tests.power_cut.repeat`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.connection import Durability
from bamboo_sessions.testing.disk import SimulatedDisk
from bamboo_sessions.testing.power_cut import WORST, Replay, Survival, at_random
from tests.power_cut.recovery import NAME, Judge, Recording, cut_everywhere, folder, keep, look, record

EVERYTHING = WORST[1]
MODES: tuple[Durability, ...] = ("full", "relaxed")


Survivals = Callable[[int], Iterable[Survival]]


def _judged(recording: Recording, survivals: Survivals, place: Path) -> Judge:
    judge = Judge(recording)
    wrong = cut_everywhere(judge, survivals)
    assert not wrong, "\n".join([*wrong, f"again: .venv/bin/python -m tests.power_cut.repeat {keep(recording, place)}"])
    return judge


@pytest.mark.parametrize("durability", MODES)
def test_a_power_cut_at_any_moment_loses_nothing_acknowledged(durability: Durability, tmp_path: Path) -> None:
    """G1, G3: after an operation, with nothing saved and with one more kind of survival, the store is whole.

    A run judges every third operation, and chance says which: all three thirds are cut with `--long`.
    """
    recording = record(durability, seed=1, rounds=1)
    kinds = {operation.kind for operation in recording.operations}
    assert kinds == {"create", "write", "truncate", "sync", "delete"}
    third = random.SystemRandom().randrange(3)

    def survivals(cut: int) -> Iterable[Survival]:
        if cut % 3 != third:
            return ()
        return WORST[0], WORST[1 + cut % 7] if cut % 8 else at_random(cut)

    judge = _judged(recording, survivals, tmp_path)
    assert judge.cuts > 2 * 800 // 3
    assert len(judge.seen) > 130


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("durability", MODES)
def test_a_power_cut_at_any_moment_of_many_kinds(durability: Durability, seed: int, tmp_path: Path) -> None:
    """Likewise with every extreme and many random survivals at each moment, and longer workloads."""
    recording = record(durability, seed=seed, rounds=4)
    _judged(recording, lambda cut: (*WORST, *(at_random(1_000 * cut + number) for number in range(8))), tmp_path)


def _after_failed_sync(recording: Recording, *, extremes: bool, reach: int) -> Survivals:
    """Survivals around syncs and names, from the failed sync on."""
    operations = recording.operations
    failed = next(i for i, operation in enumerate(operations) if operation.kind == "failed_sync")

    def survivals(cut: int) -> Iterable[Survival]:
        near = operations[max(0, cut - 1) : cut + 1]
        if not failed < cut < failed + reach or all(each.kind == "write" for each in near):
            return ()
        return (*WORST, at_random(cut)) if extremes else (WORST[0], at_random(cut))

    return survivals


def _syncs(durability: Durability) -> int:
    return sum(operation.kind == "sync" for operation in record(durability, seed=1, rounds=1).operations)


OPENING_SYNCS = 8
"""Syncs that make a new file: if one of these fails, opening fails."""


def _fail_sync(number: int, place: Path, *, extremes: bool, reach: int) -> bool:
    """Judge what comes after a failed sync of the log; `False`: it was one of the file, where nothing is promised."""
    recording = record("full", seed=1, rounds=1, failing_sync=number)
    failed = [operation for operation in recording.operations if operation.kind == "failed_sync"]
    if not failed or not failed[0].name.endswith("-wal"):
        return False
    _judged(recording, _after_failed_sync(recording, extremes=extremes, reach=reach), place)
    return True


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_failed_sync_and_a_later_power_cut_lose_nothing_acknowledged(share: float, tmp_path: Path) -> None:
    """G1: a sync of the log fails, its data is doubtful for ever, the caller tries again; then the power fails."""
    number = OPENING_SYNCS + int(share * (_syncs("full") - OPENING_SYNCS))
    assert any(_fail_sync(number + more, tmp_path, extremes=False, reach=250) for more in range(4))


@pytest.mark.long
def test_any_failed_sync_and_a_later_power_cut_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Likewise for each sync of the log, with every extreme, up to the workload's end."""
    numbers = range(OPENING_SYNCS, _syncs("full") + 1)
    judged = [number for number in numbers if _fail_sync(number, tmp_path, extremes=True, reach=10_000)]
    assert len(judged) > len(numbers) // 2


def _second_cut(recording: Recording, cut: int, survival: Survival) -> Recording:
    """What opening and closing after a first cut does to the disk."""

    async def open_and_close(path: Path) -> None:
        storage = SqliteStorage(path, durability=recording.durability)
        await storage.open()
        await storage.aclose()

    replay = Replay()
    for operation in recording.operations[:cut]:
        replay.step(operation)
    image = replay.image(survival)
    left = look(image, recording.moments)
    assert left.trouble is None
    with folder() as place:
        for name, content in image.items():
            (place / name).write_bytes(content)
        with SimulatedDisk(place) as disk:
            asyncio.run(open_and_close(place / NAME))
        return Recording(recording.durability, disk.operations, [], left.state, disk.before)


@pytest.mark.parametrize("durability", MODES)
def test_a_second_power_cut_while_the_first_is_mended_changes_nothing(durability: Durability, tmp_path: Path) -> None:
    """The power fails again while the store is being opened and its log copied: the same state is found."""
    recording = record(durability, seed=2, rounds=1)
    for cut in random.Random(2).sample(range(300, len(recording.operations)), 5):
        again = _second_cut(recording, cut, EVERYTHING)
        _judged(again, lambda moment: (WORST[0], WORST[1 + moment % 7]), tmp_path)
