"""Lessons L01 to L13: how an update gets lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import (
    Message,
    Session,
    SessionBusyError,
    SessionRepository,
    StorageUnavailableError,
)
from tests.lessons.watched import WatchedStorage, rows, texts

pytestmark = pytest.mark.anyio


async def test_L01_a_stale_save_keeps_a_rename_and_a_pin(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A runtime save of an old copy leaves the title and the pin that a person set meanwhile."""
    await others.rename("chat", "Holiday plans")
    await others.pin("chat")
    chat.add_message(Message.assistant("answer"))
    await sessions.save(chat)
    for repository in (sessions, others):
        found = await repository.get("chat")
        assert (found.title, found.pinned, found.metadata_version) == ("Holiday plans", True, 2)
        assert texts(found) == ["hello", "answer"]
    assert (chat.title, chat.pinned) == ("Holiday plans", True)


async def test_L01_a_title_in_a_stale_copy_loses_and_is_reported(
    sessions: SessionRepository, others: SessionRepository, chat: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """A title that a run put into an old copy doesn't undo a person's; the save says so, and logs the way."""
    await others.rename("chat", "by a person")
    chat.title = "by the run"
    report = await sessions.save(chat)
    assert report.authoritative_ignored == ("title",)
    assert (await others.get("chat")).title == "by a person"
    assert "session 'chat': what this copy set (title) wasn't saved" in caplog.text
    assert "rename" in caplog.text


async def test_L02_a_stale_save_never_shrinks_the_transcript(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A full save from an old copy that lacks newer messages removes none of them."""
    await others.append("chat", Message.user("one more thing"))
    chat.model = "m2"
    report = await sessions.save(chat)
    assert texts(await others.get("chat")) == ["hello", "one more thing"]
    assert len(report.merged) == 1
    assert not report.removed


async def test_L02_an_intended_truncation_is_a_call_of_its_own_and_stays(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """What `truncate` took out doesn't come back with the save of a copy that still has it."""
    for text in ("two", "three"):
        chat.add_message(Message.user(text, id=text))
    await sessions.save(chat)
    await others.truncate("chat", after_message_id="hello")
    chat.add_message(Message.user("four"))
    await sessions.save(chat)
    assert texts(await others.get("chat")) == ["hello", "four"]


@pytest.mark.parametrize("end", ["success", "error", "cancel"])
async def test_L03_a_run_persists_on_success_on_error_and_on_cancel(
    sessions: SessionRepository, others: SessionRepository, chat: Session, end: str
) -> None:
    """What a run added is durable however the run ends, also if the final save itself is cancelled."""
    waiting = anyio.Event()

    async def run() -> None:
        chat.add_message(Message.assistant("partial answer"))
        try:
            if end == "error":
                message = "the tool broke"
                raise RuntimeError(message)
            if end == "cancel":
                waiting.set()
                await anyio.sleep_forever()
        finally:
            await sessions.save(chat)

    task = asyncio.create_task(run())
    if end == "cancel":
        await waiting.wait()
        task.cancel()
        await anyio.lowlevel.checkpoint()  # the save has begun
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sessions.persistence.tasks.finish()  # commits under way go on without their caller
    assert texts(await others.get("chat")) == ["hello", "partial answer"]


async def test_L04_a_save_that_cannot_read_the_latest_copy_writes_nothing(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """If what others committed can't be read, the save raises and overwrites nothing; later it succeeds."""
    await others.append("chat", Message.user("theirs"))
    chat.add_message(Message.user("mine"))
    storage.fail_reads()
    with pytest.raises(StorageUnavailableError):
        await sessions.save(chat)
    assert texts(await others.get("chat")) == ["hello", "theirs"]
    storage.heal()
    await sessions.save(chat)
    assert texts(await others.get("chat")) == ["hello", "theirs", "mine"]


async def test_L05_a_setting_that_a_person_toggled_survives_the_runs_save(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A value set by a person during a run isn't switched back by the run's save, even if the copy names it."""
    await sessions.set_value("chat", "web_search", True)
    run = await sessions.get("chat")
    await others.set_value("chat", "web_search", False)
    run.metadata["web_search"] = True
    run.metadata["step"] = 3
    run.add_message(Message.assistant("found it"))
    await sessions.save(run)
    found = await others.get("chat")
    assert found.metadata == {"web_search": False, "step": 3}


async def test_L06_a_copy_that_lacks_a_field_forces_nothing_off(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A copy built by hand, in which most fields were never set, unsets none of the stored ones."""
    await others.rename("chat", "Holiday plans")
    await others.pin("chat")
    await others.set_value("chat", "colour", "red")
    built = Session("chat")
    built.add_message(Message.user("imported"))
    await sessions.save(built)
    found = await others.get("chat")
    assert (found.title, found.pinned, found.model, found.metadata) == ("Holiday plans", True, "m1", {"colour": "red"})
    assert texts(found) == ["hello", "imported"]


async def test_L07_a_narrow_change_writes_nothing_else(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A rename from a process whose cache is old leaves everything that others changed meanwhile."""
    await sessions.get("chat")  # cached here
    newer = await others.get("chat")
    newer.model = "m2"
    newer.metadata["step"] = 7
    newer.add_message(Message.assistant("news"))
    await others.save(newer)
    await sessions.rename("chat", "Holiday plans")
    found = await others.get("chat")
    assert (found.title, found.model, found.metadata) == ("Holiday plans", "m2", {"step": 7})
    assert texts(found) == ["hello", "news"]


async def test_L08_two_lock_maps_lose_nothing(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Savers of two processes, which share no lock, both get all of their messages in."""

    async def write(repository: SessionRepository, name: str) -> None:
        copy = await repository.get("chat")
        for number in range(15):
            copy.add_message(Message.user(f"{name}{number}"))
            await repository.save(copy)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write, sessions, "a")
        tasks.start_soon(write, others, "b")
    found = texts(await sessions.get("chat"))
    assert [text for text in found if text[0] == "a"] == [f"a{number}" for number in range(15)]
    assert [text for text in found if text[0] == "b"] == [f"b{number}" for number in range(15)]
    assert len(found) == 31


async def test_L09_an_equal_version_does_not_mean_equal_content(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Of two titles under one `metadata_version` the committed one stands, and the other is reported."""
    await others.rename("chat", "committed")
    chat.title = "only in the copy"
    chat.metadata_version = 1
    report = await sessions.save(chat)
    assert (chat.title, chat.metadata_version) == ("committed", 1)
    assert report.authoritative_ignored == ("title",)


async def test_L09_no_two_contents_share_a_revision(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Two copies of one revision that are changed differently are saved as two revisions."""
    twin = await others.get("chat")
    chat.model, twin.workspace = "m2", "/work"
    reports = [await sessions.save(chat), await others.save(twin)]
    assert [report.revision for report in reports] == [2, 3]


async def test_L10_the_read_is_inside_the_write(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Forty concurrent read-modify-writes of one counter from two processes count to forty."""

    def count(session: Session) -> None:
        session.metadata["count"] = session.metadata.get("count", 0) + 1

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(sessions.update, "chat", count)
            tasks.start_soon(others.update, "chat", count)
    assert (await sessions.get("chat")).metadata["count"] == 40


async def test_L11_a_save_writes_what_is_new_and_no_more(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """Each of a hundred saves hands one message and no head to storage, and nothing is written a second time."""
    storage.commits.clear()
    storage.calls.clear()
    for number in range(100):
        chat.add_message(Message.user(f"message {number}"))
        await sessions.save(chat)
    assert {sum(len(each.messages) for each in commit.insertions) for commit in storage.commits} == {1}
    assert {commit.head for commit in storage.commits} == {None}
    assert not any(commit.edits or commit.removals for commit in storage.commits)
    assert storage.calls == {"commit": 100}


async def test_L12_back_to_the_old_title_is_not_unchanged(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """After A → B → A by a person, a copy that was made at the first A still counts as old."""
    await others.rename("chat", "A")
    run = await sessions.get("chat")
    await others.rename("chat", "B")
    await others.rename("chat", "A")
    run.title = "C"
    run.metadata_version += 9
    report = await sessions.save(run)
    found = await others.get("chat")
    assert (found.title, found.metadata_version) == ("A", 3)
    assert report.authoritative_ignored == ("title",)


async def test_L13_writing_inside_an_edit_block_fails_at_once(sessions: SessionRepository, chat: Session) -> None:
    """Who holds a session in a block and writes it by another call gets an error, not a deadlock."""
    with anyio.fail_after(60):
        async with sessions.edit("chat") as session:
            session.model = "m2"
            for write in (
                lambda: sessions.save(chat),
                lambda: sessions.append("chat", Message.user("x")),
                lambda: sessions.rename("chat", "x"),
                lambda: sessions.update("chat", Session.clear_pending_question),
                lambda: sessions.delete("chat"),
            ):
                with pytest.raises(SessionBusyError):
                    await write()
            await sessions.append("another", Message.user("x"), create=True)
    assert (await sessions.get("chat")).model == "m2"


async def test_L13_every_mutation_runs_inside_the_lock(sessions: SessionRepository, chat: Session) -> None:
    """All kinds of writes of one session at once end, and each of them took effect."""
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sessions.rename, "chat", "title")
            tasks.start_soon(sessions.pin, "chat")
            tasks.start_soon(sessions.set_value, "chat", "key", 1)
            tasks.start_soon(sessions.append, "chat", Message.user("appended"))
            tasks.start_soon(sessions.save, chat)
            tasks.start_soon(sessions.update, "chat", lambda session: setattr(session, "model", "m2"))
    found = await sessions.get("chat")
    assert (found.title, found.pinned, found.metadata, found.model) == ("title", True, {"key": 1}, "m2")
    assert texts(found) == ["hello", "appended"]


async def test_L11_one_stored_line_per_message(sessions: SessionRepository, chat: Session, path: Path) -> None:
    """After many saves the file has one version of each message: a longer history rewrites nothing of the shorter."""
    for number in range(20):
        chat.add_message(Message.user(f"message {number}"))
        await sessions.save(chat)
    assert rows(path, "SELECT sum(lines) FROM commits") == [(21,)]
