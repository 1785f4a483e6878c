"""Lessons L118, L135 and L137: what a host doesn't know, or hasn't heard of yet. Two hosts on one lagging database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from bamboo_sessions import (
    InputError,
    Message,
    PreconditionFailedError,
    Session,
    SessionRepository,
    StorageUnavailableError,
)
from bamboo_sessions.testing.lagging import LaggingDatabase

pytestmark = pytest.mark.anyio


@pytest.fixture
def database() -> LaggingDatabase:
    """A database that notifies nobody until it is told to."""
    return LaggingDatabase(delay_seconds_max=None)


@pytest.fixture
async def here(database: LaggingDatabase) -> AsyncIterator[SessionRepository]:
    """A host that will not hear of what the other one does."""
    async with SessionRepository.open(database.connect()) as sessions:
        yield sessions


@pytest.fixture
async def there(database: LaggingDatabase) -> AsyncIterator[SessionRepository]:
    """The other host."""
    async with SessionRepository.open(database.connect()) as sessions:
        yield sessions


async def test_L135_a_rename_that_looks_done_is_made(here: SessionRepository, there: SessionRepository) -> None:
    """Back to the title that the cache shows still: acknowledged only when it is so in truth."""
    await here.create(Session("s", title="first"))
    await there.rename("s", "second")
    assert (await here.get("s")).title == "first"  # it lags, which it may
    await here.rename("s", "first")
    for sessions in (here, there):
        loaded = await sessions.load("s", fresh=True)
        assert loaded is not None
        assert loaded.title == "first"


async def test_L135_an_edit_begins_with_the_newest_state(here: SessionRepository, there: SessionRepository) -> None:
    """A block changes what is so in truth, not what the cache shows: nobody changed the title on both sides."""
    await here.create(Session("s", title="first"))
    await there.rename("s", "second")
    assert (await here.get("s")).title == "first"
    async with here.edit("s") as session:
        assert session.title == "second"
        session.title = "third"
    loaded = await there.load("s", fresh=True)
    assert loaded is not None
    assert loaded.title == "third"


async def test_L118_the_commit_that_an_error_names_can_still_be_made(database: LaggingDatabase) -> None:
    """G4: the look-up after a lost connection finds nothing, and burns nothing: trying again with the id is safe."""
    host = database.connect()
    async with SessionRepository.open(host) as sessions:
        await sessions.append("s", Message.user("a", id="a"), create=True)
        message = Message.user("b", id="b")
        with host.fail("commit", unknown=True), pytest.raises(StorageUnavailableError) as lost:
            await sessions.append("s", message)
        assert lost.value.outcome_unknown
        assert (await sessions.append("s", message, commit_id=lost.value.commit_id)).revision == 2


async def test_L118_a_save_found_not_to_have_happened_never_will(database: LaggingDatabase) -> None:
    """G4: the next save of the copy makes sure of the one before: that id is burnt, and no later error names it."""
    host = database.connect()
    async with SessionRepository.open(host) as sessions:
        await sessions.append("s", Message.user("a", id="a"), create=True)
        copy = await sessions.get("s")
        copy.add_message(Message.user("b", id="b"))
        errors = []
        for _ in range(2):
            with host.fail("commit", unknown=True), pytest.raises(StorageUnavailableError) as lost:
                await sessions.save(copy)
            errors.append(lost.value)
        first, second = (error.commit_id for error in errors)
        assert first is not None
        assert first != second
        with pytest.raises(InputError):
            await sessions.append("s", Message.user("late", id="late"), commit_id=first)
        assert (await sessions.save(copy, commit_id=second)).revision == 2
        assert [message.id for message in (await sessions.get("s")).messages] == ["a", "b"]


Undo = Callable[[SessionRepository], Awaitable[object]]


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        (lambda r: r.pin("s"), lambda r: r.pin("s", False)),
        (lambda r: r.archive("s"), lambda r: r.archive("s", False)),
        (lambda r: r.set_value("s", "key", 2), lambda r: r.set_value("s", "key", 1)),
        (lambda r: r.append("s", Message.user("b", id="b")), lambda r: r.truncate("s", after_message_id="a")),
    ],
    ids=["pin", "archive", "set_value", "truncate"],
)
async def test_L135_nothing_to_do_is_confirmed(
    here: SessionRepository, there: SessionRepository, change: Undo, undo: Undo
) -> None:
    """What another host has changed is changed back, although this one hasn't heard of it."""
    await here.create(Session("s"))
    await here.append("s", Message.user("a", id="a"))
    await here.set_value("s", "key", 1)
    before = await here.get("s")
    await change(there)
    await undo(here)
    after = await there.load("s", fresh=True)
    assert after is not None
    assert (after.pinned, after.archived, after.metadata) == (before.pinned, before.archived, before.metadata)
    assert [message.id for message in after.messages] == ["a"]


async def test_L135_an_unchanged_save_brings_the_copy_up_to_date(
    here: SessionRepository, there: SessionRepository
) -> None:
    """A save with nothing to save reads what others have committed, as on an engine that hears of it at once."""
    copy = await here.create(Session("s"))
    await there.append("s", Message.user("a", id="a"))
    assert (await here.save(copy)).revision == 2
    assert [message.id for message in copy.messages] == ["a"]


async def test_L135_a_refusal_is_of_the_newest_state(here: SessionRepository, there: SessionRepository) -> None:
    """A condition that holds in truth isn't refused because the cache is old, and one that doesn't hold is."""
    await here.create(Session("s", title="first"))
    version = (await there.rename("s", "second")).metadata_version
    with pytest.raises(PreconditionFailedError):
        await here.rename("s", "first", if_metadata_version=version - 1)
    await here.rename("s", "third", if_metadata_version=version)
    assert (await there.load_merged("s") or Session("s")).title == "third"


async def test_L137_a_commit_that_becomes_visible_late_is_told_when_it_is() -> None:
    """Nobody commits anything after it, and the subscriber is told all the same; so is one that reads to the end."""
    database = LaggingDatabase(feed_delay_seconds_max=0.05)
    async with SessionRepository.open(database.connect()) as sessions:
        async with aclosing(sessions.changes()) as feed, asyncio.timeout(60):
            following = asyncio.ensure_future(anext(feed))
            await sessions.create(Session("s"))
            assert (await following).session_id == "s"
        await sessions.append("s", Message.user("a", id="a"))
        told = [change.revision async for change in sessions.changes(live=False)]
    assert told == [1, 2]


@pytest.mark.parametrize("seed", range(5))
async def test_L137_late_commits_come_once_and_each_session_in_order(seed: int) -> None:
    """G11: in whatever order commits of several sessions become visible, a subscriber that resumes misses none."""
    database = LaggingDatabase(seed, feed_delay_seconds_max=0.01)
    async with SessionRepository.open(database.connect()) as one, SessionRepository.open(database.connect()) as other:
        for name in "ab":
            await one.create(Session(name))

        async def write(sessions: SessionRepository, name: str) -> None:
            for number in range(10):
                await sessions.append(name, Message.user("x", id=f"{name}{number}"))

        await asyncio.gather(write(one, "a"), write(other, "b"))
        told: list[tuple[str, int]] = []
        position: str | None = None
        async with asyncio.timeout(60):
            while len(told) < 22:
                async with aclosing(other.changes(after=position)) as feed:
                    change = await anext(feed)
                position = change.position
                told.append((change.session_id, change.revision))
    for name in "ab":
        assert [revision for session_id, revision in told if session_id == name] == list(range(1, 12))
