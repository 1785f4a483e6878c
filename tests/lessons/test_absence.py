"""Lessons L26 and L27: errors that are read as absence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bamboo_sessions import (
    Message,
    Session,
    SessionNotFoundError,
    SessionRepository,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from tests.lessons.watched import WatchedStorage, raw, rows, texts

pytestmark = pytest.mark.anyio

CREATING: dict[str, Callable[[SessionRepository], Awaitable[object]]] = {
    "load": lambda repository: repository.load("chat"),
    "get": lambda repository: repository.get("chat"),
    "load_or_create": lambda repository: repository.load_or_create("chat"),
    "load_merged": lambda repository: repository.load_merged("chat"),
    "create": lambda repository: repository.create(Session("chat")),
    "save": lambda repository: repository.save(Session("chat")),
}


@pytest.mark.parametrize("call", CREATING)
async def test_L26_a_read_error_is_raised_and_creates_nothing(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage, call: str
) -> None:
    """While storage can't be read, no call finds "no session", and none puts an empty one in its place."""
    await others.append("chat", Message.user("theirs"))
    storage.fail_reads()
    with pytest.raises(StorageUnavailableError):
        await CREATING[call](sessions)
    storage.heal()
    assert texts(await sessions.get("chat")) == ["hello", "theirs"]


@pytest.mark.parametrize("broken", ["UPDATE commits SET body = x'7b'", "UPDATE heads SET document = x'7b'"])
async def test_L26_a_row_that_cannot_be_parsed_is_raised_and_not_overwritten(
    sessions: SessionRepository, chat: Session, path: Path, broken: str
) -> None:
    """A corrupt row is an error for whoever would create the session, and its bytes stay for a repair."""
    await sessions.aclose()
    with raw(path) as connection:
        connection.execute(broken)
    async with SessionRepository.open(path) as reopened:
        for call in ("load", "get", "load_or_create", "load_merged", "create", "save"):
            with pytest.raises(StorageCorruptError):
                await CREATING[call](reopened)
        assert await reopened.load_best_effort("chat") is None  # for display only, and it says so in its name
        assert not (await reopened.check()).ok
    assert rows(path, "SELECT count(*) FROM commits") == [(1,)]
    assert (b"{",) in rows(path, "SELECT body FROM commits UNION SELECT document FROM heads")


async def test_L26_a_file_that_is_no_database_is_an_error(path: Path) -> None:
    """Opening a damaged file fails clearly, and doesn't begin an empty one in its place."""
    path.write_bytes(b"This was a database once." * 100)
    with pytest.raises(StorageCorruptError):
        await SessionRepository.open(path)
    assert path.read_bytes().startswith(b"This was")


async def test_L27_not_found_and_failed_are_different_errors(
    sessions: SessionRepository, storage: WatchedStorage
) -> None:
    """Absence is `SessionNotFoundError`; a failing storage is a `StorageError`, never a lookup error."""
    with pytest.raises(SessionNotFoundError):
        await sessions.get("nobody")
    storage.fail_reads()
    with pytest.raises(StorageError) as caught:
        await sessions.get("nobody")
    assert not isinstance(caught.value, LookupError)


async def test_L27_a_listed_session_whose_head_is_gone_is_corrupt_and_not_absent(
    sessions: SessionRepository, chat: Session, path: Path
) -> None:
    """A row without its body is reported as corrupt to readers and by `check`."""
    await sessions.aclose()
    with raw(path) as connection:
        connection.execute("DELETE FROM heads")
    async with SessionRepository.open(path) as reopened:
        with pytest.raises(StorageCorruptError):
            await reopened.load("chat")
        with pytest.raises(StorageCorruptError):
            await reopened.list_sessions()
        report = await reopened.check()
        assert ("head_missing", "chat") in [(problem.kind, problem.session_id) for problem in report.problems]
