"""Turns of writers in several processes: two open files of one process stand for them, the system tells them apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.storage.sqlite.transactions import tuning, turns
from bamboo_sessions.storage.sqlite.transactions.turns import SUFFIX, Turn

LONG = 60.0


@contextmanager
def _turn(path: Path, wait_seconds: float = LONG) -> Iterator[Turn]:
    turn = Turn(str(path), wait_seconds)
    try:
        yield turn
    finally:
        turn.close()


def _waits(turn: Turn) -> bool:
    return turn._queue is not None and turn._queue.is_waiting


def test_L45_the_next_one_writes_when_the_first_is_done(path: Path) -> None:
    """Whoever comes second waits until the first gives its turn away, and then has it."""
    order: list[str] = []
    with _turn(path) as first, _turn(path) as second:

        def write() -> None:
            second.take()
            order.append("second")
            second.give()

        first.take()
        thread = threading.Thread(target=write)
        thread.start()
        while not _waits(second):
            pass
        order.append("first")
        first.give()
        thread.join()
        assert order == ["first", "second"]
        first.take()
        assert first._is_mine


def test_nobody_waits_at_once(path: Path) -> None:
    """Asked not to wait, one is told that it's another's turn, and isn't in the queue afterwards."""
    with _turn(path) as first, _turn(path) as second:
        assert first.take_at_once()
        assert not second.take_at_once()
        first.give()
        assert first.take_at_once()


def test_without_locks_of_files_there_are_no_turns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without `flock` SQLite alone decides."""
    monkeypatch.setattr(turns, "fcntl", None)
    with _turn(path) as turn:
        turn.take()
        assert turn.take_at_once()
        assert not turn._is_mine
    assert not Path(f"{path}{SUFFIX}").exists()


def test_nobody_waits_for_ever_behind_a_process_that_was_stopped(path: Path) -> None:
    """After a while one goes on without a turn, doesn't queue again meanwhile, and queues again once it is free."""
    with _turn(path) as stopped, _turn(path, wait_seconds=0.01) as other, _turn(path) as third:
        stopped.take()
        other.take()
        assert not other._is_mine
        assert _waits(other)
        other.take()
        assert not other._is_mine
        assert other.take_at_once()
        stopped.give()
        while _waits(other):
            pass
        third.take()  # what came too late was let go
        assert third._is_mine
        third.give()
        other.take()
        assert other._is_mine


def test_without_a_file_there_are_no_turns(path: Path) -> None:
    """Where the file can't be made, one goes on without a turn."""
    with _turn(path.parent / "nowhere" / "x.db") as turn:
        turn.take()
        assert not turn._is_mine


def test_giving_what_one_has_not_changes_nothing(path: Path) -> None:
    """A turn that wasn't had can't be taken from another."""
    with _turn(path) as first, _turn(path, wait_seconds=0.0) as second, _turn(path, wait_seconds=0.0) as third:
        first.take()
        second.take()
        second.give()
        third.take()
        assert not third._is_mine


def test_closing_leaves_nothing(path: Path) -> None:
    """The thread that waited ends, and the next process has its turn."""
    before = set(threading.enumerate())
    with _turn(path) as first, _turn(path, wait_seconds=0.0) as second:
        first.take()
        second.take()
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
    assert not set(threading.enumerate()) - before
    with _turn(path, wait_seconds=0.0) as third:
        third.take()
        assert third._is_mine


@pytest.mark.anyio
async def test_writing_goes_on_while_somebody_keeps_the_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but fairness rests on turns: a commit succeeds without one, and with its file deleted."""
    monkeypatch.setattr(tuning, "TURN_WAIT_SECONDS", 0.01)
    async with SessionRepository.open(path) as sessions:
        with _turn(path) as stopped:
            stopped.take()
            assert (await sessions.append("s", Message.user("a"), create=True)).revision == 1
        Path(f"{path}{SUFFIX}").unlink()
        assert (await sessions.append("s", Message.user("b"))).revision == 2
