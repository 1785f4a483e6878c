"""Files that are open: forked children refuse them, and nothing is acknowledged once a path names another file (G1)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from bamboo_sessions import Message, SessionRepository, StorageCorruptError, StorageError
from bamboo_sessions.storage.sqlite.search.file import index_path
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.open_file import OpenFile

pytestmark = [
    pytest.mark.multiprocess,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # newer interpreters warn of a fork among threads
]

_APPEND = """
import asyncio, sys
from bamboo_sessions import Message, SessionRepository
async def main():
    async with SessionRepository.open(f"sqlite:///{sys.argv[1]}") as sessions:
        await sessions.append("s", Message.user(sys.argv[2]), create=True)
asyncio.run(main())
"""


def _append_elsewhere(path: Path, text: str) -> None:
    """Append in a process of its own, which closes the store when it ends."""
    subprocess.run([sys.executable, "-c", _APPEND, str(path), text], check=True, timeout=60)


def _texts(path: Path) -> list[str]:
    async def read() -> list[str]:
        async with SessionRepository.open(f"sqlite:///{path}") as sessions:
            session = await sessions.load("s")
            return [] if session is None else [message.text for message in session.messages]

    return asyncio.run(read())


def _open(path: Path) -> int:
    """Open the store and append to it: 0, or 3 if that is refused as a file of the parent is, or 4."""

    async def append() -> None:
        async with SessionRepository.open(f"sqlite:///{path}") as sessions:
            await sessions.append("s", Message.user("child"), create=True)

    try:
        asyncio.run(append())
    except StorageError as exc:
        return 3 if "forked" in str(exc) and exc.hint and "before the fork" in exc.hint else 4
    return 0


def _forked(work: Callable[[], int]) -> int:
    """The exit code of a forked child that does `work`."""
    child = os.fork()
    if child == 0:
        code = 5
        try:
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[asyncio.Runner, SessionRepository]]:
    """An open store with a message; no event loop runs in between, so that children may have their own."""
    with asyncio.Runner() as runner:
        opening = SessionRepository.open(f"sqlite:///{path}")
        sessions = runner.run(opening.__aenter__())
        runner.run(sessions.append("s", Message.user("parent"), create=True))
        try:
            yield runner, sessions
        finally:
            runner.run(sessions.aclose())


# --- forks

_FORK_AND_END = """
import asyncio, os, selectors, sys
from bamboo_sessions import Message, SessionRepository
loop = asyncio.SelectorEventLoop(selectors.SelectSelector())  # shares nothing with a child, as epoll does
sessions = loop.run_until_complete(SessionRepository.open(f"sqlite:///{sys.argv[1]}").__aenter__())
loop.run_until_complete(sessions.append("s", Message.user("before"), create=True))
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
    loop.run_until_complete(sessions.append("s", Message.user("after")))
    os._exit(0)  # killed, as it were: the log stays
"""


def test_L112_a_child_that_ends_with_an_inherited_store_takes_nothing_away(path: Path) -> None:
    """Its interpreter ends as usual, with the store still open; the parent's commits, before and after, are there."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", _FORK_AND_END, str(path)], check=True, timeout=60)
    assert _texts(path) == ["before", "after"]


def test_L112_a_forked_child_cannot_open_its_parents_file_anew(path: Path, tmp_path: Path) -> None:
    """By whatever name; nor may a grandchild. The parent goes on, and other files can be opened."""
    alias, twin = tmp_path / "alias.db", tmp_path / "twin.db"
    with _opened(path) as (runner, sessions):
        alias.symlink_to(path)
        os.link(path, twin)
        for name in (path, alias, twin):
            assert _forked(lambda name=name: _open(name)) == 3  # type: ignore[misc] # a lambda's default has no type
        assert _forked(lambda: _forked(lambda: _open(path))) == 3
        assert _forked(lambda: _open(tmp_path / "other.db")) == 0
        runner.run(sessions.append("s", Message.user("more")))
    assert _texts(path) == ["parent", "more"]


def test_L112_multiprocessing_by_fork_is_refused_and_spawn_works(path: Path) -> None:
    """A child that `multiprocessing` forks is refused; one that is spawned appends."""
    codes = []
    with _opened(path):
        for context in (multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")):
            child = context.Process(target=_exit_with, args=(path,))
            child.start()
            child.join(60)
            codes.append(child.exitcode)
    assert codes == [3, 0]
    assert _texts(path) == ["parent", "child"]


def _exit_with(path: Path) -> None:
    os._exit(_open(path))


def test_L112_a_store_that_was_closed_before_the_fork_can_be_opened_in_the_child(path: Path) -> None:
    """What counts is what is open at the fork."""
    with _opened(path):
        pass
    assert _forked(lambda: _open(path)) == 0
    assert _texts(path) == ["parent", "child"]


def test_L112_a_parents_search_index_is_no_childs(path: Path) -> None:
    """A child on another database beside the parent's index leaves that alone, and searches by one of its own."""

    async def find() -> int:
        async with SessionRepository.open(f"sqlite:///{path}") as sessions:
            await sessions.append("s", Message.user("a needle"), create=True)
            return 0 if [hit async for hit in _hits(sessions, "needle")] else 6

    with _opened(path) as (runner, sessions):
        runner.run(_collect(sessions, "parent"))
        path.rename(path.with_name("moved.db"))
        index = index_path(str(path))
        assert index.exists()
        assert _forked(lambda: asyncio.run(find())) == 0


async def _collect(sessions: SessionRepository, text: str) -> list[object]:
    return [hit async for hit in _hits(sessions, text)]


async def _hits(sessions: SessionRepository, text: str):  # type: ignore[no-untyped-def]
    page = await sessions.search(text)
    for hit in page.hits:
        yield hit


# --- files that are replaced


def _delete(path: Path) -> None:
    path.unlink()


def _delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def _replace(path: Path) -> None:
    backup = path.with_name("backup.db")
    _append_elsewhere(backup, "backup")
    for name in ("sessions.db-wal", "sessions.db-shm"):
        path.with_name(name).unlink()
    backup.replace(path)


def _delete_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


@pytest.mark.parametrize("harm", [_delete, _delete_folder, _move, _replace, _delete_log])
def test_L113_nothing_is_acknowledged_once_the_file_is_another(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """The first commit after it is refused, its outcome unknown, and so is each later call, until it is opened anew."""
    path = tmp_path / "folder" / "sessions.db"
    path.parent.mkdir()
    with _opened(path) as (runner, sessions):
        harm(path)
        with pytest.raises(StorageError, match="was replaced under this process") as refused:
            runner.run(sessions.append("s", Message.user("lost")))
        assert refused.value.hint
        assert not isinstance(refused.value, StorageCorruptError)
        with pytest.raises(StorageError, match="was replaced"):
            runner.run(sessions.append("s", Message.user("lost")))
        with pytest.raises(StorageError, match="was replaced"):
            runner.run(sessions.load("s", fresh=True))
    path.parent.mkdir(exist_ok=True)
    _append_elsewhere(path, "new")
    assert _texts(path)[-1] == "new"
    assert "lost" not in _texts(path)


def test_L113_reads_notice_it_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that only reads doesn't serve the old file for ever: it looks now and then."""
    monkeypatch.setattr(tuning, "FILE_CHECK_SECONDS", 0.0)
    monkeypatch.setattr("bamboo_sessions.storage.sqlite.transactions.open_file.FILE_CHECK_SECONDS", 0.0)
    with _opened(path) as (runner, sessions):
        assert runner.run(sessions.load("s")) is not None
        _replace(path)
        with pytest.raises(StorageError, match="was replaced"):
            runner.run(sessions.load("s"))
    assert _texts(path) == ["backup"]


def test_L113_closing_leaves_the_new_files_alone(path: Path) -> None:
    """Closing a store whose file was replaced copies no log into the new file, and deletes none."""
    with _opened(path):
        _replace(path)
        other = apsw.Connection(str(path))
        other.execute("UPDATE sessions SET revision = revision")  # its log has something now
        log = path.with_name(f"{path.name}-wal")
        before = log.stat()
    assert (log.stat().st_ino, log.stat().st_size) == (before.st_ino, before.st_size)
    other.close()
    assert _texts(path) == ["backup"]


def test_L114_reading_the_files_in_the_process_costs_no_acknowledged_commit(path: Path, tmp_path: Path) -> None:
    """Plain reading drops the locks, so that the next process deletes the log: then nothing more is acknowledged."""
    acknowledged = ["parent"]
    with _opened(path) as (runner, sessions):
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, tmp_path / f"copy-of-{file.name}")
        _append_elsewhere(path, "elsewhere")
        acknowledged.append("elsewhere")
        for number in range(3):
            try:
                runner.run(sessions.append("s", Message.user(str(number))))
            except StorageError as exc:
                assert "was replaced" in str(exc)  # noqa: PT017 - the first of them may still be acknowledged
            else:
                acknowledged.append(str(number))
    assert "2" not in acknowledged
    assert _texts(path) == acknowledged
    with _opened(path):
        pass
    assert asyncio.run(_is_sound(path))


async def _is_sound(path: Path) -> bool:
    async with SessionRepository.open(f"sqlite:///{path}") as sessions:
        return (await sessions.check()).ok


def test_L114_the_file_cannot_be_opened_again_beside_a_store_that_has_lost_it(path: Path) -> None:
    """A second store of the process would share the first one's deleted log, so it is refused."""
    with _opened(path):
        _delete_log(path)
        with pytest.raises(StorageError, match="was replaced") as refused:
            _texts(path)
        assert "Close" in str(refused.value.hint)
    _append_elsewhere(path, "new")
    assert _texts(path) == ["new"]  # what was in the log only went with it


# --- permissions


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
def test_files_are_for_their_owner_only(path: Path) -> None:
    """Whatever the process's umask says, all files of a store are made with mode 0600."""
    before = os.umask(0)
    try:
        with _opened(path) as (runner, sessions):
            runner.run(_collect(sessions, "parent"))
            files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob(f"{path.name}*")}
    finally:
        os.umask(before)
    assert len(files) >= 7
    assert set(files.values()) == {0o600}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_store(path: Path) -> None:
    """Root that searches somebody's store leaves an index that its owner can use; likewise the other files."""
    with _opened(path):
        pass
    os.chown(path, 12345, 12345)
    with _opened(path) as (runner, sessions):
        runner.run(_collect(sessions, "parent"))
        owners = {file.stat().st_uid for file in path.parent.glob(f"{path.name}-*") if not file.name.endswith("-turn")}
    assert owners == {12345}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_an_index_that_cannot_be_opened_keeps_nobody_from_searching(caplog: pytest.LogCaptureFixture) -> None:
    """An index of another user's is left alone: each process searches by one of its own, and the log says why."""
    path = Path(tempfile.mkdtemp()) / "sessions.db"  # pytest's folders are for this user only
    with _opened(path):
        pass
    os.chown(path, 12345, 12345)
    os.chown(path.parent, 12345, 12345)
    path.with_name(f"{path.name}-turn").unlink()
    index = index_path(str(path))
    index.touch(mode=0o600)

    def search_as_owner() -> int:
        os.setuid(12345)
        with _opened(path) as (runner, sessions):
            found = len(runner.run(_collect(sessions, "parent")))
        return 0 if found == 2 and "can't be opened" in caplog.text else 7

    try:
        assert _forked(search_as_owner) == 0
        assert index.stat().st_size == 0
    finally:
        shutil.rmtree(path.parent)


def test_a_log_that_goes_before_it_is_ours_is_nobodys_loss(tmp_path: Path) -> None:
    """Another process that closes the file while this one opens it deletes the log rightly; later nobody may."""
    path, log = tmp_path / "agents.db", tmp_path / "agents.db-wal"
    log.touch()
    file = OpenFile(str(path))
    file.open()
    try:
        log.unlink()
        assert file.is_in_place()
        log.touch()
        file.note_log()
        assert file.is_in_place()
        log.rename(tmp_path / "gone")
        assert not file.is_in_place()
    finally:
        file.close()
