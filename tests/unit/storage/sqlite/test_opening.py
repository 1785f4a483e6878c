"""Opening and closing a file: what is refused, what is left behind, what a fork may do."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
)
from bamboo_sessions.domain.message import Message
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions import connection, place
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from bamboo_sessions.storage.sqlite.transactions.migrations import STEPS
from bamboo_sessions.storage.sqlite.transactions.turns import SUFFIX
from tests.unit.storage.sqlite.commits import appending, key_of

pytestmark = pytest.mark.anyio


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _refusal(path: Path) -> StorageError | InputError:
    storage = SqliteStorage(path)
    with pytest.raises((StorageError, InputError)) as refused:
        await storage.open()
    assert str(path.parent) in str(refused.value)
    assert isinstance(refused.value, StorageError | InputError)
    return refused.value


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    """Opening a text file says that it isn't a database, and doesn't touch it."""
    text = "Dear diary. " * 1_000
    path.write_text(text)
    assert isinstance(await _refusal(path), StorageCorruptError)
    assert path.read_text() == text


async def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    """Opening a database with tables that aren't ours says so, and adds none."""
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE theirs (a)")
    refusal = await _refusal(path)
    assert isinstance(refusal, InputError)
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    assert value_of(other, "PRAGMA journal_mode") == "delete"
    other.close()


async def test_L96_a_newer_schema_is_refused(storage: SqliteStorage, path: Path) -> None:
    """A file of a newer release isn't read: the error names both versions."""
    other = apsw.Connection(str(path))
    other.execute("PRAGMA user_version = 99")
    refusal = await _refusal(path)
    assert isinstance(refusal, SchemaVersionError)
    assert (refusal.found, refusal.supported) == (99, len(STEPS))
    other.close()


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    """The path of a folder gives an error that says so."""
    assert "folder" in str(await _refusal(tmp_path))


async def test_a_missing_folder_is_made_only_on_request(tmp_path: Path) -> None:
    """Without `create_parents` a missing folder is an error with a hint, with it the folder is made."""
    path = tmp_path / "a" / "b" / "sessions.db"
    assert (await _refusal(path)).hint
    storage = SqliteStorage(path, create_parents=True)
    await storage.open()
    await storage.aclose()
    assert path.is_file()


async def _open_and_close(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    await storage.aclose()


def _mount(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = folder / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/export {folder} {kind} rw 0 0\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "smb3", "ceph", "fuse.sshfs", "fuse.glusterfs"])
async def test_a_file_system_that_machines_share_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A file on a network is refused before anything is made there."""
    _mount(kind, tmp_path, monkeypatch)
    assert kind.removeprefix("fuse.") in str(await _refusal(path))
    assert not path.exists()


@pytest.mark.parametrize(
    "kind", ["9p", "virtiofs", "fakeowner", "vboxsf", "drvfs", "fuse.grpcfuse", "fuse.vmhgfs-fuse"]
)
async def test_a_folder_of_a_virtual_machines_host_is_used_with_a_warning(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Containers whose root is such a folder can keep a store; the log says what has to be minded."""
    _mount(kind, tmp_path, monkeypatch)
    await _open_and_close(path)
    assert "both sides" in caplog.text


@pytest.mark.parametrize("kind", ["ext4", "overlay", "fuseblk", "tmpfs"])
async def test_a_local_file_system_is_used_without_a_word(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Nothing is logged where nothing has to be minded."""
    _mount(kind, tmp_path, monkeypatch)
    await _open_and_close(path)
    assert not caplog.records


async def test_the_file_system_is_that_of_the_file_and_not_of_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link on a local disk to a file on NFS is refused; one on NFS to a local file isn't."""
    far, near, mounts = tmp_path / "far", tmp_path / "near", tmp_path / "mounts"
    far.mkdir()
    near.mkdir()
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/export {far} nfs rw 0 0\n")
    monkeypatch.setattr(place, "_MOUNTS", mounts)
    (near / "link.db").symlink_to(far / "sessions.db")
    (far / "link.db").symlink_to(near / "sessions.db")
    with pytest.raises(StorageError, match="nfs"):
        await SqliteStorage(near / "link.db").open()
    await _open_and_close(far / "link.db")


async def test_a_file_without_permissions_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that this user can't write gives an error that says what to change."""
    monkeypatch.setattr(os, "access", lambda place, _mode: place != path)
    path.touch()
    assert "permissions" in str((await _refusal(path)).hint)


async def test_L45_a_writer_waits_for_another_transaction_to_end(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that finds the file locked isn't refused at once; it goes on when the lock is gone."""
    asked = threading.Event()
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: asked.set()))
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    commit = asyncio.ensure_future(storage.commit(appending("s", Message.user("x"))))
    assert await asyncio.to_thread(asked.wait, 10)
    assert not commit.done()
    other.execute("COMMIT")
    assert (await commit).revision == 1
    other.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("relaxed", 1)])
async def test_durability_sets_how_the_log_is_synchronised(path: Path, durability: str, synchronous: int) -> None:
    """Full: each commit is on the disk when it returns (G1); relaxed: with the next checkpoint."""
    storage = SqliteStorage(path, durability=durability)  # type: ignore[arg-type]
    await storage.open()
    assert await storage._engine.write(lambda c: value_of(c, "PRAGMA synchronous")) == synchronous
    assert await storage._engine.write(lambda c: value_of(c, "PRAGMA journal_mode")) == "wal"
    await storage.aclose()


async def test_closing_leaves_no_thread_no_descriptor_and_no_log(path: Path) -> None:
    """After `aclose` there are as many threads and open files as before, and one file in the folder."""
    threads, descriptors = threading.active_count(), _descriptors()
    storage = SqliteStorage(path)
    for _ in range(2):
        await storage.open()
        await storage.commit(appending("s", *(Message.user("x" * 500) for _ in range(200))))
        await storage.read(key_of("s"))
        assert storage.still_newest(key_of("s"), 0, None) is None
        await storage.aclose()
        await storage.aclose()
        assert threading.active_count() == threads
        assert _descriptors() == descriptors
        assert {entry.name for entry in path.parent.iterdir()} <= {path.name, f"{path.name}{SUFFIX}"}


async def test_closing_first_does_what_is_queued(path: Path) -> None:
    """Commits that were asked for before `aclose` are made and answered."""
    storage = SqliteStorage(path)
    await storage.open()
    commits = [asyncio.ensure_future(storage.commit(appending("s", Message.user("x")))) for _ in range(20)]
    await asyncio.sleep(0)  # noqa: TID251 - lets the tasks begin
    await storage.aclose()
    assert {(await commit).revision for commit in commits} == set(range(1, 21))


async def test_a_closed_storage_says_so(path: Path) -> None:
    """Before `open` and after `aclose` each call is an error with a hint."""
    storage = SqliteStorage(path)
    for _ in range(2):
        with pytest.raises(StorageError, match="isn't open"):
            await storage.read(key_of("s"))
        assert storage.still_newest(key_of("s"), 1, None) is None
        await storage.open()
        await storage.aclose()


async def test_opening_at_the_same_time_opens_once(path: Path) -> None:
    """Several calls of `open` share one set of threads."""
    before = threading.active_count()
    storage = SqliteStorage(path)
    await asyncio.gather(*(storage.open() for _ in range(5)))
    assert threading.active_count() == before + 3
    await storage.aclose()


async def test_a_forgotten_storage_warns_and_ends_its_threads(path: Path) -> None:
    """Dropping an open storage is a ResourceWarning, and its threads end."""
    storage = SqliteStorage(path)
    await storage.open()
    engine = storage._engine
    threads = [worker._thread for worker in (engine._writing, engine._reading, engine._upkeep)]
    del engine
    with pytest.warns(ResourceWarning, match="never closed"):
        del storage
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer interpreters warn of a fork among threads
async def test_a_forked_child_cannot_use_the_connections_of_its_parent(storage: SqliteStorage) -> None:
    """After a fork each call in the child raises, and the parent goes on."""
    await storage.commit(appending("s", Message.user("x")))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            storage._read_on_loop(lambda _: None)
        except StorageError as exc:
            code = 0 if exc.hint and "fork" in exc.hint else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (await storage.commit(appending("s", Message.user("y")))).revision == 2


async def test_a_link_to_a_file_is_that_file(path: Path, tmp_path: Path) -> None:
    """Whichever name a process uses, the files beside the database are the same, and stand beside the file itself."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.db"
    path.touch()
    link.symlink_to(path)
    storage = SqliteStorage(link)
    await storage.open()
    await storage.commit(appending("s", Message.user("x")))
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]
    assert path.with_name(f"{path.name}-turn").exists()
    await storage.aclose()
