"""The search index: derived data beside the file, which may vanish, break, or lag behind at any time."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bamboo_sessions import InputError, MemoryStorage, Message, Session, SessionRepository, SqliteStorage, StorageError
from bamboo_sessions.storage.sqlite.search import indexing
from bamboo_sessions.storage.sqlite.search.file import Main, index_path, open_index
from bamboo_sessions.storage.sqlite.search.indexing import Progress
from bamboo_sessions.storage.sqlite.transactions import tuning
from bamboo_sessions.storage.sqlite.transactions.turns import SUFFIX

pytestmark = pytest.mark.anyio


async def _found(sessions: SessionRepository, text: str) -> set[str | None]:
    return {hit.message_id for hit in (await sessions.search(text, limit=500)).hits}


async def _filled(path: Path) -> None:
    async with SessionRepository.open(path) as sessions:
        said = [Message.user(f"word number{number}", id=str(number)) for number in range(700)]
        for start in range(0, 700, 100):
            await sessions.append("chat", *said[start : start + 100], create=True)
        await sessions.rename("chat", "A title")
        assert await _found(sessions, "number5") >= {"5"}


def _nothing(_: Path) -> None:
    return


def _truncate(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


def _scribble(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    index.write_bytes(data)


def _no_database(index: Path) -> None:
    index.write_text("not a database at all, but long enough to be read as one" * 100)


def _of_another(index: Path) -> None:
    index.unlink()
    connection = apsw.Connection(str(index))
    connection.execute("CREATE TABLE words (x)")
    connection.close()


def _old_format(index: Path) -> None:
    connection = apsw.Connection(str(index))
    connection.execute("PRAGMA user_version = 77")
    connection.close()


def _no_tables(index: Path) -> None:
    connection = open_index(str(index), busy_timeout_ms=1_000)
    connection.execute("DROP TABLE words")
    connection.close()


def _empty(index: Path) -> None:
    index.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [_nothing, Path.unlink, _truncate, _scribble, _no_database, _of_another, _old_format, _no_tables, _empty],
)
async def test_L29_a_broken_index_is_made_anew(path: Path, damage: Callable[[Path], None]) -> None:
    """An index that was deleted, cut, overwritten, or is somebody else's: the next search finds everything."""
    await _filled(path)
    damage(index_path(str(path)))
    async with SessionRepository.open(path) as sessions:
        assert await _found(sessions, "number699") == {"699"}
        assert await _found(sessions, "umber1") == {str(n) for n in range(700) if str(n).startswith("1")}
        assert await _found(sessions, "title") == {None}
        assert (await sessions.storage.check()).ok


async def test_an_index_that_vanishes_while_it_is_open(path: Path) -> None:
    """Deleting the index under an open store loses nothing, then and later."""
    await _filled(path)
    async with SessionRepository.open(path) as sessions:
        assert await _found(sessions, "number3") >= {"3"}
        for file in path.parent.glob("*-search*"):
            file.unlink()
        await sessions.append("chat", Message.user("later", id="later"))
        assert await _found(sessions, "later") == {"later"}
    async with SessionRepository.open(path) as sessions:
        assert await _found(sessions, "later") == {"later"}


async def test_an_index_ahead_of_a_restored_store(path: Path) -> None:
    """A store put back from a backup doesn't show, nor miss, anything because of an index that was made after it."""
    await _filled(path)
    backup = path.with_name("backup.db")
    shutil.copy(path, backup)
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", Message.user("lost in the restore", id="lost"))
        assert await _found(sessions, "lost") == {"lost"}
    shutil.copy(backup, path)
    async with SessionRepository.open(path) as sessions:
        assert await _found(sessions, "lost") == set()
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", Message.user("first branch", id="one"))
        assert await _found(sessions, "branch") == {"one"}
    shutil.copy(backup, path)
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", Message.user("second branch", id="two"))
        assert await _found(sessions, "branch") == {"two"}
        assert await _found(sessions, "second") == {"two"}


async def test_check_finds_and_repairs(path: Path) -> None:
    """`check` compares the index with the texts there are, and `repair` makes it anew."""
    await _filled(path)
    connection = open_index(str(index_path(str(path))), busy_timeout_ms=1_000)
    connection.execute("DELETE FROM parts WHERE rowid > 100")
    connection.execute("INSERT INTO head_words (rowid, text) VALUES (77, 'x')")
    connection.close()
    async with SessionRepository.open(path) as sessions:
        report = await sessions.storage.check()
        assert {problem.kind for problem in report.problems} == {"search_index"}
        assert not report.ok
        assert (await sessions.storage.check(repair=True)).ok
        assert (await sessions.storage.check()).problems == ()
        assert await _found(sessions, "umber699") == {"699"}


async def test_who_never_searches_pays_nothing(path: Path) -> None:
    """Without a search there is no file and no thread; afterwards there is one of each, until the store is closed."""
    before = set(threading.enumerate())
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", Message.user("word"), create=True)
        assert (await sessions.storage.stats())["search_bytes"] == 0
        names = {thread.name for thread in set(threading.enumerate()) - before}
        assert not any("search" in name for name in names)
        await sessions.search("word")
        assert any("search" in thread.name for thread in set(threading.enumerate()) - before)
        assert (await sessions.storage.stats())["search_bytes"] > 0
    assert set(threading.enumerate()) == before


async def test_opening_and_closing_leaves_nothing(path: Path) -> None:
    """Searching again and again in stores that are opened and closed leaves no file descriptor and no log behind."""
    await _filled(path)
    counts = []
    for _ in range(5):
        async with SessionRepository.open(path) as sessions:
            await sessions.search("word")
        counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - the descriptors themselves
    assert counts[0] == counts[-1]
    assert {file.name for file in path.parent.iterdir()} == {path.name, path.name + "-search", path.name + SUFFIX}


async def test_indexing_behind_the_writers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is an index, commits are indexed by themselves, a chunk at a time, until nothing is left."""
    await _filled(path)
    monkeypatch.setattr(tuning, "SEARCH_DELAY_SECONDS", 0)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    advance = indexing.advance

    def watched(index: apsw.Connection, main: Main) -> Progress:
        progress = advance(index, main)
        if progress.is_done:
            loop.call_soon_threadsafe(done.set)
        return progress

    monkeypatch.setattr(indexing, "advance", watched)
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", *(Message.user("more") for _ in range(1_000)))
        await asyncio.wait_for(done.wait(), 60)
        connection = apsw.Connection(str(index_path(str(path))))
        assert connection.execute("SELECT count(*) FROM words WHERE words MATCH 'more'").get == 1_000
        connection.close()


async def test_progress_is_told(path: Path) -> None:
    """Whoever waits for an index that has to be built is told how far it is."""
    await _filled(path)
    index_path(str(path)).unlink()
    told: list[tuple[int, int]] = []
    async with SessionRepository.open(path) as sessions:
        await sessions.search("word", on_progress=lambda done, total: told.append((done, total)))
        await asyncio.wait_for(sessions.search("word"), 60)
    assert told
    assert told == sorted(told)
    assert {total for _, total in told} == {8}


async def test_a_cancelled_search_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling stops the work at the next chunk; what was indexed stays, and the next search goes on from there."""
    await _filled(path)
    index_path(str(path)).unlink()
    chunks: list[int] = []
    reached, go_on = threading.Event(), threading.Event()
    advance = indexing.advance

    def slow(index: apsw.Connection, main: Main) -> Progress:
        progress = advance(index, main)
        chunks.append(progress.mark.position)
        if len(chunks) == 1:
            reached.set()
            assert go_on.wait(60)
        return progress

    monkeypatch.setattr(indexing, "advance", slow)
    async with SessionRepository.open(path) as sessions:
        search = asyncio.create_task(sessions.search("word"))
        await asyncio.get_running_loop().run_in_executor(None, reached.wait)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        go_on.set()
        assert await _found(sessions, "number699") == {"699"}
    assert chunks == sorted(set(chunks), key=chunks.index)  # no chunk was done twice
    assert chunks[0] < chunks[-1]


async def test_closing_ends_a_search(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the store doesn't wait for an index to be built: the search fails, and says why."""
    await _filled(path)
    index_path(str(path)).unlink()
    reached, go_on = threading.Event(), threading.Event()
    advance = indexing.advance

    def slow(index: apsw.Connection, main: Main) -> Progress:
        progress = advance(index, main)
        reached.set()
        assert go_on.wait(60)
        return progress

    monkeypatch.setattr(indexing, "advance", slow)
    storage = SqliteStorage(path)
    sessions = await SessionRepository.open(storage)
    search = asyncio.create_task(sessions.search("word"))
    await asyncio.get_running_loop().run_in_executor(None, reached.wait)
    closing = asyncio.create_task(sessions.aclose())
    while storage._engine.is_open:
        await checkpoint()
    go_on.set()
    await closing
    with pytest.raises(StorageError, match="closed"):
        await search


@pytest.mark.parametrize("damage", [_truncate, _scribble, _no_database, _no_tables])
async def test_a_broken_index_is_emptied_in_place(path: Path, damage: Callable[[Path], None]) -> None:
    """A damaged index stays the same file, so that processes which have it open go on with it."""
    await _filled(path)
    index = index_path(str(path))
    damage(index)
    before = index.stat().st_ino
    async with SessionRepository.open(path) as sessions:
        assert await _found(sessions, "number699") == {"699"}
    assert index.stat().st_ino == before


async def test_a_writer_that_never_pauses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody commits again whenever the index is up to date: the search still ends, and has all from before it."""
    await _filled(path)
    monkeypatch.setattr(indexing, "is_current", lambda *_: False)
    async with SessionRepository.open(path) as sessions:
        await sessions.append("chat", Message.user("newest", id="newest"))
        assert await _found(sessions, "newest") == {"newest"}


async def test_pruned_changes(path: Path) -> None:
    """An index that missed changes which are no longer in the log is made anew; one that had them all is right, too."""
    await _filled(path)
    async with SessionRepository.open(path) as sessions:
        await sessions.rename("chat", "Another")
    for _ in range(2):
        connection = apsw.Connection(str(path))
        last = connection.execute("SELECT max(position) FROM commits").get
        connection.execute("UPDATE meta SET value = ? WHERE name = 'pruned_up_to'", (last,))
        connection.execute("DELETE FROM commits WHERE lines = 0 AND position < ?", (last,))
        connection.close()
        async with SessionRepository.open(path) as sessions:
            assert await _found(sessions, "another") == {None}
            assert await _found(sessions, "title") == set()
            assert (await sessions.storage.check()).ok
            await sessions.append("chat", Message.user("one more"))
            assert await _found(sessions, "more") != set()


# --- against the matcher

_SIGNS = 'aabbcc  éßﬁ日本語가나🎉🚀ก็_-+."*3\0\ud800\u0301'
_TEXTS = st.lists(st.text(_SIGNS, min_size=1, max_size=25), min_size=1, max_size=12)
_QUERIES = st.lists(st.text(_SIGNS + '" -', min_size=1, max_size=7), min_size=1, max_size=12)


@settings(max_examples=60)
@example(texts=["ก33", "33ก"], queries=["ก3", "3ก"], changing=False)  # a character of each kind, beside a longer word
@given(texts=_TEXTS, queries=_QUERIES, changing=st.booleans())
def test_the_index_finds_what_the_matcher_finds(texts: Sequence[str], queries: Sequence[str], changing: bool) -> None:
    """On random texts in many scripts, SQLite and the reference engine find the same, with the same scores."""
    asyncio.run(_compare(texts, [*queries, *texts], changing=changing))


_folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")  # noqa: S108 - hypothesis and tmp_path don't mix


async def _compare(texts: Sequence[str], queries: Sequence[str], *, changing: bool) -> None:
    path = _folder / f"bamboo-search-{os.getpid()}.db"
    try:
        async with (
            SessionRepository.open(SqliteStorage(path, durability="relaxed")) as one,
            SessionRepository.open(MemoryStorage()) as other,
        ):
            for sessions in (one, other):
                await _fill(sessions, texts, changing=changing)
            for query in queries:
                assert await _answer(one, query) == await _answer(other, query), query
            assert not [each for each in (await one.storage.check()).problems if each.kind == "search_index"]
    finally:
        for file in _folder.glob(f"{path.name}*"):
            file.unlink()


async def _fill(sessions: SessionRepository, texts: Sequence[str], *, changing: bool) -> None:
    session = Session("s", title=texts[0])
    for number, text in enumerate(texts):
        session.add_message(Message.user(text, id=str(number)))
    await sessions.save(session)
    if changing:
        await sessions.search("anything")
        session.messages[0] = Message.user(texts[-1], id="0")
        del session.messages[1:3]
        await sessions.save(session)
        await sessions.rename("s", f"title {texts[-1]}")


async def _answer(sessions: SessionRepository, query: str) -> object:
    try:
        page = await sessions.search(query, limit=100)
    except InputError:
        return None
    return {(hit.place, hit.message_id, round(hit.score, 9)) for hit in page.hits}
