"""Lessons L80 to L92, L96 and L99: what today's frameworks do to a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import apsw
import pytest

from bamboo_sessions import (
    InputError,
    InvalidMessageError,
    Message,
    NoPendingQuestionError,
    PendingQuestion,
    PreconditionFailedError,
    SchemaVersionError,
    Session,
    SessionNotFoundError,
    SessionRepository,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
    TokenUsageRecord,
    ToolCall,
)
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.storage.sqlite.transactions import migrations
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from tests.lessons.watched import raw, rows, texts

pytestmark = pytest.mark.anyio


async def test_L80_two_managers_of_one_session_append_ten_messages_each(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Two processes that restored the same session and add ten messages each end with all twenty."""
    one, other = await sessions.get("chat"), await others.get("chat")
    for number in range(10):
        one.add_message(Message.user(f"one {number}"))
        await sessions.save(one)
        other.add_message(Message.user(f"other {number}"))
        await others.save(other)
    found = texts(await sessions.get("chat"))
    assert len(found) == 21
    assert [text for text in found if text.startswith("one")] == [f"one {number}" for number in range(10)]
    assert [text for text in found if text.startswith("other")] == [f"other {number}" for number in range(10)]


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_L81_five_concurrent_turns_on_one_thread_keep_every_message(url: str, path: Path) -> None:
    """Five turns, each from its own copy of the same revision, are all there, each in one piece."""
    url = url if url == "memory://" else f"sqlite:///{path}"
    async with SessionRepository.open(url) as sessions:
        await sessions.append("chat", Message.system("Be brief."), create=True)
        copies = [await sessions.get("chat") for _ in range(5)]

        async def turn(copy: Session, number: int) -> None:
            copy.messages.extend([Message.user(f"q{number}"), Message.assistant(f"a{number}")])
            await sessions.save(copy)

        async with anyio.create_task_group() as tasks:
            for number, copy in enumerate(copies):
                tasks.start_soon(turn, copy, number)
        found = texts(await sessions.get("chat"))[1:]
    assert sorted(found[::2]) == [f"q{number}" for number in range(5)]
    assert found[1::2] == [text.replace("q", "a") for text in found[::2]]


async def test_L82_the_file_grows_with_what_is_new(tmp_path: Path) -> None:
    """Four hundred short turns take about four times the room of one hundred, not sixteen times."""

    async def size(turns: int) -> int:
        path = tmp_path / f"{turns}.db"
        async with SessionRepository.open(path, durability="relaxed") as sessions:
            session = await sessions.load_or_create("chat")
            for number in range(turns):
                session.messages.extend([Message.user(f"question {number}"), Message.assistant("answer" * 20)])
                await sessions.save(session)
        return path.stat().st_size

    small, large = await size(100), await size(400)
    assert large < 5 * small
    assert large < 400 * 2_000


async def test_L83_a_rename_survives_two_stale_whole_session_saves(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """After a rename, two old copies are saved: the title stays, and so does the first one's state."""
    first, second = await sessions.get("chat"), await others.get("chat")
    await others.rename("chat", "by a person")
    first.metadata["state"] = {"step": 1}
    first.workspace = "/work"
    await sessions.save(first)
    second.metadata["other"] = True
    await others.save(second)
    found = await sessions.get("chat")
    assert (found.title, found.workspace) == ("by a person", "/work")
    assert found.metadata == {"state": {"step": 1}, "other": True}


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_L84_five_concurrent_appends_are_five_messages_on_every_engine(url: str, path: Path) -> None:
    """Blind appends at the same moment all succeed, with revisions of their own, whatever the engine."""
    url = url if url == "memory://" else f"sqlite:///{path}"
    async with SessionRepository.open(url) as sessions:
        await sessions.append("chat", Message.user("first"), create=True)
        done = await asyncio.gather(*(sessions.append("chat", Message.user(f"m{number}")) for number in range(5)))
        assert sorted(each.revision for each in done) == [2, 3, 4, 5, 6]
        assert sorted(texts(await sessions.get("chat"))[1:]) == [f"m{number}" for number in range(5)]


async def test_L85_many_openers_of_a_new_file_all_succeed(path: Path) -> None:
    """Sixteen repositories opened on one new file at the same moment all work (32 processes: see multiprocess)."""

    async def open_and_append(number: int) -> None:
        async with SessionRepository.open(path) as sessions:
            await sessions.append(f"chat-{number}", Message.user("hello"), create=True)

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(open_and_append, number)
    async with SessionRepository.open(path) as sessions:
        assert len((await sessions.list_sessions()).sessions) == 16


async def test_L86_a_history_is_replaced_as_a_whole_or_not_at_all(
    sessions: SessionRepository, others: SessionRepository, chat: Session, path: Path
) -> None:
    """If the second message of a new history can't be stored, the old history stays as it was."""
    broken = Message.user("two halves that would come back as one sign: \ud83d\ude00")
    with pytest.raises(InvalidMessageError):
        await sessions.replace_history("chat", [Message.user("fine"), broken])
    assert texts(await others.get("chat")) == ["hello"]
    with raw(path) as connection:
        connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON commits WHEN instr(NEW.body, 'second') "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(StorageError):
        await sessions.replace_history("chat", [Message.user("first"), Message.user("second", id="second")])
    assert texts(await sessions.get("chat")) == texts(await others.get("chat")) == ["hello"]


async def test_L87_a_whole_save_is_the_unit_of_merging(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Turns of three messages that two processes save from stale copies stand in one piece each."""

    async def run(repository: SessionRepository, name: str) -> None:
        copies = [await repository.get("chat") for _ in range(3)]
        for number in range(9):
            copy = copies[number % 3]
            copy.add_message(Message.user(f"{name}{number}"))
            copy.add_message(Message.assistant(f"{name}{number}", [ToolCall(f"call-{name}{number}", "look")]))
            copy.add_message(Message.tool(f"{name}{number}", tool_call_id=f"call-{name}{number}"))
            await repository.save(copy)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, sessions, "a")
        tasks.start_soon(run, others, "b")
    found = texts(await sessions.get("chat"))[1:]
    assert found[::3] == found[1::3] == found[2::3]
    assert sorted(found[::3]) == sorted(f"{name}{number}" for name in "ab" for number in range(9))


async def test_L88_revisions_decide_and_times_are_exact(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Times that a float can't hold come back to the microsecond, and no time is ever taken for a version."""
    moment = datetime(2026, 3, 1, 12, 30, 15, 999_999, tzinfo=UTC)
    for offset in range(50):
        at = moment + timedelta(microseconds=offset * 7)
        await sessions.create(Session(f"at-{offset}", created_at=at, updated_at=at))
        found = await others.get(f"at-{offset}")
        assert (found.created_at, found.updated_at) == (at, at)
        found.add_message(Message.user("hello", created_at=at))
        await others.save(found, if_revision=1)
        assert (await sessions.get(found.id)).messages[0].created_at == at


async def test_L89_a_writers_own_changes_leave_its_copy_usable(sessions: SessionRepository, chat: Session) -> None:
    """After each save the caller's own object is up to date, so that strict saves in a row need no retry loop."""
    for number in range(10):
        chat.add_message(Message.user(f"message {number}"))
        await sessions.save(chat, if_revision=chat.revision)
    await sessions.rename("chat", "own rename")
    await sessions.append("chat", Message.user("own append"))
    chat.add_message(Message.user("last"))
    await sessions.save(chat)
    assert (chat.title, texts(chat)[-2:]) == ("own rename", ["own append", "last"])
    await sessions.save(chat, if_revision=chat.revision)


async def test_L90_a_failed_write_leaves_no_transaction_open(
    sessions: SessionRepository, others: SessionRepository, chat: Session, path: Path
) -> None:
    """After a write that SQLite itself refused, everybody writes on at once."""
    with raw(path) as connection:
        connection.execute("CREATE TRIGGER stop BEFORE INSERT ON commits BEGIN SELECT RAISE(ROLLBACK, 'no'); END")
    chat.add_message(Message.user("refused"))
    for _ in range(3):
        with pytest.raises(StorageError):
            await sessions.save(chat)
    with raw(path) as connection:
        connection.set_busy_timeout(10_000)
        connection.execute("DROP TRIGGER stop")  # raises if a transaction were open
    await others.append("chat", Message.user("theirs"))
    await sessions.save(chat)
    assert texts(await others.get("chat")) == ["hello", "theirs", "refused"]


async def test_L91_a_paused_iteration_blocks_nobody(sessions: SessionRepository, others: SessionRepository) -> None:
    """A listing that stopped half-way holds no lock: both processes write, and it goes on afterwards."""
    for number in range(20):
        await sessions.create(Session(f"chat-{number}"))
    iteration = sessions.iter_sessions(page_size=5, order="created_at")
    seen = [(await anext(iteration)).id for _ in range(7)]
    with anyio.fail_after(60):
        for repository in (sessions, others):
            await repository.append("chat-3", Message.user("written meanwhile"))
        await others.delete("chat-19")
    seen += [head.id async for head in iteration]
    assert seen == [f"chat-{number}" for number in range(19)]


async def test_L92_a_listing_never_touches_messages(sessions: SessionRepository, path: Path) -> None:
    """With every stored message destroyed, sessions are listed, counted and filtered as before."""
    for number in range(50):
        await sessions.append(f"chat-{number}", Message.user("x" * 1_000), create=True)
    with raw(path) as connection:
        connection.execute("UPDATE commits SET body = x'00' WHERE lines > 0")
    async with SessionRepository.open(path) as reopened:
        page = await reopened.list_sessions(limit=20, total=True)
        assert page.total == 50
        assert [head.message_count for head in page.sessions] == [1] * 20
        assert len([head async for head in reopened.iter_sessions(page_size=7)]) == 50
        with pytest.raises(StorageCorruptError):
            await reopened.load("chat-0")


async def test_L96_an_older_release_refuses_a_newer_file_clearly(
    sessions: SessionRepository, chat: Session, path: Path
) -> None:
    """A file with a higher schema version isn't opened and isn't changed; the error names both versions."""
    await sessions.aclose()
    with raw(path) as connection:
        current = connection.execute("PRAGMA user_version").fetchall()[0][0]
        connection.execute("PRAGMA user_version = 999").fetchall()
    before = path.read_bytes()
    with pytest.raises(SchemaVersionError) as caught:
        await SessionRepository.open(path)
    assert (caught.value.found, caught.value.supported) == (999, current)
    assert path.read_bytes() == before


async def test_L96_another_programs_database_is_refused(path: Path) -> None:
    """A database that isn't ours is left alone."""
    with raw(path) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    with pytest.raises(InputError):
        await SessionRepository.open(path)
    assert rows(path, "SELECT name FROM sqlite_schema") == [("invoices",)]


ELSEWHERE: dict[str, Callable[[SessionRepository], Awaitable[object]]] = {
    "get": lambda repository: repository.get("chat"),
    "append": lambda repository: repository.append("chat", Message.user("x")),
    "update": lambda repository: repository.update("chat", Session.clear_pending_question),
    "rename": lambda repository: repository.rename("chat", "x"),
    "pin": lambda repository: repository.pin("chat"),
    "archive": lambda repository: repository.archive("chat"),
    "set_value": lambda repository: repository.set_value("chat", "key", 1),
    "remove_value": lambda repository: repository.remove_value("chat", "key"),
    "set_owner": lambda repository: repository.set_owner("chat", "ann"),
    "title": lambda repository: repository.apply_generated_title("chat", "x"),
    "ask": lambda repository: repository.ask("chat", PendingQuestion("c", "t", "q")),
    "answer": lambda repository: repository.answer("chat", "q1", "x"),
    "truncate": lambda repository: repository.truncate("chat", after_message_id="hello"),
    "clear": lambda repository: repository.clear("chat"),
    "replace_history": lambda repository: repository.replace_history("chat", []),
    "remove_last": lambda repository: repository.remove_last("chat"),
    "history": lambda repository: repository.history("chat"),
    "history after": lambda repository: repository.history("chat", after="hello"),
    "model_view": lambda repository: repository.model_view("chat"),
    "fork": lambda repository: repository.fork("chat"),
    "usage": lambda repository: repository.append_token_usage_record("chat", TokenUsageRecord()),
    "token_usage": lambda repository: repository.token_usage("chat"),
    "record": lambda repository: repository.records.put("kind", "key", b"x", session="chat"),
    "child": lambda repository: repository.create(
        Session("child", namespace="other", parent_session_id="chat", root_session_id="chat", kind="child")
    ),
}


@pytest.mark.parametrize("call", ELSEWHERE)
async def test_L99_another_namespaces_session_does_not_exist(
    sessions: SessionRepository, chat: Session, path: Path, call: str
) -> None:
    """Whatever a handle of another namespace does with the id, it finds no session and changes nothing."""
    await sessions.ask("chat", PendingQuestion("call-1", "ask", "?", id="q1"))
    before = freeze(await sessions.get("chat"))
    commits = rows(path, "SELECT count(*) FROM commits")
    for other in (sessions.in_namespace("other"), await SessionRepository.open(path, namespace="other")):
        with pytest.raises((SessionNotFoundError, NoPendingQuestionError)):
            await ELSEWHERE[call](other)
        if other.storage is not sessions.storage:
            await other.aclose()
    after = await sessions.load("chat", fresh=True)
    assert after is not None
    assert freeze(after).head == before.head
    assert rows(path, "SELECT count(*) FROM commits") == commits


async def test_L99_one_id_in_two_namespaces_is_two_sessions(
    sessions: SessionRepository, others: SessionRepository, chat: Session
) -> None:
    """Loads, listings, deletions, clean-ups, records and sums of one namespace never reach into the other."""
    other = others.in_namespace("other")
    assert await other.load("chat") is None
    assert await other.load_merged("chat") is None
    assert not await other.delete("chat")
    assert (await other.list_sessions()).sessions == ()
    assert (await other.cleanup("all")).deleted == ()
    with pytest.raises(InputError):
        await other.save(chat)
    with pytest.raises(InputError):
        await sessions.save(Session("new", namespace="other"))
    await other.append("chat", Message.user("theirs"), create=True)
    await other.append_token_usage_record("chat", TokenUsageRecord(input_tokens=7))
    await other.records.put("kind", "key", b"theirs", shared="user:1")
    assert await sessions.records.get("kind", "key", shared="user:1") is None
    assert (await sessions.token_usage()).calls == 0
    assert texts(await sessions.get("chat")) == ["hello"]
    assert texts(await other.get("chat")) == ["theirs"]
    await sessions.delete("chat")
    assert texts(await other.get("chat")) == ["theirs"]
    with pytest.raises(PreconditionFailedError):
        await other.append("chat", Message.user("x"), if_revision=7)


def test_L85_a_schema_that_appears_while_one_looks_is_no_foreign_database(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that looks at a new file, while another one makes the schema in it, doesn't take it for foreign."""
    others: list[str] = []

    def be_faster(connection: apsw.Connection, sql: str) -> object:
        value: object = value_of(connection, sql)
        if sql == "PRAGMA application_id" and not others:
            others.append(sql)
            with suppress(StorageUnavailableError):
                migrations.prepare(str(path), busy_timeout_ms=0)
        return value

    monkeypatch.setattr(migrations, "value_of", be_faster)
    migrations.prepare(str(path), busy_timeout_ms=1_000)
    assert others
    assert rows(path, "PRAGMA user_version") == [(len(migrations.STEPS),)]


def test_L85_whoever_waited_for_the_lock_finds_the_schema_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that saw an empty file, and then had to wait for another one to make the schema, makes it no more."""
    migrate = migrations._migrate

    def be_slower(connection: apsw.Connection, path: str) -> None:
        monkeypatch.undo()
        migrations.prepare(path, busy_timeout_ms=1_000)
        migrate(connection, path)

    monkeypatch.setattr(migrations, "_migrate", be_slower)
    migrations.prepare(str(path), busy_timeout_ms=1_000)
    assert rows(path, "SELECT count(*) FROM meta") == [(6,)]
