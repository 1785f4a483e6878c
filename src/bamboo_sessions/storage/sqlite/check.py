"""Looks for what can't be right in a file, and mends what is derived. Truth is never dropped (G8).

What can be worked out from the messages and heads (counts, positions in step, which message makes which call) is
rebuilt, after a backup, in one transaction. What can't be (an unreadable body, a missing head) is reported only:
its bytes stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageCorruptError, StorageError
from bamboo_sessions.domain.message import Message, from_body, hash_of_body
from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.storage.sqlite.connection import reading, rows_of, value_of
from bamboo_sessions.storage.sqlite.history import VERSIONS, add_tool_calls
from bamboo_sessions.storage.sqlite.sessions import COLUMNS, SessionRow, read_head, storable

PROBLEMS_MAX: Final = 1_000
"""Findings of one check; beyond that the file needs a backup, not a list."""

_COUNTS: Final = "Counts the messages anew."
_CALLS: Final = "Notes the calls anew."
_QUESTIONS: Final = "Counts the questions anew."
_ORPHANS: Final = "Removes the rows: no session owns them."
_OWNED: Final = ("heads", "messages", "tool_calls", "questions", "token_usage")


def find_problems(connection: apsw.Connection) -> CheckReport:
    """Check a whole file; reads everything, changes nothing."""
    with reading(connection):
        problems: list[Problem] = []
        for problem in _problems(connection):
            problems.append(problem)
            if len(problems) >= PROBLEMS_MAX:
                break
        return CheckReport(
            sessions=value_of(connection, "SELECT count(*) FROM sessions WHERE deleted_at IS NULL"),
            messages=value_of(connection, "SELECT count(*) FROM messages WHERE removed_revision IS NULL"),
            problems=tuple(problems),
        )


def _problems(connection: apsw.Connection) -> Iterator[Problem]:
    for (text,) in rows_of(connection, f"PRAGMA integrity_check({PROBLEMS_MAX})"):
        if text != "ok":
            yield Problem(kind="integrity", detail=str(text))
    yield from _orphans(connection)
    last = 0
    while found := rows_of(
        connection,
        f"SELECT namespace, open_questions, {COLUMNS} FROM sessions WHERE key > ? ORDER BY key LIMIT 1",  # noqa: S608 - constants
        (last,),
    ):
        namespace, open_questions, *columns = found[0]
        row = SessionRow(*columns)
        last = row.key
        if row.is_living:
            for problem in _problems_of(connection, row, open_questions):
                yield msgspec.structs.replace(problem, namespace=namespace, session_id=row.session_id)


def _orphans(connection: apsw.Connection) -> Iterator[Problem]:
    for table in _OWNED:
        count = value_of(connection, f"SELECT count(*) FROM {table} WHERE {_ORPHAN}")  # noqa: S608 - constants
        if count:
            yield Problem(
                kind="orphans", detail=f"{count} rows of {table} belong to no living session.", repair=_ORPHANS
            )


_ORPHAN: Final = "session NOT IN (SELECT key FROM sessions WHERE deleted_at IS NULL)"


def _problems_of(connection: apsw.Connection, row: SessionRow, open_questions: int) -> Iterator[Problem]:
    """What is wrong with one living session."""
    yield from _head_problems(connection, row, open_questions)
    calls: set[tuple[str, int]] = set()
    for problem, message, number in _messages(connection, row):
        if problem is not None:
            yield problem
        elif message is not None:
            calls.update((storable(call.id) or "", number) for call in message.tool_calls)
    yield from _count_problems(connection, row)
    noted = rows_of(connection, "SELECT call_id, message_row FROM tool_calls WHERE session = ?", (row.key,))
    if {(call_id, number) for call_id, number in noted} != calls:
        yield Problem(kind="tool_calls", detail="The notes of tool calls are out of step.", repair=_CALLS)


def _head_problems(connection: apsw.Connection, row: SessionRow, open_questions: int) -> Iterator[Problem]:
    if value_of(connection, "SELECT 1 FROM heads WHERE session = ?", (row.key,)) is None:
        yield Problem(kind="head_missing", detail="The head is missing.")
        return
    try:
        head = read_head(connection, row)
    except StorageCorruptError as exc:
        yield Problem(kind="undecodable", detail=str(exc))
        return
    count = value_of(connection, "SELECT count(*) FROM questions WHERE session = ?", (row.key,))
    if count != row.question_count or sum(question.is_open for question in head.questions) != open_questions:
        yield Problem(kind="questions", detail="The counts of questions are out of step.", repair=_QUESTIONS)


def _messages(connection: apsw.Connection, row: SessionRow) -> Iterator[tuple[Problem | None, Message | None, int]]:
    """Each stored version of a message: what is wrong with it, or the message; and its row."""
    sql = "SELECT message_id, content_hash, body, removed_revision FROM messages WHERE row = ?"
    for number, _ in rows_of(connection, VERSIONS, (row.key,)):
        message_id, digest, body, removed = rows_of(connection, sql, (number,))[0]
        if body is not None or removed is None:
            yield (*_message(message_id, digest, body or b""), number)


def _message(message_id: str, digest: bytes, body: bytes) -> tuple[Problem | None, Message | None]:
    try:
        message = from_body(body)
        same = hash_of_body(body) == digest and message.id == message_id
    except (StorageCorruptError, ValueError) as exc:
        return Problem(kind="undecodable", detail=f"Message {message_id!r}: {exc}"), None
    if not same:
        return Problem(kind="hash", detail=f"Message {message_id!r} isn't what was written."), message
    return None, message


def _counted(connection: apsw.Connection, session: int) -> tuple[Any, ...]:
    living = (
        "SELECT count(*), coalesce(sum(length(body)), 0) FROM messages WHERE session = ? AND removed_revision IS NULL"
    )
    tail = f"SELECT coalesce(max(position), 0) FROM ({VERSIONS})"  # noqa: S608 - constants
    return (*rows_of(connection, living, (session,))[0], value_of(connection, tail, (session,)))


def _count_problems(connection: apsw.Connection, row: SessionRow) -> Iterator[Problem]:
    count, size, tail = _counted(connection, row.key)
    if count != row.message_count or size != row.message_bytes:
        detail = f"{row.message_count} messages ({row.message_bytes} bytes) are counted, {count} ({size}) are there."
        yield Problem(kind="count", detail=detail, repair=_COUNTS)
    if tail > row.tail_position:
        yield Problem(kind="positions", detail="The next place for a message is in use.", repair=_COUNTS)


# --- repair


def backup_path(path: Path, moment: datetime) -> Path:
    """A name beside the file that isn't taken."""
    stem = f"{path.name}.backup-{moment:%Y%m%dT%H%M%SZ}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1_000)))
    return next(place for name in names if not (place := path.with_name(name)).exists())


def back_up(connection: apsw.Connection, backup: Path) -> None:
    """Copy the file as it is now; raises `StorageError` rather than overwrite anything."""
    if backup.exists():
        raise StorageError(f"{backup} exists already.", hint="Try again.")
    connection.execute("PRAGMA query_only = 0").fetchall()  # a reader's setting; only the copy is written
    try:
        rows_of(connection, "VACUUM INTO ?", (str(backup),))
    finally:
        connection.execute("PRAGMA query_only = 1").fetchall()


def repair(connection: apsw.Connection, backup: Path) -> CheckReport:
    """Mend what is derived, inside the writer's transaction."""
    before = find_problems(connection)
    for table in _OWNED:
        connection.execute(f"DELETE FROM {table} WHERE {_ORPHAN}")  # noqa: S608 - constants
    sessions = {(problem.namespace, problem.session_id) for problem in before.problems if problem.repair}
    for namespace, session_id in sessions:
        if session_id is not None:
            sql = f"SELECT {COLUMNS} FROM sessions WHERE namespace = ? AND session_id = ?"  # noqa: S608 - constants
            _mend(connection, SessionRow(*rows_of(connection, sql, (namespace, session_id))[0]))
    problems = tuple(
        msgspec.structs.replace(problem, repaired=problem.repair is not None) for problem in before.problems
    )
    after = find_problems(connection)
    return msgspec.structs.replace(after, problems=problems, backup=str(backup))


def _mend(connection: apsw.Connection, row: SessionRow) -> None:
    """Work out anew what is derived from a session's messages and questions."""
    connection.execute(
        "UPDATE sessions SET (message_count, message_bytes, tail_position) = (?, ?, ?) WHERE key = ?",
        (*_counted(connection, row.key), row.key),
    )
    connection.execute(
        "UPDATE sessions SET (question_count, open_questions) = "
        "(SELECT count(*), count(*) FILTER (WHERE state = 'open') FROM questions WHERE session = ?1) WHERE key = ?1",
        (row.key,),
    )
    connection.execute("DELETE FROM tool_calls WHERE session = ?", (row.key,))
    for problem, message, number in _messages(connection, row):
        if problem is None and message is not None:
            add_tool_calls(connection, row.key, number, message)


def stats(connection: apsw.Connection, path: Path) -> dict[str, int]:
    """Counters of the store; bytes of the file and of its write-ahead log."""
    log = path.with_name(path.name + "-wal")
    with reading(connection):
        counts = {
            "sessions": "sessions WHERE deleted_at IS NULL",
            "deleted_sessions": "sessions WHERE deleted_at IS NOT NULL",
            "messages": "messages WHERE removed_revision IS NULL",
            "message_versions": "messages",
            "changes": "changes",
            "questions": "questions",
            "records": "records",
        }
        result = {name: value_of(connection, f"SELECT count(*) FROM {what}") for name, what in counts.items()}  # noqa: S608
        pages = value_of(connection, "PRAGMA page_count") * value_of(connection, "PRAGMA page_size")
    return {**result, "bytes": pages, "wal_bytes": log.stat().st_size if log.exists() else 0}
