"""Several processes for long: mixed load on a thousand sessions, hot spots, restarts, slow readers (G2 to G7, G13)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from bamboo_sessions import Session, SessionRepository
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_CACHE_KIB, PAGE_CACHE_KIB
from bamboo_sessions.testing.history_checker import StoredSession, Verdict, check_history
from tests.kills.lives import Lives
from tests.kills.notes import Acknowledged, Sample
from tests.soak.load import CACHE_BYTES, name_of

pytestmark = [
    pytest.mark.multiprocess,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc for what a process uses"),
]

PROCESSES = 4
MEMORY_KIB_MAX = 2 * PAGE_CACHE_KIB + LOOP_CACHE_KIB + 4 * CACHE_BYTES // 1024 + 16 * 1024
"""What a process may use beside its code: SQLite's three page caches, cached sessions as objects, working copies."""


async def _prepare(path: Path, amount: int) -> None:
    async with SessionRepository.open(path) as sessions:
        for number in range(amount):
            await sessions.create(Session(name_of(number)))


async def _judge(path: Path, lives: Lives) -> Verdict:
    async with SessionRepository.open(path) as sessions:
        problems = [problem for problem in (await sessions.check()).problems if problem.kind != "orphan_call"]
        assert not problems
        stored = [StoredSession.of(await sessions.get(head.id)) async for head in sessions.iter_sessions()]
    return check_history((note.what for note in lives.notes if isinstance(note, Acknowledged)), stored)


def _soak(path: Path, *, sessions: int, acknowledgements: int, kill_every: int) -> list[Sample]:
    """Run it; the samples of the process that lives from the beginning to the end."""
    asyncio.run(_prepare(path, sessions))
    with Lives("tests.soak.load", path, seed=1) as lives:
        for _ in range(PROCESSES):
            lives.spawn()
        acknowledged = 0
        for note in lives.said():
            acknowledged += isinstance(note, Acknowledged)
            if acknowledged >= acknowledgements:
                break
            if isinstance(note, Acknowledged) and acknowledged % kill_every == 0:
                lives.kill(lives.rng.choice(lives.alive[1:]))
                lives.spawn()
    verdict = asyncio.run(_judge(path, lives))
    assert verdict.ok, verdict.findings[:10]
    assert verdict.there == verdict.acknowledged > acknowledgements // 2
    samples = [note for note in lives.notes if isinstance(note, Sample) and note.life == 0]
    print(  # noqa: T201
        f"{acknowledged} acknowledged, {lives.kills} processes killed, {verdict.acknowledged} messages, none lost; "
        f"memory {samples[0].memory_kib} … {samples[-1].memory_kib} KiB, blocks {samples[0].blocks} … "
        f"{samples[-1].blocks} in {len(samples)} samples"
    )
    return samples


def _check_bounds(samples: list[Sample]) -> None:
    assert len({note.files for note in samples}) == 1
    assert len({note.threads for note in samples}) == 1
    assert all(note.cache_bytes <= CACHE_BYTES for note in samples)
    assert all(note.locks <= PROCESSES for note in samples)


def test_a_mixed_load_of_processes_that_come_and_go_loses_nothing(tmp_path: Path) -> None:
    """Everything acknowledged is there, once and whole; files, threads, locks and cache stay within their bounds."""
    _check_bounds(_soak(tmp_path / "sessions.db", sessions=200, acknowledgements=3_000, kill_every=500))


@pytest.mark.long
def test_memory_stays_flat(tmp_path: Path) -> None:
    """After sixty thousand changes a process holds what it held after fifteen thousand, and no more than its bounds."""
    samples = _soak(tmp_path / "sessions.db", sessions=1_000, acknowledgements=60_000, kill_every=3_000)
    _check_bounds(samples)
    quarter = len(samples) // 4
    early, late = (max(note.blocks for note in part) for part in (samples[:quarter], samples[-quarter:]))
    assert late < 1.15 * early, [note.blocks for note in samples]
    assert max(note.memory_kib for note in samples) < samples[0].memory_kib + MEMORY_KIB_MAX
