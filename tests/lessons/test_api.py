"""Lessons L53 to L64: what an interface must not invite."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from bamboo_sessions import (
    InputError,
    InvalidSessionIdError,
    Message,
    PositionExpiredError,
    PreconditionFailedError,
    Session,
    SessionExistsError,
    SessionRepository,
    StorageUnavailableError,
    StoreAdmin,
    ToolCall,
)
from bamboo_sessions.domain.working_copy import freeze
from tests.lessons.watched import WatchedStorage, texts

pytestmark = pytest.mark.anyio


async def test_L53_lists_have_bounds_and_filters_come_before_paging(sessions: SessionRepository) -> None:
    """A page of pinned sessions is full although others lie between them, and the total counts all that match."""
    for number in range(30):
        session = Session(f"chat-{number}", owner="ann" if number % 3 == 0 else "bob", pinned=number % 2 == 0)
        await sessions.create(session)
    page = await sessions.list_sessions(owner="ann", pinned=True, limit=4, total=True)
    assert [head.id for head in page.sessions] == ["chat-24", "chat-18", "chat-12", "chat-6"]
    assert page.total == 5
    rest = await sessions.list_sessions(owner="ann", pinned=True, limit=4, cursor=page.next_cursor)
    assert [head.id for head in rest.sessions] == ["chat-0"]
    assert rest.next_cursor is None
    for limit in (0, 1_001, -1):
        with pytest.raises(InputError):
            await sessions.list_sessions(limit=limit)
        with pytest.raises(InputError):
            await sessions.history("chat-0", limit=limit)


async def test_L53_a_history_comes_in_windows(sessions: SessionRepository) -> None:
    """A long history is read page by page, from either end, and each page says whether there is more."""
    await sessions.append("chat", *(Message.user(str(n), id=f"m{n}") for n in range(200)), create=True)
    newest = await sessions.history("chat")
    assert texts(newest.messages) == [str(number) for number in range(150, 200)]
    assert (newest.has_earlier, newest.has_later, newest.message_count) == (True, False, 200)
    seen: list[str] = []
    after = None
    page = await sessions.history("chat", before="m1", limit=70)
    while True:
        seen += texts(page.messages)
        after = page.messages[-1].id
        if not page.has_later:
            break
        page = await sessions.history("chat", after=after, limit=70)
    assert seen == [str(number) for number in range(200)]


async def test_L54_no_window_begins_with_a_result_whose_call_is_cut_off(sessions: SessionRepository) -> None:
    """Whatever the limit, a page and a model's view begin at a border of tool pairs."""
    messages: list[Message] = []
    for turn in range(4):
        calls = [ToolCall(f"call-{turn}-{number}", "look") for number in range(turn)]
        messages += [Message.user("q", id=f"q{turn}"), Message.assistant(tool_calls=calls, id=f"a{turn}")]
        messages += [Message.tool("r", tool_call_id=call.id) for call in calls]
        messages += [Message.assistant("done")]
    await sessions.append("chat", *messages, create=True)
    for limit in range(1, len(messages) + 2):
        page = await sessions.history("chat", limit=limit)
        assert page.messages[0].role != "tool"
        view = await sessions.model_view("chat", limit=limit)
        calls_seen = {call.id for message in view for call in message.tool_calls}
        results_seen = {message.tool_call_id for message in view if message.role == "tool"}
        assert calls_seen == results_seen
        earlier = await sessions.history("chat", before="a3", limit=limit)
        assert earlier.messages[0].role != "tool"
        later = await sessions.history("chat", after="q2", limit=limit)
        calls_seen = {call.id for message in later.messages for call in message.tool_calls}
        assert calls_seen == {message.tool_call_id for message in later.messages if message.role == "tool"}


async def test_L55_a_change_of_another_process_can_be_read_when_it_is_told(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Whoever loads on receiving a change, made here or elsewhere, gets its messages, also where it is cached."""
    position = await sessions.feed_position()
    async with aclosing(sessions.changes(after=position)) as feed:
        for number in range(20):
            writer = (sessions, others)[number % 2]
            await sessions.load("chat")
            write = asyncio.create_task(writer.append("chat", Message.user("x", id=f"m{number}")))
            async with asyncio.timeout(60):
                change = await anext(feed)
            session = await sessions.get("chat")
            assert change.message_ids == (f"m{number}",)
            assert session.revision >= change.revision
            assert session.messages[-1].id == f"m{number}"
            await write


async def test_L56_nothing_is_lost_between_replay_and_live_on_one_file(
    sessions: SessionRepository, others: SessionRepository, storage: WatchedStorage, chat: Session
) -> None:
    """Commits of another process while the replay's last page is on its way, and right behind it, are told once."""
    for after in (False, True):
        position = await sessions.feed_position()
        stall = storage.stall("read_changes", after=after)
        async with aclosing(sessions.changes(after=position)) as feed:
            reading = asyncio.ensure_future(anext(feed))
            await stall.reached.wait()
            for name in ("first", "second"):
                await others.append("chat", Message.user("x", id=f"{name} {after}"))
            stall.release()
            async with asyncio.timeout(60):
                told = [await reading, await anext(feed)]
        assert [change.message_ids for change in told] == [(f"first {after}",), (f"second {after}",)]


async def test_L56_a_position_that_cannot_be_resumed_is_refused(
    sessions: SessionRepository, others: SessionRepository, storage: WatchedStorage, chat: Session
) -> None:
    """Pruned by another process, ahead of the end, or of before the new epoch: an error, never a gap."""
    before = await sessions.feed_position()
    await others.append("chat", Message.user("x"))
    after = await sessions.feed_position()
    await storage.prune_changes(timedelta(0))
    epoch, number, mark = after.split(":")
    ahead = f"{epoch}:{int(number) + 1:019}:{mark}"
    for position, reason in ((before, "pruned"), (ahead, "restored")):
        with pytest.raises(PositionExpiredError) as refused:
            await anext(others.changes(after=position))
        assert refused.value.reason == reason
    await StoreAdmin(storage).start_epoch()
    with pytest.raises(PositionExpiredError) as refused:
        await anext(sessions.changes(after=after))
    assert refused.value.reason == "other_epoch"


async def test_L60_a_retry_after_a_lost_response_creates_nothing_twice(
    sessions: SessionRepository, others: SessionRepository, storage: WatchedStorage
) -> None:
    """Creating and appending again, after the reply was lost, changes nothing; the append names the duplicates."""
    message = Message.user("hello", id="m1")
    storage.fail("commit", StorageUnavailableError, after=True)
    storage.fail("find_commit", StorageUnavailableError)
    with pytest.raises(StorageUnavailableError) as caught:
        await sessions.append("chat", message, create=True)
    assert caught.value.outcome_unknown
    again = await others.append("chat", message, create=True)
    assert (again.duplicates, again.revision, again.message_count) == (("m1",), 1, 1)
    with pytest.raises(SessionExistsError):
        await others.create(Session("chat"))
    assert texts(await sessions.get("chat")) == ["hello"]


async def test_L61_a_flag_says_whether_a_title_was_generated(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A generated title never replaces a person's, whatever that person's title reads."""
    await sessions.apply_generated_title("chat", "About greetings")
    assert (await others.get("chat")).title_generated
    await others.apply_generated_title("chat", "A better one")
    await others.rename("chat", "New Session")
    head = await sessions.apply_generated_title("chat", "Generated again")
    assert (head.title, head.title_generated) == ("New Session", False)
    head = await sessions.apply_generated_title("chat", "On request", force=True)
    assert (head.title, head.title_generated) == ("On request", True)


async def test_L63_all_fields_of_a_change_pass_one_check_or_none_is_written(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A change of several fields with an old revision is refused as a whole; with the right one it is one commit."""

    def change(session: Session) -> None:
        session.title = "new"
        session.pinned = True
        session.metadata["key"] = 1
        session.model = "m2"

    seen = await sessions.get("chat")
    await others.append("chat", Message.user("meanwhile"))
    before = freeze(await others.get("chat")).head
    with pytest.raises(PreconditionFailedError) as caught:
        await sessions.update("chat", change, if_revision=seen.revision)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert freeze(await others.get("chat")).head == before
    after = await sessions.update("chat", change, if_revision=2)
    assert (after.title, after.pinned, after.metadata, after.model) == ("new", True, {"key": 1}, "m2")
    assert (after.revision, after.metadata_version) == (3, 1)


async def test_L63_a_second_change_with_the_same_version_is_refused(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A version that a first change consumed lets no second one in, of whatever field."""
    await sessions.rename("chat", "first", if_metadata_version=0)
    late: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: others.pin("chat", if_metadata_version=0),
        lambda: others.archive("chat", if_metadata_version=0),
        lambda: others.set_value("chat", "key", 1, if_metadata_version=0),
        lambda: others.remove_value("chat", "key", if_metadata_version=0),
    )
    for change in late:
        with pytest.raises(PreconditionFailedError):
            await change()
    assert (await sessions.get("chat")).metadata_version == 1


async def test_L64_an_id_is_never_a_path(sessions: SessionRepository, path: Path) -> None:
    """Ids that look like paths or SQL are ids like any other; the folder holds nothing but the database."""
    names = [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        "a/b\\c",
        "C:\\x",
        "'; DROP TABLE sessions; --",
        "%2e%2e%2f",
        "é😀",
    ]
    for name in names:
        await sessions.append(name, Message.user(name), create=True)
    for name in names:
        assert texts(await sessions.get(name)) == [name]
    there = {each.name for each in path.parent.iterdir()}
    assert there <= {path.name + suffix for suffix in ("", "-wal", "-shm", "-turn")}
    for name in ("", "a\0b", "a\nb", "\ud800", "x" * 513):
        with pytest.raises(InvalidSessionIdError):
            await sessions.append(name, Message.user("x"), create=True)
