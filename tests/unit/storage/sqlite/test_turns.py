"""Turns of writers in several processes: two open files of one process stand for them, the system tells them apart."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.storage.sqlite.transactions import turns
from bamboo_sessions.storage.sqlite.transactions.turns import SUFFIX, Turn

LONG = 60.0


@contextmanager
def _turn(path: Path) -> Iterator[Turn]:
    turn = Turn(str(path))
    try:
        yield turn
    finally:
        turn.close()


def _never() -> bool:
    return False


def test_L45_the_next_one_writes_when_the_first_is_done(path: Path) -> None:
    """Whoever comes second waits, in its own thread, until the first gives its turn away, and then has it."""
    order: list[str] = []
    asked = threading.Event()

    def is_over() -> bool:
        asked.set()
        return False

    def write(turn: Turn) -> None:
        turn.wait(LONG, is_over)
        order.append("second")
        turn.give()

    with _turn(path) as first, _turn(path) as second:
        assert first.take_at_once()
        assert not second.take_at_once()
        thread = threading.Thread(target=write, args=(second,))
        thread.start()
        assert asked.wait(LONG)
        order.append("first")
        first.give()
        thread.join()
        assert order == ["first", "second"]
        assert first.take_at_once()


def test_nobody_waits_at_once(path: Path) -> None:
    """Asked not to wait, one is told that it's another's turn, and can't take it away by giving it."""
    with _turn(path) as first, _turn(path) as second, _turn(path) as third:
        assert first.take_at_once()
        assert not second.take_at_once()
        second.give()
        assert not third.take_at_once()
        first.give()
        assert third.take_at_once()


def test_waiting_ends_when_there_is_nothing_to_wait_for(path: Path) -> None:
    """Who waits for something else as well has no turn when that comes first, and takes turns afterwards as before."""
    with _turn(path) as first, _turn(path) as second:
        assert first.take_at_once()
        second.wait(LONG, lambda: True)
        assert not second.take_at_once()


def test_without_locks_of_files_there_are_no_turns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system without `flock` SQLite alone decides."""
    monkeypatch.setattr(turns, "fcntl", None)
    with _turn(path) as turn:
        assert turn.take_at_once()
        turn.give()
    assert not Path(f"{path}{SUFFIX}").exists()


def test_nobody_waits_for_ever_behind_a_process_that_was_stopped(path: Path) -> None:
    """After a while one goes on without a turn, waits no more meanwhile, and takes turns again once it is free."""
    with _turn(path) as stopped, _turn(path) as other, _turn(path) as third:
        assert stopped.take_at_once()
        other.wait(0.01, _never)
        assert other.take_at_once()
        other.give()
        assert not third.take_at_once()  # it is still the stopped one's
        stopped.give()
        assert other.take_at_once()
        assert not third.take_at_once()
        other.give()
        assert third.take_at_once()
        assert not other.take_at_once()


def test_without_a_file_there_are_no_turns(path: Path) -> None:
    """Where the file can't be made, one goes on without a turn."""
    with _turn(path.parent / "nowhere" / "x.db") as turn:
        assert turn.take_at_once()
        turn.give()


def test_closing_gives_the_turn_away(path: Path) -> None:
    """The next process has its turn, and no thread is left."""
    threads = threading.active_count()
    with _turn(path) as first:
        assert first.take_at_once()
    with _turn(path) as second:
        assert second.take_at_once()
    assert threading.active_count() == threads


def test_a_signal_in_between_loses_no_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that raises just when the lock was got leaves a turn that is given away like any other."""
    with _turn(path) as first, _turn(path) as second:
        first.file()

        def interrupted() -> int:
            fcntl.flock(file(), fcntl.LOCK_EX)
            raise KeyboardInterrupt

        file = first.file
        with monkeypatch.context() as patch:
            patch.setattr(first, "file", interrupted)
            with pytest.raises(KeyboardInterrupt):
                first.take_at_once()
        assert not second.take_at_once()
        first.give()
        assert second.take_at_once()


@pytest.mark.anyio
async def test_writing_goes_on_while_somebody_keeps_the_turn(path: Path) -> None:
    """Nothing but speed rests on turns: a commit succeeds without one, and with its file deleted."""
    async with SessionRepository.open(path) as sessions:
        with _turn(path) as stopped:
            assert stopped.take_at_once()
            assert (await sessions.append("s", Message.user("a"), create=True)).revision == 1
            assert (await sessions.append("s", Message.user("b"))).revision == 2
        Path(f"{path}{SUFFIX}").unlink()
        assert (await sessions.append("s", Message.user("c"))).revision == 3
