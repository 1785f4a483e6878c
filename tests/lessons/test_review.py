"""Lessons L100 to L111: easy to get wrong in a design like this one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import (
    Message,
    PreconditionFailedError,
    Session,
    SessionDeletedError,
    SessionRepository,
    StorageFullError,
    ToolCall,
)
from tests.lessons.watched import WatchedStorage, raw, rows, texts

pytestmark = pytest.mark.anyio


async def test_L100_what_is_added_while_a_save_runs_survives(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """The result of a save, with what others wrote, is brought under what the caller did to the copy meanwhile."""
    await others.append("chat", Message.user("theirs"))
    chat.add_message(Message.user("saved"))
    chat.metadata["before"] = 1
    stall = storage.stall("commit", nth=2)  # the first one finds a conflict
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sessions.save, chat)
        await stall.reached.wait()
        chat.add_message(Message.user("meanwhile"))
        chat.metadata["during"] = 2
        chat.title = "meanwhile"
        stall.release()
    assert texts(chat) == ["hello", "theirs", "saved", "meanwhile"]
    assert (chat.metadata, chat.title) == ({"before": 1, "during": 2}, "meanwhile")
    assert texts(await others.get("chat")) == ["hello", "theirs", "saved"]
    await sessions.save(chat)
    found = await others.get("chat")
    assert texts(found) == ["hello", "theirs", "saved", "meanwhile"]
    assert (found.metadata, found.title) == ({"before": 1, "during": 2}, "meanwhile")


async def test_L101_a_full_disk_inside_a_group_breaks_no_promise(
    sessions: SessionRepository, chat: Session, path: Path, storage: WatchedStorage
) -> None:
    """When one commit of a group finds no space, each of the others is there exactly if its caller was told so."""

    def limit_pages(connection: object, pages: int) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()  # type: ignore[attr-defined]

    pages = rows(path, "PRAGMA page_count")[0][0] + 40
    await storage.sqlite._engine.write(lambda connection: limit_pages(connection, pages))
    texts_of = [f"small {number}" for number in range(20)]
    texts_of[7] = texts_of[13] = "x" * 1_000_000
    with raw(path) as connection:
        connection.execute("BEGIN IMMEDIATE")  # the first one waits, and all others come together behind it
        appending = [asyncio.create_task(sessions.append("chat", Message.user(text))) for text in texts_of]
        await anyio.wait_all_tasks_blocked()
        connection.execute("COMMIT")
    done = await asyncio.gather(*appending, return_exceptions=True)
    assert all(isinstance(done[number], StorageFullError) for number in (7, 13))
    told = [text for text, outcome in zip(texts_of, done, strict=True) if not isinstance(outcome, BaseException)]
    assert len(told) == 18
    async with SessionRepository.open(path) as reopened:
        assert sorted(texts(await reopened.get("chat"))[1:]) == sorted(told)
        assert (await reopened.check()).ok


async def test_L102_a_retry_of_an_append_changes_nothing_whatever_happened_since(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A message that was edited or removed since is a duplicate when it is sent again: no conflict, no return."""
    first, second = Message.user("edited later", id="first"), Message.user("removed later", id="second")
    await sessions.append("chat", first, second)
    await others.update("chat", lambda session: session.messages.__setitem__(1, Message.user("edited", id="first")))
    await others.truncate("chat", after_message_id="first")
    again = await sessions.append("chat", first, second)
    assert again.duplicates == ("first", "second")
    late = await sessions.load("chat", fresh=True)
    assert late is not None
    assert texts(late) == ["hello", "edited"]
    built = Session("chat")
    built.messages.extend([first, second])
    await sessions.save(built)
    assert texts(await others.get("chat")) == ["hello", "edited"]


async def test_L103_a_re_created_session_goes_on_counting(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """The new session's revision is above the old one's, old preconditions fail, old copies stay refused."""
    await others.append("chat", Message.user("two"))
    await others.rename("chat", "three")
    old = await others.get("chat")
    await sessions.delete("chat")
    new = await sessions.create(Session("chat"))
    assert new.revision == new.incarnation == 5
    assert new.metadata_version > old.metadata_version
    found = await others.get("chat")  # whose cache held revision 3
    assert (found.revision, found.title, texts(found)) == (5, None, [])
    for revision in (1, 2, 3):
        with pytest.raises(PreconditionFailedError):
            await others.append("chat", Message.user("old"), if_revision=revision)
    old.add_message(Message.user("old"))
    with pytest.raises(SessionDeletedError):
        await others.save(old)
    with pytest.raises(SessionDeletedError):
        await others.append("chat", Message.user("old"), incarnation=old.incarnation)
    assert texts(await sessions.get("chat")) == []


async def test_L104_a_history_cannot_be_cut_by_assigning_a_shorter_list(
    sessions: SessionRepository, others: SessionRepository
) -> None:
    """`session.messages = session.messages[-20:]` raises and changes nothing; a window is read, not cut."""
    await sessions.append("chat", *(Message.user(str(number)) for number in range(50)), create=True)
    session = await sessions.get("chat")
    with pytest.raises(AttributeError, match="history"):
        session.messages = session.messages[-20:]  # type: ignore[assignment]
    session.add_message(Message.user("50"))
    await sessions.save(session)
    assert len((await others.get("chat")).messages) == 51
    assert texts(await others.model_view("chat", limit=20)) == [str(number) for number in range(31, 51)]


@pytest.mark.parametrize("by", ["save", "append"])
async def test_L105_a_result_joins_its_call(
    sessions: SessionRepository, others: SessionRepository, chat: Session, by: str
) -> None:
    """A call is checkpointed, a person writes, then the result comes: call, result, person."""
    chat.add_message(Message.assistant(tool_calls=[ToolCall("call-1", "look"), ToolCall("call-2", "look")]))
    await sessions.checkpoint(chat)
    await others.append("chat", Message.user("a person"))
    results = [Message.tool(f"result {number}", tool_call_id=f"call-{number}") for number in (1, 2)]
    if by == "save":
        chat.messages.extend(results)
        await sessions.save(chat)
    else:
        for result in results:
            await sessions.append("chat", result)
    found = await others.get("chat")
    assert texts(found) == ["hello", "", "result 1", "result 2", "a person"]
    assert texts(await sessions.get("chat")) == texts(found)
    assert len(await others.model_view("chat")) == 5


async def test_L106_ones_own_commits_do_not_empty_the_cache(
    sessions: SessionRepository, others: SessionRepository, storage: WatchedStorage
) -> None:
    """After a write of one session, by this process or another, the others are answered without reading them anew."""
    for number in range(20):
        await sessions.append(f"chat-{number}", Message.user("hello"), create=True)
        await sessions.get(f"chat-{number}")
    storage.calls.clear()
    await sessions.append("chat-0", Message.user("mine"))
    await sessions.rename("chat-1", "mine")
    await others.append("chat-2", Message.user("theirs"))
    for number in range(3, 20):
        assert texts(await sessions.get(f"chat-{number}")) == ["hello"]
    assert not storage.calls["read"] + storage.calls["read_newer"]
    assert texts(await sessions.get("chat-0")) == ["hello", "mine"]
    assert texts(await sessions.get("chat-2")) == ["hello", "theirs"]
    assert storage.calls["read_newer"] == 1  # what is new of the one that changed
    assert not storage.calls["read"]


@pytest.mark.parametrize("way", ["load", "load_merged", "load while storage is down"])
async def test_L107_work_that_is_not_durable_is_still_written_by_the_next_save(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage, way: str
) -> None:
    """A copy loaded while work waits in memory shows that work, and its save makes it durable."""
    chat.add_message(Message.user("waiting"))
    storage.fail_commits()
    assert not await sessions.save_best_effort(chat)
    if way == "load while storage is down":
        storage.fail_reads()
    loaded = await (sessions.load_merged("chat") if way == "load_merged" else sessions.load("chat"))
    assert loaded is not None
    assert (texts(loaded), loaded.revision) == (["hello", "waiting"], 1)
    storage.heal()
    loaded.add_message(Message.user("next"))
    await sessions.save(loaded)
    assert texts(await others.get("chat")) == ["hello", "waiting", "next"]
    assert await sessions.flush() == ()
    assert texts(await others.get("chat")) == ["hello", "waiting", "next"]


async def test_L108_blind_appenders_cannot_starve_a_saver(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """If somebody appends before each attempt of a save, it ends after three conflicts, inside the transaction."""

    async def be_faster() -> None:
        await others.append("chat", Message.user("faster"))

    storage.before_commit = be_faster
    chat.add_message(Message.user("patient"))
    with anyio.fail_after(60):
        await sessions.save(chat)
    assert (storage.calls["transact"], sessions.persistence.stats()["conflicts"]) == (1, 3)
    assert texts(await others.get("chat")) == ["hello", "faster", "faster", "faster", "patient"]


async def test_L109_a_pruned_log_of_commits_never_counts_from_one_again(
    sessions: SessionRepository, chat: Session, path: Path
) -> None:
    """After all commits were pruned, of a deleted session too, the next one's position is above every earlier one."""
    for number in range(5):
        await sessions.append("chat", Message.user(f"message {number}"))
    await sessions.delete("chat")
    (last,) = rows(path, "SELECT max(position) FROM commits")[0]
    assert await sessions.storage.prune_changes(timedelta(0)) == last
    assert rows(path, "SELECT position FROM commits") == [(last,)]
    await sessions.append("another", Message.user("after"), create=True)
    assert rows(path, "SELECT max(position) FROM commits") == [(last + 1,)]


async def test_L110_no_child_outlives_the_deletion_of_its_tree(
    sessions: SessionRepository, others: SessionRepository
) -> None:
    """A child that is created while its tree is being deleted goes with it or is refused; none stays as an orphan."""
    for number in range(20):
        root = await sessions.create(Session(f"root-{number}"))
        child = root.new_child(f"child-{number}")
        creating, deleting = (sessions, others) if number % 2 else (others, sessions)
        created, deleted = await asyncio.gather(
            creating.create(child), deleting.delete(root.id), return_exceptions=True
        )
        assert deleted is True
        assert isinstance(created, Session | SessionDeletedError)
    assert (await sessions.list_sessions()).sessions == ()


async def test_L111_an_addition_survives_the_loss_of_all_its_neighbours(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A message put inside a stretch that others compacted meanwhile is kept."""
    chat.messages.extend(Message.user(str(number)) for number in range(1, 6))
    await sessions.save(chat)
    chat.messages.insert(3, Message.user("inside"))  # between 2 and 3
    await others.update("chat", lambda session: session.messages.__setitem__(slice(1, 5), [Message.system("summary")]))
    await others.update("chat", lambda session: session.messages.__delitem__(0))
    await sessions.save(chat)
    found = texts(await others.get("chat"))
    assert sorted(found) == sorted(["summary", "inside", "5"])
    assert found.index("inside") < found.index("5")
