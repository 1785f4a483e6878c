"""Lessons L93 to L98: what agents leave in a session, and what must become of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

from bamboo_sessions import (
    InputError,
    Message,
    Native,
    PendingQuestion,
    Session,
    SessionRepository,
    StorageCorruptError,
    StorageUnavailableError,
    TokenUsageRecord,
    ToolCall,
)
from tests.lessons.watched import WatchedStorage, raw, texts

pytestmark = pytest.mark.anyio


async def test_L93_an_interrupted_tool_call_does_not_spoil_the_session(sessions: SessionRepository) -> None:
    """A call without a result is hidden from models, and a repair gives it one, unless its run still goes on."""
    call = Message.assistant("Let me look.", [ToolCall("call-1", "look")])
    await sessions.append("chat", Message.user("hello"), call, create=True)
    view = await sessions.model_view("chat")
    assert [(message.text, message.tool_calls) for message in view] == [("hello", ()), ("Let me look.", ())]
    await sessions.update("chat", lambda session: setattr(session, "run_state", "running"))
    (problem,) = (await sessions.check(repair=True)).problems
    assert (problem.kind, problem.repaired) == ("orphan_call", False)
    assert len((await sessions.get("chat")).messages) == 2
    await sessions.update("chat", lambda session: setattr(session, "run_state", "idle"))
    assert (await sessions.check(repair=True)).ok
    view = await sessions.model_view("chat")
    assert [message.role for message in view] == ["user", "assistant", "tool"]
    assert view[2].tool_success is False
    assert (await sessions.check()).problems == ()


async def test_L94_broken_tool_output_aborts_nothing(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A result with NUL and lone surrogates is stored, merged and deduplicated like any other."""
    output = "binary \0\ud83d tail"
    chat.add_message(Message.assistant(tool_calls=[ToolCall("call-1", "cat")]))
    result = Message.tool(output, tool_call_id="call-1", id="result")
    chat.add_message(result)
    await others.append("chat", Message.user("meanwhile"))
    await sessions.save(chat)
    assert (await others.append("chat", result)).duplicates == ("result",)
    found = await others.get("chat")
    assert texts(found) == ["hello", "meanwhile", "", output]
    assert found.messages[-1] == result


async def test_L95_what_is_not_understood_is_kept_as_it_is(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """An item of a format that nobody here knows comes back byte for byte; a foreign object is refused by name."""
    native = Native("some-framework/9", bytes(range(256)))
    chat.add_message(Message.assistant("answer", native=native))
    await sessions.save(chat)
    assert (await others.get("chat")).messages[-1].native == native

    class Custom:
        pass

    with pytest.raises(InputError, match="Custom"):
        Message.user("x", metadata={"custom": Custom()})
    with pytest.raises(InputError, match="Custom"):
        await sessions.set_value("chat", "custom", Custom())


async def test_L95_an_unknown_part_is_an_error_and_not_none(
    sessions: SessionRepository, chat: Session, path: Path
) -> None:
    """Stored content of a kind that this release doesn't know is reported, never dropped or read as empty."""
    with raw(path) as connection:
        connection.execute("""UPDATE commits SET body = CAST(replace(body, '"hello"', '[{"type":"scent"}]') AS BLOB)""")
    async with SessionRepository.open(path) as reopened:
        with pytest.raises(StorageCorruptError):
            await reopened.load("chat")


async def test_L97_an_answer_is_consumed_by_the_run_and_not_by_answering(
    sessions: SessionRepository, others: SessionRepository, chat: Session, storage: WatchedStorage
) -> None:
    """If the run never starts or its commit fails, the answer still waits; the run's own commit consumes it."""
    await sessions.ask("chat", PendingQuestion("call-1", "approve", "May I?", id="q1"))
    await others.answer("chat", "q1", "yes")
    run = await sessions.get("chat")
    run.consume_question("q1")
    run.add_message(Message.assistant("on it"))
    storage.fail("commit", StorageUnavailableError)
    with pytest.raises(StorageUnavailableError):
        await sessions.save(run)
    waiting = (await others.get("chat")).questions[0]
    assert (waiting.state, waiting.answer) == ("answered", "yes")
    await sessions.save(run)
    found = await others.get("chat")
    assert (found.questions[0].state, found.questions[0].answer) == ("consumed", "yes")
    assert texts(found)[-1] == "on it"


async def test_L98_each_model_call_is_counted_once(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """A record that is sent again, a cancelled caller and a fork change no sum."""
    record = TokenUsageRecord(id="call-1", model="m1", input_tokens=100, output_tokens=10)
    await sessions.append_token_usage_record("chat", record)
    await others.append_token_usage_record("chat", record)
    task = asyncio.create_task(
        sessions.append_token_usage_record("chat", TokenUsageRecord(id="call-2", input_tokens=5, output_tokens=1))
    )
    await anyio.lowlevel.checkpoint()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sessions.persistence.tasks.finish()
    fork = await others.fork("chat", new_id="fork")
    totals = await others.token_usage("chat")
    assert (totals.calls, totals.input_tokens, totals.output_tokens) == (2, 105, 11)
    assert (await others.token_usage(fork.id)).calls == 0
    assert (await others.token_usage()).calls == 2
