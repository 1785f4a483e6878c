"""Mends what `check` found and what is derived, after a backup, in one transaction. Truth is never dropped (G8)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageCorruptError, StorageError
from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.storage.sqlite.history.versions import add_tool_calls
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import FILTERS, SessionRow, filters_of
from bamboo_sessions.storage.sqlite.transactions.open_file import make_file
from bamboo_sessions.storage.sqlite.upkeep.check import (
    COUNTED,
    COUNTED_QUESTIONS,
    OWNED,
    find_problems,
    living_sessions,
    versions_of,
)


def backup_path(path: Path, moment: datetime) -> Path:
    """A name beside the file that isn't taken."""
    stem = f"{path.name}.backup-{moment:%Y%m%dT%H%M%SZ}"
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1_000)))
    return next(place for name in names if not (place := path.with_name(name)).exists())


def back_up(connection: apsw.Connection, backup: Path) -> None:
    """Copy the file as it is now; raises `StorageError` rather than overwrite anything, and leaves no half copy."""
    if backup.exists():
        raise StorageError(f"{backup} exists already.", hint="Try again.")
    make_file(str(backup), beside=connection.filename)
    connection.execute("PRAGMA query_only = 0").fetchall()  # a reader's setting; only the copy is written
    try:
        connection.execute("VACUUM INTO ?", (str(backup),)).fetchall()
    except BaseException:
        _remove_half(backup)
        raise
    finally:
        connection.execute("PRAGMA query_only = 1").fetchall()


def _remove_half(backup: Path) -> None:
    """What is no backup must not look like one, nor fill the disk."""
    for file in (backup, backup.with_name(backup.name + "-journal")):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def repair(connection: apsw.Connection, backup: Path) -> CheckReport:
    """Mend what can be mended, inside the writer's transaction; says of each problem whether it is gone."""
    before = find_problems(connection)
    if any(problem.kind == "leftovers" for problem in before.problems):
        _remove_leftovers(connection)
    damaged = {(problem.namespace, problem.session_id) for problem in before.problems if problem.repair}
    for namespace, row in living_sessions(connection):
        if (namespace, row.session_id) in damaged:
            _mend(connection, row)
    after = find_problems(connection)
    left = {_identity(problem) for problem in after.problems}
    problems = tuple(
        msgspec.structs.replace(problem, repaired=_identity(problem) not in left) for problem in before.problems
    )
    return msgspec.structs.replace(after, problems=problems, backup=str(backup))


def _identity(problem: Problem) -> tuple[str | None, ...]:
    return problem.kind, problem.namespace, problem.session_id, problem.detail


def _remove_leftovers(connection: apsw.Connection) -> None:
    for table in OWNED:
        sql = f"DELETE FROM {table} WHERE session IN (SELECT key FROM sessions WHERE deleted_at IS NOT NULL)"  # noqa: S608
        connection.execute(sql)


def _mend(connection: apsw.Connection, row: SessionRow) -> None:
    """Work out anew what is derived from a session's messages, questions and head."""
    connection.execute(
        f"UPDATE sessions SET (message_count, message_bytes, tail_position) = ({COUNTED}), "  # noqa: S608 - constants
        f"(question_count, open_questions) = ({COUNTED_QUESTIONS}) WHERE key = ?1",
        (row.key,),
    )
    connection.execute("DELETE FROM tool_calls WHERE session = ?", (row.key,))
    for version in versions_of(connection, row.key):
        if version.message is not None:
            add_tool_calls(connection, row.key, version.row, version.message)
    try:
        head = read_head(connection, row)
    except StorageCorruptError:  # reported, and left
        return
    marks = ", ".join("?" * len(filters_of(head)))
    sql = f"UPDATE sessions SET ({FILTERS}) = ({marks}) WHERE key = ?"  # noqa: S608 - constants
    connection.execute(sql, (*filters_of(head), row.key))
