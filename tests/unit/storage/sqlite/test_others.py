"""Several processes commit for one another (G1, G4): two open stores of one process stand for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import apsw
import msgspec
import pytest

from bamboo_sessions.domain.errors import MessageIdConflictError, StorageUnavailableError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.storage.commit import Commit, Committed, RevisionConflict
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.sessions import commits
from bamboo_sessions.storage.sqlite.sessions.portable import PortableCommit, decoded, outcome_of
from bamboo_sessions.storage.sqlite.transactions.loop_writer import LoopWriter
from bamboo_sessions.storage.sqlite.transactions.others import Guests, Others
from bamboo_sessions.storage.sqlite.transactions.turns import SUFFIX
from bamboo_sessions.storage.sqlite.transactions.worker import Request
from tests.unit.storage.sqlite.commits import START, appending, insertion, key_of

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _opened(path: Path, **options: object) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(path, **{"durability": "relaxed", **options})  # type: ignore[arg-type]
    await storage.open()
    try:
        yield storage
    finally:
        await storage.aclose()


async def _waiting(storage: SqliteStorage, *commits: Commit) -> Sequence[asyncio.Task[Committed]]:
    """Commits of a store whose turn it isn't: they wait in its slot."""
    tasks = [asyncio.ensure_future(storage.commit(commit)) for commit in commits]
    slots = storage._engine._others._slots
    while not slots.is_waiting():
        assert not all(task.done() for task in tasks)
        await anyio.lowlevel.checkpoint()
    return tasks


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up waiting, however slow the machine is."""
    monkeypatch.setattr("bamboo_sessions.storage.sqlite.transactions.tuning.TURN_WAIT_SECONDS", 60.0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of commits, each time that one is applied by anybody."""
    ids: list[str] = []
    apply = commits.apply

    def applied(connection: apsw.Connection, commit: Commit, *rest: object) -> Committed:
        ids.append(commit.commit_id)
        return apply(connection, commit, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(commits, "apply", applied)
    return ids


# --- a commit as bytes


def _commit() -> Commit:
    first, second = Message.user("a"), Message.assistant("b")
    return Commit(
        key_of("s"),
        "commit",
        START,
        expected=7,
        updated_at=START + timedelta(seconds=1),
        insertions=(insertion([first, second]), insertion([Message.user("\ud800")], after="x")),
        incarnation=3,
        fence=5,
        if_last_message="x",
        call="append",
    )


def test_a_commit_comes_back_as_it_was() -> None:
    """All that a usual commit says is in its bytes; a new one of its fields is thought of, or fails here."""
    commit = _commit()
    portable = PortableCommit(commit, lambda *_: pytest.fail("applied"))
    assert decoded(portable.encode() or b"") == commit
    left_out = {"head", "head_kinds", "initial_head", "edits", "removals", "usage", "records"}
    left_out |= {"reuse_deleted", "history_from", "replace", "is_first_try"}
    fields = set(Commit.__struct_fields__)
    assert {name for name in fields if getattr(commit, name) == getattr(_empty(), name)} == left_out


def _empty() -> Commit:
    return Commit(key_of(""), "", START - timedelta(days=1))


def test_an_outcome_comes_back_as_it_was() -> None:
    """All that becomes of a usual commit is in the bytes; the messages are the caller's own objects."""
    commit = _commit()
    messages = [stored.message for stored in commit.insertions[0].messages]
    done = Committed(
        8, 3, START, 12, changed=True, placed=(Insertion((messages[0],), None),), duplicates=("d",), replayed=True
    )
    found = PortableCommit(commit, lambda *_: pytest.fail("applied")).decode(outcome_of(done))
    assert found == done
    assert found.placed[0].messages[0] is messages[0]


def test_only_usual_commits_are_portable() -> None:
    """What isn't in the bytes keeps a commit with its own process."""
    for name, value in {"removals": ("m",), "replace": True, "reuse_deleted": True}.items():
        commit = msgspec.structs.replace(_commit(), **{name: value})
        assert PortableCommit(commit, lambda *_: pytest.fail("applied")).encode() is None


# --- for one another


async def _all_done(tasks: Sequence[asyncio.Task[Committed]]) -> list[Committed | BaseException]:
    async with asyncio.timeout(30):
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.usefixtures("patient")
async def test_L45_whoever_has_the_turn_commits_for_all(path: Path, made: list[str]) -> None:
    """Commits that wait for their process's turn are made by whoever has it, each once, and their callers are told."""
    async with _opened(path) as one, _opened(path) as other:
        await one.commit(appending("s", Message.user("0")))
        assert other._engine._others.take_turn_at_once()
        message = Message.user("1")
        tasks = await _waiting(one, appending("s", message))
        made.clear()
        await other.commit(appending("t", Message.user("2")))
        [done] = await _all_done(tasks)
        assert isinstance(done, Committed)
        assert done.revision == 2
        assert done.placed == (Insertion((message,)),)
        assert len(made) == len(set(made)) == 2
        assert await one.read(key_of("s")) == await other.read(key_of("s"))


@pytest.mark.usefixtures("patient")
async def test_what_is_refused_is_left_to_its_own_process(path: Path) -> None:
    """Of commits that wait together another process makes those that it can, and leaves the rest."""
    async with _opened(path) as one, _opened(path) as other:
        await one.commit(appending("s", Message.user("0", id="m")))
        others, apply = one._engine._others, one._apply
        wishes = [
            appending("s", Message.user("1")),
            appending("s", Message.user("another content", id="m")),
            appending("s", Message.user("stale"), expected=1),
            appending("new", Message.user("x")),
            appending("s", Message.user("2")),
        ]
        requests = [Request(lambda _: None, 0, None, None, PortableCommit(wish, apply)) for wish in wishes]
        assert other._engine._others.take_turn_at_once()
        waiting = asyncio.ensure_future(asyncio.to_thread(others.take_turn, requests, 60.0))
        while not others._slots.is_waiting():
            await anyio.lowlevel.checkpoint()
        await other.commit(appending("t", Message.user("3")))
        left = await waiting
        others.give_turn()
        assert left == requests[1:4]
        assert [requests[0].result.revision, requests[4].result.revision] == [2, 3]
        for request, error in zip(left, [MessageIdConflictError, RevisionConflict], strict=False):
            with pytest.raises(error):
                await one._engine.write(request.work)
        assert (await one._engine.write(left[2].work)).revision == 1


@pytest.mark.usefixtures("patient")
async def test_who_dies_before_telling_has_committed_all_the_same(
    path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that was made and not told of is found by its own process, and isn't made twice (G4)."""
    async with _opened(path) as one, _opened(path) as other:
        await one.commit(appending("s", Message.user("0")))
        assert other._engine._others.take_turn_at_once()
        tasks = await _waiting(one, appending("s", Message.user("1"), is_first_try=True))
        with monkeypatch.context() as patch:
            patch.setattr(Others, "tell", lambda *_: None)
            await other.commit(appending("t", Message.user("2")))
        [done] = await _all_done(tasks)
        assert isinstance(done, Committed)
        assert (done.revision, done.replayed) == (2, True)
        assert made.count(made[-1]) == 2


@pytest.mark.usefixtures("patient")
async def test_slots_are_read_inside_the_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that gave up and settled its commit otherwise can't have it made late: what is read is made at once."""
    read: list[bool] = []
    guests = Others.guests

    async with _opened(path) as one, _opened(path) as other:
        await one.commit(appending("s", Message.user("0")))

        def watched(self: Others, bytes_max: int) -> list[Guests]:
            read.append(other._engine._writer.connection().in_transaction)
            return guests(self, bytes_max)

        monkeypatch.setattr(Others, "guests", watched)
        for is_quick in (True, False):
            monkeypatch.setattr(LoopWriter, "is_quick", is_quick)
            assert other._engine._others.take_turn_at_once()
            tasks = await _waiting(one, appending("s", Message.user("1")))
            await other.commit(appending("t", Message.user("2")))
            await _all_done(tasks)
    assert read == [True, True]


async def test_nobody_knows_what_becomes_of_a_request_that_another_may_be_making(path: Path) -> None:
    """If SQLite's lock can't be had after waiting in a slot, the outcome is unknown: somebody may have read it."""
    async with _opened(path, busy_timeout_ms=1) as one, _opened(path) as other:
        assert other._engine._others.take_turn_at_once()
        tasks = await _waiting(one, appending("s", Message.user("0")))
        stuck = apsw.Connection(str(path))
        stuck.execute("BEGIN IMMEDIATE")
        [error] = await _all_done(tasks)
        stuck.close()
        assert isinstance(error, StorageUnavailableError)
        assert error.outcome_unknown


async def test_nobody_waits_longer_than_a_moment(path: Path) -> None:
    """While somebody keeps the turn, a commit is made without it, and leaves nothing waiting."""
    async with _opened(path) as one, _opened(path) as other:
        assert other._engine._others.take_turn_at_once()
        [done] = await _all_done(await _waiting(one, appending("s", Message.user("0"))))
        assert isinstance(done, Committed)
        assert other._engine._others.guests(1 << 20) == []


@pytest.mark.usefixtures("patient")
async def test_a_guest_that_fails_hurts_nobody(path: Path) -> None:
    """A request that fails half-way in another process spoils nothing there, and is made by its own."""

    def spoil(_text: bytes, connection: apsw.Connection) -> bytes:
        connection.execute("INSERT INTO meta VALUES ('spoiled', 1)")
        raise ValueError

    async with _opened(path) as one, _opened(path) as other:
        await one.commit(appending("s", Message.user("0")))
        other._engine._others._carry_out = spoil
        assert other._engine._others.take_turn_at_once()
        tasks = await _waiting(one, appending("s", Message.user("1")))
        assert (await other.commit(appending("s", Message.user("2")))).revision == 2
        [done] = await _all_done(tasks)
        assert isinstance(done, Committed)
        assert done.revision == 3
        spoiled = "SELECT 1 FROM meta WHERE name = 'spoiled'"
        assert await one._engine.read(lambda c: c.execute(spoiled).fetchall()) == []


async def test_L113_who_means_another_file_is_left_alone(path: Path) -> None:
    """Who still has the file that a path named before doesn't commit for those who mean the new one (G1)."""
    old = SqliteStorage(path)
    await old.open()
    for file in path.parent.glob("sessions.db*"):
        if not file.name.endswith(SUFFIX):
            file.rename(file.with_name(f"old-{file.name}"))
    async with _opened(path, durability="full") as one:
        assert old._engine._others.take_turn_at_once()
        tasks = await _waiting(one, appending("s", Message.user("0")))
        assert old._engine._others.guests(1 << 20) == []
        old._engine._others.give_turn()
        await _all_done(tasks)
    await old.aclose()


async def test_who_is_less_durable_leaves_the_others_alone(path: Path) -> None:
    """A commit that has to survive a power cut isn't made by a process whose own needn't (G1)."""
    async with _opened(path, durability="full") as one, _opened(path, durability="relaxed") as relaxed:
        assert relaxed._engine._others.take_turn_at_once()
        tasks = await _waiting(one, appending("s", Message.user("0")))
        assert relaxed._engine._others.guests(1 << 20) == []
        relaxed._engine._others.give_turn()
        await _all_done(tasks)


@pytest.mark.usefixtures("patient")
async def test_closing_waits_for_what_waits(path: Path) -> None:
    """A commit that waits for its turn when its store is closed is made before that, by whomever."""
    async with _opened(path) as other:
        async with _opened(path) as one:
            await one.commit(appending("s", Message.user("0")))
            assert other._engine._others.take_turn_at_once()
            tasks = await _waiting(one, appending("s", Message.user("1")))
            closing = asyncio.ensure_future(one.aclose())
            await anyio.lowlevel.checkpoint()
            assert not closing.done()
            await other.commit(appending("t", Message.user("2")))
            await closing
        [done] = await _all_done(tasks)
        assert isinstance(done, Committed)
        assert done.revision == 2


@pytest.mark.usefixtures("patient")
async def test_cancelling_who_waits_leaves_the_whole_commit(path: Path) -> None:
    """A caller that was cancelled while its commit waited in a slot finds it made (G10)."""
    async with _opened(path) as one, _opened(path) as other:
        await one.commit(appending("s", Message.user("0")))
        assert other._engine._others.take_turn_at_once()
        [task] = await _waiting(one, appending("s", Message.user("1")))
        task.cancel()
        await other.commit(appending("t", Message.user("2")))
        await one.commit(appending("s", Message.user("3")))
        assert task.cancelled()
        state = await one.read(key_of("s"))
        assert isinstance(state, Snapshot)
        assert [message.content for message in state.messages] == ["0", "1", "3"]


async def test_a_closed_store_leaves_nothing_that_was_written_beside_it(path: Path) -> None:
    """What waited in a slot was text of people's; when the store is closed the file beside it is empty."""
    async with _opened(path) as one, _opened(path) as other:
        assert other._engine._others.take_turn_at_once()
        await _all_done(await _waiting(one, appending("s", Message.user("private"))))
        beside = Path(f"{path}{SUFFIX}")
        assert b"private" in beside.read_bytes()
    assert beside.read_bytes() == b""
