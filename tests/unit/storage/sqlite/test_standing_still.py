"""What is done on the event loop's thread: short reads and commits, whatever their count says (L131)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from bamboo_sessions.domain.message import Message, to_stored
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import Commit, RecordCommit, RecordScope, RecordWrite
from bamboo_sessions.storage.query import ListQuery, WindowQuery
from bamboo_sessions.storage.sqlite import SqliteStorage
from bamboo_sessions.storage.sqlite.transactions.budget import weight_of
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_BYTES_MAX, LOOP_COMMIT_BYTES_MAX, LOOP_MESSAGES_MAX
from bamboo_sessions.storage.sqlite.transactions.worker import Worker
from tests.unit.storage.sqlite.commits import START, appending, head_of, key_of

pytestmark = pytest.mark.anyio

_LONG = "x" * (LOOP_BYTES_MAX * 2 // 5)
_SHARED = RecordScope("shared", "graph")


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[SqliteStorage]:
    """A storage with short and long things: three of each, almost half as long as the bound, or one that is longer."""
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    for name, text in (("short", "x"), ("long", _LONG)):
        messages = [Message.user(text, id=f"{name}{number}") for number in range(3)]
        await storage.commit(appending(name, *messages, initial_head=head_of(name, owner="small")))
    for number in range(3):
        head = head_of(f"head{number}", owner="big", metadata={"text": _LONG})
        await storage.commit(appending(head.id, initial_head=head))
    questions = tuple(PendingQuestion("c", "ask", _LONG, id=f"q{number}", asked_at=START) for number in range(3))
    await storage.commit(appending("asking", initial_head=head_of("asking", questions=questions)))
    many = tuple(PendingQuestion("c", "ask", "?", asked_at=START) for _ in range(LOOP_MESSAGES_MAX + 1))
    await storage.commit(appending("curious", initial_head=head_of("curious", questions=many)))
    huge = head_of("huge", metadata={"text": 3 * _LONG})
    await storage.commit(appending("huge", Message.user("x"), initial_head=huge))
    writes = (RecordWrite("k", "short", b"x"), RecordWrite("k", "long", 3 * _LONG.encode()))
    await storage.write_records(RecordCommit("default", "records", START, writes, _SHARED))
    yield storage
    await storage.aclose()


@pytest.fixture
async def handed(opened: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that something is handed to."""
    names: list[str] = []
    submit = Worker.submit

    def noted(worker: Worker, *args: object, **named: object) -> object:
        names.append(worker._thread.name.removeprefix("bamboo-sessions "))
        return submit(worker, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "submit", noted)
    return names


_Read = Callable[[SqliteStorage], Awaitable[object]]
_READS: dict[str, tuple[_Read, bool]] = {
    "a short session": (lambda s: s.read(key_of("short")), True),
    "a long session": (lambda s: s.read(key_of("long")), False),
    "a session with a long head": (lambda s: s.read(key_of("huge")), False),
    "a session with long questions": (lambda s: s.read(key_of("asking")), False),
    "a session with many questions": (lambda s: s.read(key_of("curious")), False),
    "a short head": (lambda s: s.read_head(key_of("long")), True),
    "a long head": (lambda s: s.read_head(key_of("huge")), False),
    "long questions": (lambda s: s.read_head(key_of("asking")), False),
    "a short window": (lambda s: s.read_window(key_of("short"), WindowQuery(50)), True),
    "a long window": (lambda s: s.read_window(key_of("long"), WindowQuery(50)), False),
    "one of long messages": (lambda s: s.read_window(key_of("long"), WindowQuery(1, after="long0")), True),
    "short heads": (lambda s: s.list_heads(ListQuery("default", owner="small")), True),
    "long heads": (lambda s: s.list_heads(ListQuery("default", owner="big")), False),
    "a short record": (lambda s: s.get_record("default", _SHARED, "k", "short"), True),
    "a long record": (lambda s: s.get_record("default", _SHARED, "k", "long"), False),
}


@pytest.mark.parametrize("what", _READS)
async def test_L131_reads_are_bounded_by_bytes(opened: SqliteStorage, handed: list[str], what: str) -> None:
    """What is long, in bytes or in rows, is read on the reader thread, and comes back whole; what is short isn't."""
    work, is_short = _READS[what]
    found = await work(opened)
    assert found
    assert handed == ([] if is_short else ["reader"])


@pytest.mark.parametrize("change", ["append", "edit", "head"])
async def test_L131_what_is_new_is_bounded_by_bytes(opened: SqliteStorage, handed: list[str], change: str) -> None:
    """Reading what came after a known state is short if that is, however long the session is."""
    known = await opened.read(key_of("long"))
    assert isinstance(known, Snapshot)
    for text, expected in (("y", []), (3 * _LONG, ["reader"])):
        changes = {
            "append": appending("long", Message.user(text)),
            "edit": appending("long", edits=(to_stored(Message.user(text, id="long1")),)),
            "head": appending("long", head=msgspec.structs.replace(known.head, metadata={"text": text})),
        }
        await opened.commit(changes[change])
        handed.clear()
        newer = await opened.read_newer(key_of("long"), known)
        assert isinstance(newer, Snapshot)
        assert newer.revision == known.revision + 1
        assert handed == expected
        known = newer


def test_L131_a_commit_weighs_what_its_usage_records_weigh() -> None:
    """Metadata of a model call count like those of a head."""
    usage = (TokenUsageRecord(id="u", at=START, metadata={"log": "x" * LOOP_COMMIT_BYTES_MAX}),)
    weight = weight_of(appending("s", usage=usage))
    assert weight is not None
    assert weight > LOOP_COMMIT_BYTES_MAX


def _with_head(**fields: object) -> Commit:
    return appending("s", Message.user("x"), initial_head=head_of("s", **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"text": "x" * LOOP_COMMIT_BYTES_MAX}},
        {"metadata": {"numbers": list(range(LOOP_COMMIT_BYTES_MAX // 8))}},
        {"metadata": {"deep": {"er": {str(number): {"n": number} for number in range(LOOP_COMMIT_BYTES_MAX // 32)}}}},
        {"run_state": {"status": "running", "log": "x" * LOOP_COMMIT_BYTES_MAX}},
        {"questions": tuple(PendingQuestion("c", "ask", "?", asked_at=START) for _ in range(LOOP_MESSAGES_MAX))},
    ],
    ids=["text", "numbers", "deep", "run state", "questions"],
)
def test_L131_a_commit_weighs_what_its_head_weighs(fields: dict[str, object]) -> None:
    """A commit with a long head isn't made on the event loop's thread, however few messages it adds."""
    short, long = weight_of(_with_head(title="t", metadata={"a": [1, 2]})), weight_of(_with_head(**fields))
    assert short is not None
    assert long is not None
    assert short < 4 * 1024
    assert long > LOOP_COMMIT_BYTES_MAX
