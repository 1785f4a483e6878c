"""Processes that commit for one another are killed and stopped in the middle of it (G1, G2, G4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import Message, SessionRepository, SqliteStorage, StoreAdmin
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.others import Others
from tests.multiprocess.processes import Worker

pytestmark = [pytest.mark.anyio, pytest.mark.multiprocess]

STEPS = ["before it begins", "before COMMIT", "after COMMIT", "after telling"]


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[SessionRepository]:
    """A store with a session, which is whole in the end."""
    async with SessionRepository.open(tmp_path / "sessions.db") as sessions:
        await sessions.append("s", Message.user("0"), create=True)
        yield sessions
        assert (await StoreAdmin(sessions.storage).check()).ok


def _path(sessions: SessionRepository) -> Path:
    assert isinstance(sessions.storage, SqliteStorage)
    return sessions.storage.path


def _others(sessions: SessionRepository) -> Others:
    assert isinstance(sessions.storage, SqliteStorage)
    return sessions.storage._engine._others


async def _append_behind(other: Worker, sessions: SessionRepository) -> int:
    """An append that waits in a slot when the other process, whose turn it is, begins to commit; its revision."""
    appending = asyncio.ensure_future(sessions.append("s", Message.user("1")))
    while not _others(sessions)._slots.is_waiting() and not appending.done():
        await anyio.lowlevel.checkpoint()
    other.tell()
    async with asyncio.timeout(60):
        return (await appending).revision


async def _texts(sessions: SessionRepository) -> list[str]:
    return [message.text for message in (await sessions.get("s")).messages]


@pytest.mark.parametrize("step", STEPS)
async def test_L45_who_commits_for_others_is_killed(
    sessions: SessionRepository, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever it dies, what it was to commit for another is there once, and acknowledged (G2, G4)."""
    monkeypatch.setattr(tuning, "TURN_WAIT_SECONDS", 60.0)
    async with Worker("end_in_a_turn", _path(sessions), step, "SIGKILL") as other:
        await other.ready()
        assert await _append_behind(other, sessions) == 2
        assert await other.line() == ""
    assert await _texts(sessions) == ["0", "1"]
    assert (await sessions.load("its") is None) == (step in STEPS[:2])


@pytest.mark.parametrize("step", ["before it begins", "after COMMIT", "after telling"])
async def test_L45_who_commits_for_others_is_stopped(
    sessions: SessionRepository, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The others go on while it stands still, and when it goes on itself nothing is made twice or late (G2)."""
    monkeypatch.setattr(tuning, "TURN_WAIT_SECONDS", 1.0)
    async with Worker("end_in_a_turn", _path(sessions), step, "SIGSTOP") as other:
        await other.ready()
        assert await _append_behind(other, sessions) == 2
        monkeypatch.setattr(tuning, "TURN_WAIT_SECONDS", 60.0)
        for number in range(2, 6):
            assert (await sessions.append("s", Message.user(str(number)))).revision == number + 1
        other.kill()
    assert await _texts(sessions) == [str(number) for number in range(6)]


async def test_who_waits_in_a_slot_is_killed(sessions: SessionRepository) -> None:
    """Its commit is made as a whole, once, by whoever has the turn, and nothing is left in its slot."""
    assert _others(sessions).take_turn_at_once()
    async with Worker("append_on_request", _path(sessions), "s", 60.0) as other:
        await other.ready()
        _others(sessions)._slots._mine = (other.pid + 32) % 64  # one process in 64 would have the same slot as this one
        other.tell("1")
        while not _others(sessions).guests(1 << 20):
            await anyio.lowlevel.checkpoint()
        other.kill()
        await sessions.append("s", Message.user("2"))
        assert await other.line() == ""
    assert await _texts(sessions) == ["0", "2", "1"]
    assert _others(sessions).guests(1 << 20) == []


def test_nobody_waits_for_a_stopped_process_longer_than_50_ms() -> None:
    """That is what a process which was stopped outside SQLite's own lock costs another one on a quick disk, once."""
    assert tuning.TURN_WAIT_SECONDS + tuning.TURN_WAIT_SYNCS * tuning.LOOP_SYNC_SECONDS_MAX < 0.05
