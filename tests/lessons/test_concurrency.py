"""Lessons L41 to L50: waiting for one another, cost, and answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import (
    Message,
    PendingQuestion,
    QuestionAlreadyAnsweredError,
    QuestionOption,
    Session,
    SessionRepository,
    SqliteStorage,
    StorageUnavailableError,
    ToolCall,
)
from bamboo_sessions.storage.commit import SessionKey
from tests.lessons.watched import WatchedStorage, raw, rows, texts

pytestmark = pytest.mark.anyio


async def test_L41_unrelated_sessions_do_not_wait_for_one_another(
    sessions: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """While a save of one session hangs, another one is saved, renamed, read and listed."""
    stall = storage.stall("commit")
    chat.add_message(Message.user("slow"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sessions.save, chat)
        await stall.reached.wait()
        with anyio.fail_after(60):
            await sessions.append("another", Message.user("quick"), create=True)
            await sessions.rename("another", "title")
            assert texts(await sessions.get("another")) == ["quick"]
            assert len((await sessions.list_sessions()).sessions) == 2
        stall.release()
    assert texts(await sessions.get("chat")) == ["hello", "slow"]


async def test_L42_what_changes_nothing_writes_nothing(
    sessions: SessionRepository, others: SessionRepository, chat: Session, path: Path
) -> None:
    """Saving a clean copy, setting what is set, appending what is there: no commit, and not a byte in the file."""
    await sessions.rename("chat", "title")
    await sessions.pin("chat")
    await sessions.set_value("chat", "key", [1])
    await sessions.save(chat)
    revision = (await sessions.get("chat")).revision
    log = path.with_name(path.name + "-wal")
    written = log.read_bytes().rstrip(b"\0")  # zeros: room for later commits
    key = SessionKey("default", "chat")
    token = others.storage.still_newest(key, revision, None)
    assert token is not None
    await sessions.save(chat)
    await sessions.save(await others.get("chat"))
    await sessions.checkpoint(chat)
    await sessions.rename("chat", "title")
    await sessions.pin("chat")
    await sessions.archive("chat", archived=False)
    await sessions.set_value("chat", "key", [1])
    await sessions.append("chat", Message.user("hello", id="hello"))
    await sessions.update("chat", lambda session: setattr(session, "model", "m1"))
    await sessions.replace_history("chat", [Message.user("hello", id="hello", created_at=chat.messages[0].created_at)])
    assert (await sessions.get("chat")).revision == revision
    assert log.read_bytes().rstrip(b"\0") == written
    assert others.storage.still_newest(key, revision, token) == token
    assert rows(path, "SELECT count(*) FROM commits") == [(revision,)]


async def test_L44_copies_of_a_long_transcript_share_their_messages(
    sessions: SessionRepository, storage: WatchedStorage
) -> None:
    """Readers get a transcript of 5,000 messages without copying one, also while a writer holds the lock."""
    session = await sessions.load_or_create("chat")
    session.messages.extend(Message.user(f"message {number}") for number in range(5_000))
    await sessions.save(session)
    stall = storage.stall("commit")
    session.add_message(Message.user("one more"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sessions.save, session)
        await stall.reached.wait()
        with anyio.fail_after(60):
            one, other = await sessions.get("chat"), await sessions.get("chat")
        stall.release()
    assert len(one.messages) == len(other.messages) == 5_000
    assert one.messages._base is other.messages._base is one.copy().messages._base
    assert one.messages[2_500] is other.messages[2_500]


async def test_L45_a_writer_waits_for_another_process(sessions: SessionRepository, chat: Session, path: Path) -> None:
    """While another connection holds the write lock a save waits; it isn't told "database is locked" at once."""
    chat.add_message(Message.user("patient"))
    with raw(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(sessions.save(chat))
        done, _ = await asyncio.wait([saving], timeout=0.1)
        connection.execute("COMMIT")
    assert not done
    await saving
    assert texts(await sessions.get("chat")) == ["hello", "patient"]


async def test_L45_waiting_has_an_end_and_a_clear_error(chat: Session, path: Path) -> None:
    """When the time to wait is over, the error says that it can be tried again, and nothing was written."""
    async with SessionRepository.open(SqliteStorage(path, busy_timeout_ms=1)) as impatient:
        with raw(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailableError) as caught:
                await impatient.append("chat", Message.user("x"))
            assert texts(await impatient.get("chat")) == ["hello"]  # readers never wait
        assert caught.value.retryable
        assert not caught.value.outcome_unknown
        await impatient.append("chat", Message.user("y"))


@pytest.fixture
async def asked(sessions: SessionRepository, chat: Session) -> Session:
    """The session with a call that waits for a person's answer; options have ids."""
    chat.add_message(Message.assistant(tool_calls=[ToolCall("call-1", "confirm")]))
    options = (QuestionOption("allow", "Allow it"), QuestionOption("deny", "Don't allow it"))
    chat.set_pending_question(
        PendingQuestion("call-1", "confirm", "May I?", options=options, allow_custom=False, id="q1")
    )
    await sessions.save(chat)
    return chat


async def test_L47_of_two_people_one_answers(
    sessions: SessionRepository, others: SessionRepository, asked: Session
) -> None:
    """Two different answers at the same moment, from two processes: one wins, the other is told, one result."""
    answers = await asyncio.gather(
        sessions.answer("chat", "q1", "allow"), others.answer("chat", "q1", "deny"), return_exceptions=True
    )
    refused = [each for each in answers if isinstance(each, QuestionAlreadyAnsweredError)]
    won = [each for each in answers if isinstance(each, Session)]
    assert (len(refused), len(won)) == (1, 1)
    found = await others.get("chat")
    assert found.questions == won[0].questions
    assert refused[0].answer == found.questions[0].answer
    assert texts(found) == ["hello", "", found.questions[0].answer]
    assert found.messages[-1].tool_call_id == "call-1"


async def test_L48_an_answer_is_known_by_its_option_not_by_its_text(
    sessions: SessionRepository, others: SessionRepository, asked: Session
) -> None:
    """A label and the id of its option are one answer; a label of another option isn't."""
    await sessions.answer("chat", "q1", "Allow it")
    question = (await others.get("chat")).questions[0]
    assert question.option_id == "allow"
    await others.answer("chat", "q1", "allow")
    with pytest.raises(QuestionAlreadyAnsweredError):
        await others.answer("chat", "q1", "Don't allow it")
    assert texts(await others.get("chat")) == ["hello", "", "Allow it"]


async def test_L48_the_same_answer_id_is_the_same_answer_whatever_its_wording(
    sessions: SessionRepository, others: SessionRepository, asked: Session
) -> None:
    """A client that sends its answer again, in another language, succeeds and changes nothing."""
    await sessions.answer("chat", "q1", "allow", answer_id="click-7")
    again = await others.answer("chat", "q1", "deny", answer_id="click-7")
    assert again.questions[0].option_id == "allow"


async def test_L50_a_consumed_question_stays_consumed(
    sessions: SessionRepository, others: SessionRepository, asked: Session
) -> None:
    """The save of a copy in which a question is still open re-opens it at no later stage."""
    await others.answer("chat", "q1", "allow")
    run = await others.get("chat")
    run.consume_question("q1")
    await others.save(run)
    asked.add_message(Message.assistant("stale"))
    await sessions.save(asked)
    found = await others.get("chat")
    assert [question.state for question in found.questions] == ["consumed"]
    assert found.pending_question is None
    late = Session("chat")
    late.set_pending_question(PendingQuestion("call-1", "confirm", "May I?", id="q1"))
    await sessions.save(late)
    assert (await others.get("chat")).pending_question is None


async def test_L50_a_stale_copy_drops_no_open_question(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A copy that doesn't know of a question, and one that withdrew its own, leave another's question open."""
    await others.ask("chat", PendingQuestion("call-9", "ask", "New?", id="q9"))
    chat.set_pending_question(PendingQuestion("call-1", "ask", "Mine?", id="q1"))
    chat.clear_pending_question()
    await sessions.save(chat)
    found = await others.get("chat")
    assert found.pending_question is not None
    assert found.pending_question.id == "q9"
