"""The log as history: rows of commits, ids that are looked for, places far back, and what a change rewrites."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from bamboo_sessions import Message, Session, SessionRepository, ToolCall
from bamboo_sessions.domain.errors import MessageIdConflictError
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.commit import HistorySource, RecordScope, RecordWrite
from bamboo_sessions.storage.query import Window, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.sessions.commits import apply
from bamboo_sessions.storage.sqlite.transactions.connection import rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import IDS_COMMITS, ROW_LINES_MAX
from tests.unit.storage.sqlite.commits import START, appending, head_of, insertion, key_of

pytestmark = pytest.mark.anyio


async def _ids(storage: SqliteStorage, session: str = "s") -> list[str]:
    state = await storage.read(key_of(session))
    assert isinstance(state, Snapshot)
    return [message.id for message in state.messages]


async def test_a_long_commit_has_several_rows_and_is_one_change(storage: SqliteStorage) -> None:
    """More messages than a row takes are read whole and by windows, and the feed tells one commit with all of them."""
    many = [f"m{number}" for number in range(2 * ROW_LINES_MAX + 10)]
    await storage.commit(appending("s", Message.user("x", id="first")))
    await storage.commit(appending("s", *(Message.user("x", id=id_) for id_ in many)))
    await storage.commit(appending("s", removals=(many[3],)))
    await storage.commit(appending("s", Message.user("x", id="last")))
    assert await storage._engine.read(lambda c: value_of(c, "SELECT count(*) FROM commits")) == 6
    assert await _ids(storage) == ["first", *many[:3], *many[4:], "last"]
    window = await storage.read_window(key_of("s"), WindowQuery(3, after=many[ROW_LINES_MAX - 2]))
    assert isinstance(window, Window)
    assert [message.id for message in window.messages] == many[ROW_LINES_MAX - 1 : ROW_LINES_MAX + 2]
    old = await storage.read_window(key_of("s"), WindowQuery(1, before=many[4], at_revision=2))
    assert isinstance(old, Window)
    assert ([message.id for message in old.messages], old.message_count) == ([many[3]], len(many) + 1)
    changes = (await storage.read_changes("default", None, 10)).changes
    assert [change.message_ids for change in changes] == [("first",), tuple(many), (), ("last",)]


@pytest.mark.parametrize("is_indexed", [False, True])
async def test_known_ids_are_found_in_and_behind_the_index(storage: SqliteStorage, is_indexed: bool) -> None:
    """G4: ids of any form are recognised, removed and edited versions too, whether the index has them yet or not."""
    new = Message.user("new")
    await storage.commit(appending("s", Message.user("x", id="a"), Message.user("x", id="b"), new))
    edits = insertion([Message.user("y", id="b")]).messages
    await storage.commit(appending("s", edits=edits, removals=("a",)))
    if is_indexed:
        await storage._engine.write(ids.fill)
    for message in (Message.user("x", id="a"), Message.user("x", id="b"), Message.user("y", id="b"), new):
        committed = await storage.commit(appending("s", message, is_first_try=True))
        assert (committed.changed, committed.duplicates) == (False, (message.id,))
    for id_ in ("a", "b", new.id):
        with pytest.raises(MessageIdConflictError):
            await storage.commit(appending("s", Message.user("other", id=id_), is_first_try=True))
    with pytest.raises(MessageIdConflictError):
        await storage.commit(appending("s", Message.user("1", id="c"), Message.user("2", id="c"), is_first_try=True))


async def test_only_ids_that_rise_move_the_mark(storage: SqliteStorage) -> None:
    """An id "zzz" doesn't make all later ids look new, and an older UUIDv7 of another saver is asked for."""
    early, late = Message.user("early"), Message.user("late")
    await storage.commit(appending("s", late, Message.user("x", id="zzz")))
    await storage.commit(appending("s", early, is_first_try=True))
    assert (await storage.commit(appending("s", early, is_first_try=True))).duplicates == (early.id,)
    assert (await storage.commit(appending("s", Message.user("x", id="zzz"), is_first_try=True))).duplicates == ("zzz",)
    last = await storage._engine.read(lambda c: value_of(c, "SELECT last_id FROM sessions"))
    assert last == late.id


async def test_the_index_of_ids_is_filled_for_many_commits_at_once(storage: SqliteStorage) -> None:
    """It is behind by less commits than are indexed at once, and by none that `find` overlooks."""
    for number in range(2 * IDS_COMMITS + 5):
        await storage.commit(appending(f"s{number % 3}", Message.user("x", id=f"m{number}")))
    assert await storage._engine.read(lambda c: value_of(c, ids.THROUGH)) == 2 * IDS_COMMITS
    for number in (0, IDS_COMMITS, 2 * IDS_COMMITS + 4):
        found = await storage.find_message("default", f"m{number}")
        assert found is not None
        assert found[0] == f"s{number % 3}"


async def test_a_result_joins_a_call_far_back(storage: SqliteStorage) -> None:
    """A call that isn't among the last messages is found by the index of ids, and its group is read from there."""
    call = Message.assistant("", [ToolCall("one", "f"), ToolCall("two", "f")], id="call")
    await storage.commit(appending("s", call, Message.tool("", tool_call_id="one", id="r1")))
    rest = [f"m{number}" for number in range(100)]
    for id_ in rest:
        await storage.commit(appending("s", Message.user("x", id=id_)))
    results = [Message.tool("", tool_call_id=call_id, id=f"late {call_id}") for call_id in ("one", "two")]
    committed = await storage.commit(appending("s", *results, Message.user("x", id="end")))
    assert [placed.after for placed in committed.placed] == ["r1", None]
    assert await _ids(storage) == ["call", "r1", "late one", "late two", *rest, "end"]


async def test_a_fork_has_the_ids_of_its_origin(storage: SqliteStorage) -> None:
    """What a fork began with is known in it: repeated it is a duplicate, and it can be edited, and inserted behind."""
    origin = [Message.user("x", id="a"), Message.user("risen"), Message.user("x", id="b")]
    await storage.commit(appending("s", *origin))
    source = HistorySource("s", 1, origin[1].id)
    await storage.commit(appending("fork", initial_head=head_of("fork"), history_from=source))
    for message in origin[:2]:
        assert (await storage.commit(appending("fork", message, is_first_try=True))).duplicates == (message.id,)
    edits = insertion([Message.user("y", id="a")]).messages
    placed = (insertion([Message.user("x", id="c")], "a"),)
    await storage.commit(appending("fork", edits=edits, insertions=placed))
    assert await _ids(storage, "fork") == ["a", "c", origin[1].id]
    assert await _ids(storage) == ["a", origin[1].id, "b"]


async def test_a_title_rewrites_only_what_it_changes(storage: SqliteStorage) -> None:
    """A new head names no column of the session's row that stays: each would rewrite its indexes."""
    head = head_of("s", owner="o", pinned=True)
    await storage.commit(appending("s", initial_head=head))
    statements: list[str] = []

    def trace(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        statements.append(sql)
        return True

    def work(connection: apsw.Connection) -> None:
        connection.exec_trace = trace
        apply(connection, appending("s", head=head_of("s", owner="o", pinned=True, title="t")), START)
        connection.exec_trace = None

    await storage._engine.write(work)
    (update,) = [sql for sql in statements if sql.startswith("UPDATE sessions")]
    named = {part.split(" = ")[0].strip() for part in update.removeprefix("UPDATE sessions SET ").split(",")}
    assert named == {"revision", "updated_at", "message_count", "message_bytes", "last_id", "metadata_version"} | {
        "head_revision"
    }


async def test_a_record_takes_little_beside_its_value(path: Path) -> None:
    """A thousand records of 500 bytes take at most 100 bytes more each, and go with their session."""
    async with SessionRepository.open(path) as sessions:
        await sessions.create(Session("s"))
        for start in range(0, 1_000, 100):
            writes = [RecordWrite("checkpoint", f"{number:06}", b"v" * 500) for number in range(start, start + 100)]
            await sessions.records.write(writes, session="s")
        storage = sessions.storage
        assert isinstance(storage, SqliteStorage)
        pages = "SELECT sum(pgsize) FROM dbstat WHERE name = 'records'"
        try:
            size = await storage._engine.read(lambda c: value_of(c, pages))
        except Exception:  # noqa: BLE001 - a SQLite without that table
            pytest.skip("this SQLite doesn't tell the size of tables")
        assert size <= 1_000 * 600
        await sessions.delete("s")
        assert await storage._engine.read(lambda c: rows_of(c, "SELECT * FROM records")) == []
        assert await storage.get_record("default", RecordScope("session", "s"), "checkpoint", "000001") is None
