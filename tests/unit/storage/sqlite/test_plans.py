"""What every commit and page asks is answered by an index, without sorting (L92)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import apsw
import pytest

from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import Commit, HistorySource, State
from bamboo_sessions.storage.query import Cursor, ListQuery, Order, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.history import reads, windows
from bamboo_sessions.storage.sqlite.sessions import listing
from bamboo_sessions.storage.sqlite.sessions.commits import apply
from bamboo_sessions.storage.sqlite.transactions.connection import value_of
from tests.unit.storage.sqlite.commits import START, appending, head_of, insertion, key_of

pytestmark = pytest.mark.anyio


class _Plans:
    """The plan of each statement that a connection executes."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.steps: list[str] = []

    def __enter__(self) -> list[str]:
        self.connection.exec_trace = self._trace
        return self.steps

    def __exit__(self, *_: object) -> None:
        self.connection.exec_trace = None

    def _trace(self, cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
        if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH", "INSERT")):
            explained = cursor.connection
            explained.exec_trace = None
            found = explained.execute(f"EXPLAIN QUERY PLAN {sql}", bindings).fetchall()  # type: ignore[arg-type]
            self.steps += [f"{step[3]}" for step in found]
            explained.exec_trace = self._trace
        return True


_TABLES = {"sessions", "heads", "commits", "ids", "shapes", "questions", "token_usage", "records"}


def _check(steps: list[str]) -> None:
    """No table is scanned; sorted are only one message's versions, one call's messages, one commit's new rows."""
    _check_seeks(steps)
    few: list[str] = []
    for step in steps:
        if step.startswith("SEARCH"):
            few = [*few[-1:], step]
        if "TEMP B-TREE" in step:
            assert "message_id=?" in few[-1] or "call_id=?" in few[0] or "rowid>? AND rowid<?" in few[-1], (few, step)


def _check_seeks(steps: list[str]) -> None:
    assert steps
    for step in steps:
        assert not (step.startswith("SCAN ") and step.split()[1] in _TABLES), step


async def test_a_commit_scans_and_sorts_nothing(storage: SqliteStorage) -> None:
    """Appending, joining a call, inserting, editing, removing and forking seek in indexes only."""
    call = Message.assistant("", [ToolCall("c", "f")], id="call")
    await storage.commit(appending("s", Message.user("x", id="a"), call, Message.user("x", id="b")))

    def work(connection: apsw.Connection) -> None:
        with _Plans(connection) as steps:
            apply(connection, appending("s", Message.user("y")), START)
            apply(connection, appending("s", Message.tool("", tool_call_id="c")), START)
            apply(connection, appending("s", insertions=(insertion([Message.user("z")], "a"),)), START)
            apply(
                connection,
                appending("s", edits=insertion([Message.user("e", id="b")]).messages, removals=("a",)),
                START,
            )
        _check(steps)
        with _Plans(connection) as steps:
            fork = HistorySource("s", at_revision=2, through_message_id="call")
            apply(connection, appending("fork", initial_head=head_of("fork"), history_from=fork), START)
        _check_seeks(steps)  # what is copied is sorted once

    await storage._engine.write(work)


async def test_L132_a_fork_costs_as_much_as_what_it_copies(storage: SqliteStorage) -> None:
    """Twice as many messages with tool calls take twice as many steps of SQLite, while all other writers wait."""
    counts = []
    for size in (500, 1_000):
        calls = [Message.assistant("", [ToolCall(f"c{number}", "f")]) for number in range(size)]
        await storage.commit(appending(f"s{size}", *calls))
        fork = appending(f"f{size}", initial_head=head_of(f"f{size}"), history_from=HistorySource(f"s{size}", 1, None))
        counts.append(await storage._engine.write(partial(_steps_of, commit=fork)))
    noted = "SELECT sum(lines) FROM commits"
    assert await storage._engine.read(partial(value_of, sql=noted)) == 2 * (500 + 1_000)
    assert counts[1] < 2.5 * counts[0]


async def test_a_transaction_reads_only_what_is_new_to_its_caller(storage: SqliteStorage) -> None:
    """With a known state, planning under the write lock takes no steps for what that has already."""
    for number in range(400):
        await storage.commit(appending("s", Message.user("x", id=f"m{number}")))
    known = await storage.read(key_of("s"))
    assert isinstance(known, Snapshot)
    await storage.commit(appending("s", Message.user("new", id="new")))
    counts, seen = [], []

    def plan(state: State) -> None:
        assert isinstance(state, Snapshot)
        seen.append([message.id for message in state.messages])

    connection = storage._engine._writer.connection()
    for base in (None, known):
        with _counted(connection) as steps:
            assert await storage.transact(key_of("s"), plan, base) is None
        counts.append(len(steps))
    assert seen[0] == seen[1]
    assert seen[0][-1] == "new"
    assert 20 * counts[1] < counts[0]


@contextmanager
def _counted(connection: apsw.Connection) -> Iterator[list[None]]:
    """One entry for every hundred of SQLite's steps."""
    steps: list[None] = []

    def count() -> bool:
        steps.append(None)
        return False

    connection.set_progress_handler(count, 100)
    try:
        yield steps
    finally:
        connection.set_progress_handler(None)


def _steps_of(connection: apsw.Connection, commit: Commit) -> int:
    """How many hundreds of SQLite's steps a commit takes."""
    with _counted(connection) as steps:
        apply(connection, commit, START)
    return len(steps)


@pytest.mark.parametrize("order", ["-updated_at", "updated_at", "-created_at", "created_at"])
@pytest.mark.parametrize("owner", [None, "o"])
async def test_the_next_page_of_a_listing_is_a_seek(storage: SqliteStorage, order: Order, owner: str | None) -> None:
    """Paging by key seeks in the index of its order; that of one owner's sessions by update too."""
    if owner and "created" in order:
        return  # sorted: the rare case
    query = ListQuery("default", order=order, owner=owner, cursor=Cursor(order, 5, "s"))
    await storage.commit(appending("s", Message.user("x")))

    def work(connection: apsw.Connection) -> list[str]:
        with _Plans(connection) as steps:
            listing.list_heads(connection, query)
        return steps

    steps = storage._engine.read_on_loop(work)
    _check(steps)
    wanted = "sessions_owner" if owner else f"sessions_{order.strip('-')[:7]}"
    (seek,) = [step for step in steps if wanted in step]
    assert "<" in seek or ">" in seek


@pytest.mark.parametrize(("passing", "index"), [(2, "sessions_pinned"), (9, "sessions_updated")])
async def test_a_filter_that_few_pass_uses_its_own_index(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, passing: int, index: str
) -> None:
    """Few pinned sessions are looked up and sorted; of many, the order of the page is walked. Both give the same."""
    monkeypatch.setattr(listing, "FEW_SESSIONS_MAX", 5)
    for number in range(12):
        at = START + timedelta(seconds=number)
        head = head_of(f"s{number}", pinned=number < passing)
        await storage.commit(appending(head.id, Message.user("x"), at=at, initial_head=head))

    def work(connection: apsw.Connection) -> tuple[list[str], list[str]]:
        with _Plans(connection) as steps:
            page = listing.list_heads(connection, ListQuery("default", pinned=True))
        return steps, [head.id for head in page.heads]

    steps, ids = storage._engine.read_on_loop(work)
    assert any(index in step for step in steps if "pinned" not in step or index == "sessions_pinned")
    assert ids == [f"s{number}" for number in range(passing - 1, -1, -1)]


async def test_reads_and_windows_are_seeks(storage: SqliteStorage) -> None:
    """Reading a session, the newest messages and those around one seek in indexes, without sorting."""
    await storage.commit(appending("s", *(Message.user("x", id=f"m{number}") for number in range(9))))
    known = await storage.read(key_of("s"))
    await storage.commit(appending("s", Message.user("new")))

    def work(connection: apsw.Connection) -> list[str]:
        with _Plans(connection) as steps:
            reads.read(connection, key_of("s"))
            reads.read_newer(connection, key_of("s"), known)  # type: ignore[arg-type]
            queries = (WindowQuery(3), WindowQuery(3, after="m2"), WindowQuery(3, before="m5"))
            for query in (*queries, WindowQuery(3, at_revision=1), WindowQuery(3, after="m2", at_revision=1)):
                windows.read_window(connection, key_of("s"), query)
        return steps

    steps = storage._engine.read_on_loop(work)
    _check(steps)
