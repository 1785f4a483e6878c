"""L127: work that waits for storage to come back is a chain of differences with one home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bamboo_sessions import (
    MemoryStorage,
    Message,
    MessageIdConflictError,
    Session,
    SessionRepository,
    StorageUnavailableError,
)
from bamboo_sessions.testing import FaultyStorage

pytestmark = pytest.mark.anyio


@pytest.fixture
def storage() -> FaultyStorage:
    """A storage that can be down."""
    return FaultyStorage(MemoryStorage())


@pytest.fixture
async def sessions(storage: FaultyStorage) -> AsyncIterator[SessionRepository]:
    """A repository with a session `chat` of one message."""
    async with SessionRepository.open(storage) as sessions:
        session = Session("chat", "m")
        session.add_message(_message("first"))
        await sessions.create(session)
        yield sessions


def _message(text: str, id: str | None = None) -> Message:
    return Message.user(text, id=id or text)


async def _stored(storage: FaultyStorage) -> list[str]:
    session = await storage.inner.load_session("chat")
    assert session is not None
    return [message.text for message in session.messages]


def _add_updated(session: Session) -> None:
    session.add_message(_message("updated"))


def _texts(session: Session) -> list[str]:
    return [message.text for message in session.messages]


async def test_L127_a_removal_of_a_waiting_message_stays(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """G2: a copy loaded meanwhile takes out a waiting message; both saves were accepted, and it is out for good."""
    writer = await sessions.get("chat")
    with storage.fail("commit", times=None):
        writer.add_message(_message("secret"))
        assert not await sessions.save_best_effort(writer)
        editor = await sessions.get("chat")
        assert _texts(editor) == ["first", "secret"]
        del editor.messages[1]
        assert not await sessions.save_best_effort(editor)
        assert _texts(await sessions.get("chat")) == ["first"]
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first"]
    writer.add_message(_message("next"))
    await sessions.save(writer)
    assert await _stored(storage) == ["first", "next"]


async def test_L127_an_edit_of_a_waiting_message_is_saved(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """An accepted edit of a message that waits isn't refused as other content of a known id."""
    writer = await sessions.get("chat")
    with storage.fail("commit", times=None):
        writer.add_message(_message("draft", "m"))
        assert not await sessions.save_best_effort(writer)
        editor = await sessions.get("chat")
        editor.messages[1] = _message("final", "m")
        assert not await sessions.save_best_effort(editor)
        writer.add_message(_message("last"))
        assert not await sessions.save_best_effort(writer)
        assert _texts(await sessions.get("chat")) == ["first", "final", "last"]
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first", "final", "last"]


async def test_L127_work_is_saved_in_the_order_in_which_it_was_accepted(
    sessions: SessionRepository, storage: FaultyStorage
) -> None:
    """Two copies take turns; what each of them saved is stored in that order, one commit for each."""
    one, two = await sessions.get("chat"), await sessions.get("chat")
    with storage.fail("commit", times=None):
        for number, copy in enumerate([one, two, one, two]):
            copy.add_message(_message(str(number)))
            copy.model = str(number)
            assert not await sessions.save_best_effort(copy)
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first", "0", "1", "2", "3"]
    stored = await sessions.get("chat")
    assert (stored.model, stored.revision) == ("3", 5)


async def test_L127_what_waits_goes_before_anything_newer(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """An append, a rename and an update find the waiting work saved before them."""
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: sessions.append("chat", _message("appended")),
        lambda: sessions.rename("chat", "Renamed"),
        lambda: sessions.update("chat", _add_updated),
    ]
    for number, change in enumerate(changes):
        copy = await sessions.get("chat")
        copy.add_message(_message(str(number)))
        with storage.fail("commit"):
            assert not await sessions.save_best_effort(copy)
        await change()
    assert await _stored(storage) == ["first", "0", "appended", "1", "2", "updated"]


async def test_L127_the_bound_counts_what_is_new(storage: FaultyStorage) -> None:
    """Saving after each message of a long conversation takes as many bytes as the messages, not their square."""
    async with SessionRepository.open(storage) as sessions:
        copy = await sessions.create(Session("chat"))
        with storage.fail("commit", times=None):
            for number in range(346):
                copy.add_message(_message("x" * 1_000, str(number)))
                assert not await sessions.save_best_effort(copy)
            assert sessions.persistence.stats()["dirty_bytes"] < 346 * 3_000
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop, no time

        task = asyncio.create_task(other())
        assert await sessions.flush() == ()
        task.cancel()
        assert turns >= 346  # a flush lets others run between any two saves
        assert len(await _stored(storage)) == 346


async def test_L127_a_copy_put_into_the_cache_strands_no_work(
    sessions: SessionRepository, storage: FaultyStorage
) -> None:
    """What waits has a home of its own: whatever is put into the cache by hand, it is shown and saved."""
    copy = await sessions.get("chat")
    copy.add_message(_message("kept"))
    with storage.fail("commit", times=None):
        assert not await sessions.save_best_effort(copy)
        sessions.cache.insert(Session("chat", "by hand"))
        assert _texts(await sessions.get("chat")) == ["first", "kept"]
        (unsaved,) = await sessions.flush()
        assert _texts(unsaved.session) == ["first", "kept"]
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first", "kept"]


async def test_L127_a_refused_step_takes_nothing_with_it(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """A step whose message id is taken is told; what was accepted later is saved without it."""
    one, two = await sessions.get("chat"), await sessions.get("chat")
    with storage.fail("commit", times=None):
        one.add_message(_message("mine", "taken"))
        assert not await sessions.save_best_effort(one)
        two.add_message(_message("later"))
        assert not await sessions.save_best_effort(two)
    async with SessionRepository.open(storage.inner) as others:
        await others.append("chat", _message("theirs", "taken"))
        (refused,) = await sessions.flush()
        assert (refused.code, _texts(refused.session)) == (MessageIdConflictError.code, ["first", "mine"])
        assert await sessions.flush() == ()
        assert await _stored(storage) == ["first", "theirs", "later"]
        await sessions.save(one)
        assert _texts(one) == ["first", "theirs", "later"]


async def test_L127_every_view_shows_what_load_shows(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """Windows, model views and lists show waiting work."""
    copy = await sessions.get("chat")
    copy.add_message(_message("kept"))
    copy.title = "Kept"
    with storage.fail("commit", times=None):
        assert not await sessions.save_best_effort(copy)
        assert _texts(await sessions.get("chat")) == ["first", "kept"]
        page = await sessions.history("chat", limit=1)
        assert ([message.text for message in page.messages], page.has_earlier, page.message_count) == (
            ["kept"],
            True,
            2,
        )
        assert [m.text for m in (await sessions.history("chat", after="first")).messages] == ["kept"]
        assert [m.text for m in await sessions.model_view("chat", limit=1)] == ["kept"]
        (head,) = (await sessions.list_sessions()).sessions
        assert (head.title, head.message_count) == ("Kept", 2)
        (head,) = [head async for head in sessions.iter_sessions()]
        assert head.title == "Kept"
        assert _texts(await sessions.load_merged("chat") or Session("none")) == ["first", "kept"]


async def test_L127_a_retry_of_what_happened_is_not_made_twice(
    sessions: SessionRepository, storage: FaultyStorage
) -> None:
    """G4: the save that is kept was committed, though nobody could tell: the retry finds it by its commit id."""
    copy = await sessions.get("chat")
    copy.model = "mine"
    with storage.fail("commit", after=True), storage.fail("find_commit"):
        assert not await sessions.save_best_effort(copy)
    async with SessionRepository.open(storage.inner) as others:
        await others.update("chat", lambda session: setattr(session, "model", "theirs"))
        assert await sessions.flush() == ()
        assert (await others.get("chat")).model == "theirs"
        assert (await others.get("chat")).revision == 3


async def test_L127_a_message_taken_out_is_not_added_again(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """G4: an old copy that adds a waiting message again, after another one took it out, brings nothing back."""
    writer, again = await sessions.get("chat"), await sessions.get("chat")
    with storage.fail("commit", times=None):
        writer.add_message(_message("once"))
        assert not await sessions.save_best_effort(writer)
        editor = await sessions.get("chat")
        del editor.messages[1]
        assert not await sessions.save_best_effort(editor)
        again.add_message(_message("once"))
        assert not await sessions.save_best_effort(again)
        assert _texts(await sessions.get("chat")) == ["first"]
        conflicting = await sessions.get("chat")
        conflicting.add_message(_message("other", "once"))
        with pytest.raises(MessageIdConflictError):
            await sessions.save_best_effort(conflicting)
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first"]


async def test_L127_a_former_version_of_an_edited_message_is_no_conflict(
    sessions: SessionRepository, storage: FaultyStorage
) -> None:
    """G4: what a copy adds was committed and edited since. Storage knows the first version, memory doesn't."""
    writer = await sessions.get("chat")
    writer.add_message(_message("draft", "answer"))
    twin = writer.copy()
    await sessions.save(writer)
    writer.messages[1] = _message("final", "answer")
    await sessions.save(writer)
    twin.add_message(_message("more"))
    with storage.fail("commit", times=None):
        assert not await sessions.save_best_effort(twin)
        assert _texts(await sessions.get("chat")) == ["first", "final", "more"]
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first", "final", "more"]


@pytest.mark.parametrize("alone", [True, False])
async def test_L127_content_never_stored_is_told_as_a_conflict(
    sessions: SessionRepository, storage: FaultyStorage, *, alone: bool
) -> None:
    """G4: a copy adds other content under the id of an edited message; once storage is back, the work is told whole."""
    copy = await sessions.get("chat")
    copy.add_message(_message("other", "answer"))
    if not alone:
        copy.add_message(_message("more"))
    writer = await sessions.get("chat")
    writer.add_message(_message("draft", "answer"))
    await sessions.save(writer)
    with storage.fail("commit", times=None):
        assert not await sessions.save_best_effort(copy)
    (refused,) = await sessions.flush()
    assert refused.code == MessageIdConflictError.code
    assert set(_texts(refused.session)) == {"first", "other"} | (set() if alone else {"more"})
    assert await sessions.flush() == ()
    assert await _stored(storage) == ["first", "draft"]


async def test_L127_a_persons_rename_meanwhile_stands(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """G5: two waiting titles don't add up to a version that beats what a person set while storage was away."""
    copy = await sessions.get("chat")
    with storage.fail("commit", times=None):
        for title in ("one", "two"):
            copy.title = title
            assert not await sessions.save_best_effort(copy)
    async with SessionRepository.open(storage.inner) as others:
        await others.rename("chat", "A person's")
        assert await sessions.flush() == ()
        assert (await others.get("chat")).title == "A person's"


async def test_L127_work_of_others_meanwhile_is_kept(sessions: SessionRepository, storage: FaultyStorage) -> None:
    """G2: what other processes committed is there after the flush, and what a waiting edit did to it."""
    copy = await sessions.get("chat")
    async with SessionRepository.open(storage.inner) as others:
        with storage.fail("commit", times=None):
            copy.add_message(_message("mine"))
            assert not await sessions.save_best_effort(copy)
            await others.append("chat", _message("theirs"))
            later = await sessions.get("chat")
            assert sorted(_texts(later)) == ["first", "mine", "theirs"]
            place = [message.id for message in later.messages].index("theirs")
            later.messages[place] = _message("edited", "theirs")
            assert not await sessions.save_best_effort(later)
        assert await sessions.flush() == ()
        assert sorted(await _stored(storage)) == ["edited", "first", "mine"]


async def test_L127_what_waits_is_shown_when_nothing_can_be_read(
    sessions: SessionRepository, storage: FaultyStorage
) -> None:
    """G7: with storage wholly down and the cache empty, a load still shows what was known and what waits."""
    copy = await sessions.get("chat")
    copy.add_message(_message("kept"))
    storage.fail("commit", times=None)
    assert not await sessions.save_best_effort(copy)
    with storage.fail(None, StorageUnavailableError("down"), times=None):
        assert _texts(await sessions.get("chat")) == ["first", "kept"]
    storage.heal()
    assert await sessions.flush() == ()
