"""The file of the write-ahead log: longer than the log ahead of commits, never in anybody's way, and no danger."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from bamboo_sessions.domain.limits import WAL_PAGES_CHECKPOINT
from bamboo_sessions.storage.sqlite.transactions import migrations
from bamboo_sessions.storage.sqlite.transactions.connection import close, connect_writer, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOG_PAGES_AHEAD,
    LOG_PAGES_GROWN_FROM,
    LOG_PAGES_GROWN_MAX,
)
from bamboo_sessions.storage.sqlite.transactions.wal import Log

FRAME_BYTES = 4096 + 24


class Rig:
    """A file, its writer's connection, and its log, tended after each commit."""

    def __init__(self, path: Path) -> None:
        migrations.prepare(str(path), busy_timeout_ms=1000)
        self.path = path
        self.checkpoints_asked_for = 0
        self.log = Log(str(path), self.on_long)
        self.pages = 0
        self.connection = connect_writer(str(path), "full", busy_timeout_ms=0)
        self.connection.set_wal_hook(self.committed)
        self.connection.execute("CREATE TABLE filler (value BLOB)")

    def on_long(self) -> None:
        """Be asked for a checkpoint."""
        self.checkpoints_asked_for += 1

    def committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """The hook of the connection."""
        self.pages = pages
        self.log.committed(pages)
        return apsw.SQLITE_OK

    def commit(self, pages: int = 10) -> None:
        """Commit some pages, and a few more."""
        self.connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (4000 * pages,))

    def commit_and_tend(self, pages: int = 10) -> None:
        """What the writer does."""
        self.commit(pages)
        if self.log.is_due:
            self.log.tend(self.connection)

    @property
    def file_pages(self) -> int:
        """Pages that the log's file has room for."""
        return (Path(f"{self.path}-wal").stat().st_size - 32) // FRAME_BYTES


@pytest.fixture
def rig(path: Path) -> Iterator[Rig]:
    """A new file."""
    rig = Rig(path)
    yield rig
    close(rig.connection)


def test_a_few_commits_make_no_long_file(rig: Rig) -> None:
    """A process that commits once or twice doesn't pay for more."""
    rig.commit_and_tend(LOG_PAGES_GROWN_FROM // 2)
    assert rig.file_pages == rig.pages


def test_further_commits_find_the_file_long_enough(rig: Rig) -> None:
    """From then on no commit makes the file longer, and it is at most some hundred pages ahead (G13)."""
    while rig.pages < LOG_PAGES_GROWN_FROM:
        rig.commit_and_tend()
    for _ in range(60):
        before = rig.file_pages
        rig.commit()
        assert rig.file_pages == before
        assert before >= rig.pages
        rig.log.tend(rig.connection)
        assert LOG_PAGES_AHEAD <= rig.file_pages - rig.pages <= LOG_PAGES_GROWN_MAX + LOG_PAGES_AHEAD


def test_a_long_file_is_left_as_it_is(rig: Rig) -> None:
    """After a checkpoint SQLite starts the log over: the file is long enough, and nothing is written to it."""
    while rig.pages < 200:
        rig.commit_and_tend()
    rig.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    other = Log(str(rig.path), lambda: None)  # as of a process that has just opened the file
    before = rig.file_pages
    rig.commit()
    for pages in (rig.pages, LOG_PAGES_GROWN_FROM + 1, 100):
        other.committed(pages)
        if other.is_due:
            other.tend(rig.connection)
    assert rig.file_pages == before


def test_a_log_that_should_be_checkpointed_grows_no_further(rig: Rig) -> None:
    """Where a reader holds it, commits make the file longer themselves; a checkpoint is asked for, once in a while."""
    rig.log.committed(WAL_PAGES_CHECKPOINT)
    assert rig.log.is_due
    rig.log.tend(rig.connection)
    assert rig.checkpoints_asked_for == 1
    rig.log.committed(WAL_PAGES_CHECKPOINT + 1)
    assert not rig.log.is_due
    rig.log.committed(WAL_PAGES_CHECKPOINT * 3 // 2)
    rig.log.tend(rig.connection)
    assert rig.checkpoints_asked_for == 2


def test_each_time_that_the_log_starts_over_counts_anew(rig: Rig) -> None:
    """The next checkpoint is due at the same length as the first, not later and later (G13)."""
    for cycle in range(1, 4):
        rig.log.committed(WAL_PAGES_CHECKPOINT)
        rig.log.tend(rig.connection)
        assert rig.checkpoints_asked_for == cycle
        rig.log.finish_checkpoint = True
        rig.log.committed(10)
        assert not rig.log.finish_checkpoint


def test_zeros_at_the_end_are_no_commits(rig: Rig, path: Path) -> None:
    """After a crash at any moment all that was committed is there, and the file is sound (G1)."""
    for _ in range(30):
        rig.commit_and_tend()
    assert rig.file_pages > rig.pages
    crashed = path.with_name("crashed.db")
    shutil.copy(path, crashed)
    shutil.copy(f"{path}-wal", f"{crashed}-wal")
    found = apsw.Connection(str(crashed))
    assert value_of(found, "SELECT count(*) FROM filler") == 30
    assert value_of(found, "PRAGMA integrity_check") == "ok"
    found.execute("INSERT INTO filler VALUES (x'00')")
    assert value_of(found, "SELECT count(*) FROM filler") == 31
    found.close()


def test_another_process_that_writes_is_left_alone(rig: Rig, path: Path) -> None:
    """While somebody else has the write lock the file isn't touched; it is tried again later."""
    rig.commit(LOG_PAGES_GROWN_FROM + 1)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    rig.log.tend(rig.connection)
    assert rig.file_pages == rig.pages
    assert not rig.log.is_due
    other.execute("ROLLBACK")
    other.close()
    rig.commit(LOG_PAGES_AHEAD)
    rig.log.tend(rig.connection)
    assert rig.file_pages > rig.pages


def test_a_full_disk_stops_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no longer file can be had, commits go on without, and no transaction stays open."""

    def no_space(*_: object) -> None:
        raise apsw.FullError("no space left")

    rig.commit(LOG_PAGES_GROWN_FROM + 1)
    with monkeypatch.context() as patch:
        patch.setattr(apsw, "VFSFile", no_space)
        rig.log.tend(rig.connection)
    assert not rig.connection.in_transaction
    rig.log.committed(WAL_PAGES_CHECKPOINT - 1)
    assert not rig.log.is_due
    assert rig.log._pages_there == sys.maxsize
    rig.commit()
