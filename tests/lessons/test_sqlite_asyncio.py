"""Lessons L70 to L73: SQLite, Python and asyncio."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import anyio
import apsw
import pytest

from bamboo_sessions import InputError, Message, Session, SessionRepository, ToolCall
from tests.lessons.watched import raw, rows

pytestmark = pytest.mark.anyio


def test_L70_the_sqlite_library_has_the_fix_of_the_log_reset_race() -> None:
    """The SQLite that apsw brings is 3.51.3 or newer."""
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)


async def test_L71_the_process_never_loads_a_second_sqlite(path: Path) -> None:
    """A program that uses the package has the `sqlite3` module not even imported."""
    script = (
        "import asyncio, sys\n"
        "from bamboo_sessions import Message, SessionRepository\n"
        "async def main():\n"
        "    async with SessionRepository.open(f'sqlite:///{sys.argv[1]}') as sessions:\n"
        "        await sessions.append('chat', Message.user('hello'), create=True)\n"
        "        await sessions.check()\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if 'sqlite3' in name])\n"
    )
    done = await anyio.run_process([sys.executable, "-c", script, str(path)])
    assert done.stdout.decode().strip() == "[]"


async def test_L72_cancelling_at_any_moment_leaves_no_transaction_open(
    sessions: SessionRepository, others: SessionRepository, chat: Session, path: Path
) -> None:
    """Of 200 saves and appends, cancelled at different moments, each is whole or not there, and nothing is stuck."""
    tasks: list[asyncio.Task[object]] = []
    for number in range(100):
        copy = await sessions.get("chat")
        copy.messages.extend([Message.user(f"s{number}"), Message.assistant(f"s{number}")])
        pair = (Message.user(f"a{number}"), Message.assistant(f"a{number}"))
        save = asyncio.create_task(sessions.save(copy))
        append = asyncio.create_task(sessions.append("chat", *pair))
        for _ in range(number % 10):
            await anyio.lowlevel.checkpoint()
        for task in (save, append):
            task.cancel()
            tasks.append(task)
    await asyncio.gather(*tasks, return_exceptions=True)
    await sessions.persistence.tasks.finish()
    with raw(path) as connection:
        connection.set_busy_timeout(10_000)  # the log may just be made longer; one left open would be so for ever
        connection.execute("BEGIN IMMEDIATE; COMMIT")
    assert sessions.persistence.stats()["locks"] == 0
    await others.append("chat", Message.user("end"))
    said = [message.text for message in (await sessions.get("chat")).messages]
    assert said == [message.text for message in (await others.get("chat")).messages]
    assert (said[0], said[-1]) == ("hello", "end")
    assert said[1:-1:2] == said[2:-1:2]
    assert len(set(said[1:-1])) * 2 == len(said[1:-1])


NASTY = 'nul \0 lone \ud800 pair \U0001f600 quote " back \\ line \n end \udfff'


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_L73_any_text_comes_back_as_it_went_in(url: str, path: Path) -> None:
    """NUL and lone surrogates survive in messages, calls, results, titles, values, questions and records."""
    url = url if url == "memory://" else f"sqlite:///{path}"
    async with SessionRepository.open(url) as sessions:
        session = await sessions.load_or_create("chat", model=NASTY)
        session.add_message(Message.user(NASTY, name=NASTY, metadata={NASTY: [NASTY]}))
        session.add_message(Message.assistant(NASTY, tool_calls=[ToolCall(NASTY, NASTY, {NASTY: NASTY})]))
        session.add_message(Message.tool(NASTY, tool_call_id=NASTY))
        session.metadata["value"] = {NASTY: NASTY}
        await sessions.save(session)
        await sessions.rename("chat", NASTY)
        await sessions.set_value("chat", "person", NASTY)
        await sessions.append("chat", Message.tool(NASTY, tool_call_id=NASTY, name="again"))
        found = await sessions.load("chat", fresh=True)
        assert found is not None
        assert [message.text for message in found.messages] == [NASTY] * 4
        assert found.messages[0].metadata == {NASTY: [NASTY]}
        assert found.messages[1].tool_calls == (ToolCall(NASTY, NASTY, {NASTY: NASTY}),)
        assert (found.title, found.model) == (NASTY, NASTY)
        assert found.metadata == {"value": {NASTY: NASTY}, "person": NASTY}
        assert (await sessions.check()).ok
        assert [head.title for head in (await sessions.list_sessions()).sessions] == [NASTY]


async def test_L73_bodies_are_stored_as_bytes(sessions: SessionRepository, chat: Session, path: Path) -> None:
    """Messages and heads are blobs, so that no engine's text type can refuse or change them."""
    await sessions.append("chat", Message.user(NASTY))
    assert rows(path, "SELECT DISTINCT typeof(body) FROM commits") == [("blob",)]
    assert rows(path, "SELECT DISTINCT typeof(document) FROM heads") == [("blob",)]


async def test_L73_what_cannot_be_stored_is_refused_at_the_door(sessions: SessionRepository, chat: Session) -> None:
    """A value that has no JSON form is named in an error before anything is written."""
    for value in (float("nan"), object(), {1: "a key that isn't text"}, b"bytes"):
        chat.metadata["bad"] = value
        with pytest.raises(InputError, match="metadata"):
            await sessions.save(chat)
        with pytest.raises(InputError):
            await sessions.set_value("chat", "bad", value)
    assert (await sessions.get("chat")).revision == 1
