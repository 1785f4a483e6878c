"""Turns of writers in several processes: two open files of one process stand for them, the system tells them apart."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import apsw
import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.storage.sqlite import tuning, turns
from bamboo_sessions.storage.sqlite.turns import SUFFIX, Turn

LONG = 60.0


@contextmanager
def _turn(path: Path, wait_seconds: float = LONG) -> Iterator[Turn]:
    turn = Turn(str(path), wait_seconds)
    try:
        yield turn
    finally:
        turn.close()


def test_L45_who_has_waited_for_long_goes_first(path: Path) -> None:
    """While one that has waited asks to go first, another stands back, and goes on when that has its way."""
    order: list[str] = []
    stands_back = threading.Event()
    with _turn(path) as starving, _turn(path) as other:

        def write() -> None:
            assert other.is_anothers()
            stands_back.set()
            other.stand_back()
            order.append("other")

        starving.claim_after(tuning.CLAIM_SECONDS)
        thread = threading.Thread(target=write)
        thread.start()
        assert stands_back.wait(LONG)
        order.append("starving")
        starving.give()
        thread.join(LONG)
    assert order == ["starving", "other"]


def test_nobody_asks_to_go_first_at_once(path: Path) -> None:
    """Who has waited for a moment only doesn't hold up the others."""
    with _turn(path) as one, _turn(path) as other:
        one.claim_after(tuning.CLAIM_SECONDS / 2)
        assert not other.is_anothers()
        one.claim_after(tuning.CLAIM_SECONDS)
        assert other.is_anothers()
        assert not one.is_anothers()


def test_one_at_a_time_goes_first(path: Path) -> None:
    """What another has asked for already can't be had as well, until that one has given it back."""
    with _turn(path) as first, _turn(path) as second:
        first.claim_after(LONG)
        second.claim_after(LONG)
        second.give()
        assert second.is_anothers()
        first.give()
        second.claim_after(LONG)
        assert first.is_anothers()


def test_nobody_waits_for_ever_behind_a_process_that_was_stopped(path: Path) -> None:
    """One stands back for a while, not again for the same one that doesn't move, and again for the next."""
    with _turn(path) as stopped, _turn(path, wait_seconds=0.0) as other:
        stopped.claim_after(LONG)
        other.stand_back()
        assert other._is_stuck
        other.stand_back()  # at once: the time of waiting is over
        stopped.give()
        assert not other.is_anothers()
        assert not other._is_stuck


def test_without_a_file_there_are_no_turns(path: Path) -> None:
    """Where the file can't be made, nobody stands back, and nobody can ask for it."""
    with _turn(path.parent / "nowhere" / "x.db") as turn:
        turn.claim_after(LONG)
        turn.stand_back()
        assert not turn.is_anothers()
        turn.give()


def test_without_locks_of_files_there_are_no_turns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without `flock` SQLite alone decides."""
    monkeypatch.setattr(turns, "fcntl", None)
    with _turn(path) as turn:
        turn.claim_after(LONG)
        turn.stand_back()
        assert not turn.is_anothers()
    assert not os.path.lexists(f"{path}{SUFFIX}")


@pytest.mark.anyio
async def test_writing_goes_on_while_somebody_keeps_the_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but fairness rests on turns: a commit succeeds without one, and with its file deleted."""
    monkeypatch.setattr(tuning, "TURN_WAIT_SECONDS", 0.01)
    async with SessionRepository.open(path) as sessions:
        with _turn(path) as stopped:
            stopped.claim_after(LONG)
            assert (await sessions.append("s", Message.user("a"), create=True)).revision == 1
        Path(f"{path}{SUFFIX}").unlink()
        assert (await sessions.append("s", Message.user("b"))).revision == 2


@pytest.mark.anyio
async def test_L45_a_writer_that_finds_the_file_locked_asks_to_go_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits for another transaction it claims the next turn, and gives it back once it writes."""
    monkeypatch.setattr(turns, "CLAIM_SECONDS", 0.0)
    async with SessionRepository.open(path) as sessions:
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with _turn(path) as third:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: sessions.append("s", Message.user("a"), create=True))
                while not third.is_anothers():
                    await anyio.lowlevel.checkpoint()
                other.execute("COMMIT")
            assert not third.is_anothers()
        other.close()
