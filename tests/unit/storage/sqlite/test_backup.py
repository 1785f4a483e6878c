"""A backup is a store of one moment, complete or not there."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import (
    InputError,
    MemoryStorage,
    Message,
    SessionRepository,
    StorageError,
    StoreAdmin,
    session_to_json,
)
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.testing.disk import SimulatedDisk

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sessions(path: Path) -> AsyncIterator[SessionRepository]:
    """A store with two tenants, of which this is one's handle."""
    async with SessionRepository.open(path, durability="relaxed") as sessions:
        await sessions.append("a", *(Message.user("x" * 1_000, id=f"m{n}") for n in range(200)), create=True)
        await sessions.rename("a", "First")
        await sessions.in_namespace("other").append("b", Message.user("Hello"), create=True)
        yield sessions


@pytest.fixture
def store(sessions: SessionRepository) -> StoreAdmin:
    """The owner's handle of the same store."""
    return StoreAdmin(sessions.storage)


async def _contents(path: Path) -> list[bytes]:
    async with StoreAdmin.open(path) as store, SessionRepository.open(path) as sessions:
        names = [name async for name in store.namespaces()]
        heads = [(name, head.id) for name in names async for head in sessions.in_namespace(name).iter_sessions()]
        return [session_to_json(await sessions.in_namespace(name).get(id_)) for name, id_ in heads]


async def test_a_backup_has_all_namespaces(sessions: SessionRepository, store: StoreAdmin, tmp_path: Path) -> None:
    """All sessions with all they have, whosever they are; and nothing else lies beside it."""
    target = tmp_path / "kept" / "copy.db"
    target.parent.mkdir()
    report = await store.backup(target)
    assert (report.ok, report.sessions, report.messages, report.backup) == (True, 2, 201, str(target))
    assert [file.name for file in target.parent.iterdir()] == ["copy.db"]
    assert await _contents(target) == [
        session_to_json(await sessions.get("a")),
        session_to_json(await sessions.in_namespace("other").get("b")),
    ]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


async def test_a_backup_is_of_one_moment(sessions: SessionRepository, store: StoreAdmin, tmp_path: Path) -> None:
    """While others go on writing, the copy has each of their commits as a whole, in order, up to some moment."""
    done = asyncio.Event()

    async def write() -> None:
        number = 0
        while not done.is_set():
            for id_ in ("first", "second"):
                await sessions.append(id_, Message.user("x", id=f"{id_}-{number}"), create=True)
            number += 1

    writing = asyncio.create_task(write())
    while await sessions.load("second") is None:
        await checkpoint()
    report = await store.backup(tmp_path / "copy.db")
    done.set()
    await writing
    assert report.ok
    async with SessionRepository.open(tmp_path / "copy.db") as copied:
        first, second = await copied.get("first"), await copied.get("second")
        assert 0 <= first.message_count - second.message_count <= 1
        assert [message.id for message in first.messages] == [f"first-{n}" for n in range(first.message_count)]
        assert first.message_count < (await sessions.get("first")).message_count


@pytest.mark.parametrize("name", ["copy.db", "sessions.db"])
async def test_nothing_is_overwritten(store: StoreAdmin, tmp_path: Path, name: str) -> None:
    """A name that is taken is refused, the store's own included, and what is there stays as it is."""
    (tmp_path / "copy.db").write_bytes(b"mine")
    before = (tmp_path / name).stat().st_ino
    with pytest.raises(InputError, match="exists already"):
        await store.backup(tmp_path / name)
    assert (tmp_path / name).stat().st_ino == before
    assert (tmp_path / "copy.db").read_bytes() == b"mine"


async def test_a_folder_that_is_not_there(store: StoreAdmin, tmp_path: Path) -> None:
    """Nothing is made outside a folder that is there."""
    with pytest.raises(InputError, match="isn't there"):
        await store.backup(tmp_path / "none" / "copy.db")
    assert not (tmp_path / "none").exists()


async def test_a_leftover_of_a_killed_backup_is_replaced(store: StoreAdmin, tmp_path: Path) -> None:
    """A half copy that a crash has left is no hindrance."""
    (tmp_path / "copy.db.partial").write_bytes(b"half")
    assert (await store.backup(tmp_path / "copy.db")).ok
    assert not (tmp_path / "copy.db.partial").exists()


async def test_progress_is_reported(store: StoreAdmin, tmp_path: Path) -> None:
    """The last report says that all of it is done."""
    reports: list[tuple[int, int]] = []
    await store.backup(tmp_path / "copy.db", on_progress=lambda done, total: reports.append((done, total)))
    assert reports
    assert reports[-1][0] == reports[-1][1] > 200_000


async def test_a_cancelled_backup_leaves_nothing(sessions: SessionRepository, tmp_path: Path) -> None:
    """Whoever stops waiting finds no file, and the store goes on."""
    backing_up = asyncio.create_task(StoreAdmin(sessions.storage).backup(tmp_path / "copy.db"))
    await checkpoint()
    backing_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await backing_up
    await sessions.check()  # on the same thread: the copy is given up by then
    assert not list(tmp_path.glob("copy*"))
    await sessions.append("a", Message.user("still here"))


async def test_a_full_disk_leaves_nothing(path: Path, tmp_path: Path) -> None:
    """What can't be written is an error, and no file remains that could be taken for a backup."""
    with SimulatedDisk(tmp_path) as disk:
        storage = SqliteStorage(path)
        await storage.open()
        async with SessionRepository.open(storage) as sessions:
            await sessions.append("a", Message.user("x" * 100_000), create=True)
            disk.fail("full", "write", file=".partial")
            with pytest.raises(StorageError):
                await StoreAdmin(storage).backup(tmp_path / "copy.db")
            assert not list(tmp_path.glob("copy*"))


async def test_a_store_in_memory_has_no_backup(tmp_path: Path) -> None:
    """An engine without files says so, and what to do instead."""
    async with SessionRepository.open(MemoryStorage()) as sessions:
        with pytest.raises(InputError, match="makes no backups") as caught:
            await StoreAdmin(sessions.storage).backup(tmp_path / "copy.db")
        assert "Export" in str(caught.value.hint)


async def test_a_tenant_backs_up_nobody_else(sessions: SessionRepository, tmp_path: Path) -> None:
    """The handle of a namespace copies a store of its own only: others' sessions aren't for it to copy (L130)."""
    with pytest.raises(InputError, match="StoreAdmin"):
        await sessions.backup(tmp_path / "copy.db")
    async with SessionRepository.open(tmp_path / "mine.db") as mine:
        await mine.append("a", Message.user("x"), create=True)
        assert (await mine.backup(tmp_path / "copy.db")).ok
