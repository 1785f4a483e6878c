"""Looks for what can't be right in a file; reads everything, changes nothing (G8).

In slices: a read transaction that lasted for the whole check would keep the write-ahead log from starting over.

What can be worked out from messages and heads (counts, columns to filter by, which message makes which call) has a
`repair`, which the module beside this one does. What can't be (an unreadable body, a missing head) is reported only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import apsw
import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import from_body
from bamboo_sessions.domain.report import Problem
from bamboo_sessions.domain.runs import END, Order, Runs
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import Line, is_ascending_id, is_purged, lines_of, seal
from bamboo_sessions.storage.sqlite.history.log import Log, replayed, shapes_of
from bamboo_sessions.storage.sqlite.history.writing import SEALED
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import (
    COLUMNS,
    FILTERS,
    SessionRow,
    filters_of,
)
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.errors import NONSENSE
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    CHECK_MESSAGES,
    CHECK_SESSIONS,
    FULL_CHECK_BYTES_MAX,
    PROBLEMS_MAX,
)
from bamboo_sessions.storage.sqlite.upkeep.damage import (
    changed_counters,
    changed_in_session,
    changed_records,
    gaps,
)

OWNED: Final = ("heads", "shapes", "questions", "token_usage", "leases")
"""Tables whose rows belong to a session, and go with it."""

COUNTED_QUESTIONS: Final = "SELECT count(*), count(*) FILTER (WHERE state = 'open') FROM questions WHERE session = ?1"

_LOOKED_AT: Final = "SELECT key FROM sessions WHERE deleted_at IS NULL AND (?1 IS NULL OR namespace = ?1)"
_MESSAGES_LOOKED_AT: Final = f"SELECT coalesce(sum(message_count), 0) FROM sessions WHERE key IN ({_LOOKED_AT})"  # noqa: S608 - constants
_COMMITS: Final = f"""
    SELECT position, {SEALED}, shape, body, checksum FROM commits WHERE session = ? AND {{condition}}
    ORDER BY position"""  # noqa: S608 - constants
_BARE: Final = f"""
    SELECT namespace, session_id, position, {", ".join(f"commits.{name}" for name in SEALED.split(", "))},
    shape, body, checksum FROM commits JOIN sessions ON sessions.key = commits.session
    WHERE lines = 0 AND shape IS NULL AND checksum IS NOT NULL AND (?1 IS NULL OR namespace = ?1)"""  # noqa: S608
DELETED: Final = "session IN (SELECT key FROM sessions WHERE deleted_at IS NOT NULL)"
_UNKNOWN: Final = "session NOT IN (SELECT key FROM sessions)"


class Found(NamedTuple):
    """What one slice of a check found.

    `last` is the key of the last session in it, `None` if there is none; a file that can't be read needs no more.
    """

    problems: list[Problem]
    is_readable: bool
    last: int | None = None


Part = Callable[[apsw.Connection], Iterator[Problem]]
"""Looks for problems of one kind, within one read transaction."""


def look(connection: apsw.Connection, part: Part) -> Found:
    """One slice of a check, at most `PROBLEMS_MAX` problems."""
    problems: list[Problem] = []
    with reading(connection):
        try:
            problems.extend(islice(part(connection), PROBLEMS_MAX))
        except (apsw.CorruptError, *NONSENSE) as exc:
            problems.append(Problem(kind="integrity", detail=f"The file can't be read any further: {exc}"))
            return Found(problems, is_readable=False)
    return Found(problems, is_readable=True)


def look_at_sessions(connection: apsw.Connection, namespace: str | None, after: int) -> Found:
    """One slice: the sessions whose keys are above `after`, as many as a short read takes, one at least."""
    seen: list[int] = []

    def part(connection: apsw.Connection) -> Iterator[Problem]:
        messages = 0
        for owner, row in living_sessions(connection, namespace, after):
            for problem in _understood(_problems_of(connection, row)):
                yield msgspec.structs.replace(problem, namespace=owner, session_id=row.session_id)
            seen.append(row.key)
            messages += row.message_count
            if messages > CHECK_MESSAGES or len(seen) >= CHECK_SESSIONS:
                return

    found = look(connection, part)
    return found._replace(last=seen[-1] if seen else None)


def count(connection: apsw.Connection, namespace: str | None) -> tuple[int, int]:
    """How many living sessions and messages are looked at."""
    with reading(connection):
        sessions: int = value_of(connection, f"SELECT count(*) FROM ({_LOOKED_AT})", (namespace,))  # noqa: S608 - constants
        messages: int = value_of(connection, _MESSAGES_LOOKED_AT, (namespace,))
        return sessions, messages


def parts(namespace: str | None) -> Iterator[Part]:
    """What is looked at beside sessions, in order: in a namespace, or in the whole file (`None`)."""
    yield _damaged_pages
    if namespace is None:
        yield from (partial(_orphans, table=table) for table in (*OWNED, "commits"))
        yield gaps
    yield partial(_changed_commits, namespace=namespace)
    yield partial(changed_records, namespace=namespace)
    yield partial(changed_counters, namespace=namespace)


def _understood(problems: Iterator[Problem]) -> Iterator[Problem]:
    """`problems`, and at their end one more if a row has values that no such row can have."""
    try:
        yield from problems
    except NONSENSE as exc:
        yield Problem(kind="undecodable", detail=f"Its rows can't be understood: {exc}")


def _damaged_pages(connection: apsw.Connection) -> Iterator[Problem]:
    size = value_of(connection, "PRAGMA page_count") * value_of(connection, "PRAGMA page_size")
    pragma = "integrity_check" if size <= FULL_CHECK_BYTES_MAX else "quick_check"
    for (text,) in rows_of(connection, f"PRAGMA {pragma}({PROBLEMS_MAX})"):
        if text != "ok":
            yield Problem(kind="integrity", detail=str(text))


def living_sessions(
    connection: apsw.Connection, namespace: str | None, after: int = 0
) -> Iterator[tuple[str, SessionRow]]:
    """Namespaces and rows of all living sessions, or of those of one namespace, from the key behind `after` on."""
    sql = (
        f"SELECT namespace, {COLUMNS} FROM sessions "  # noqa: S608 - constants
        "WHERE key > ?1 AND deleted_at IS NULL AND (?2 IS NULL OR namespace = ?2) ORDER BY key LIMIT 1"
    )
    last = after
    while (found := row_of(connection, sql, (last, namespace))) is not None:
        row = SessionRow(*found[1:])
        last = row.key
        yield found[0], row


def _orphans(connection: apsw.Connection, table: str) -> Iterator[Problem]:
    leftovers = value_of(connection, f"SELECT count(*) FROM {table} WHERE {DELETED}") if table in OWNED else 0  # noqa: S608
    if leftovers:
        detail = f"{leftovers} rows of {table} belong to deleted sessions."
        yield Problem(kind="leftovers", detail=detail, repair="Removes the rows.")
    if count := value_of(connection, f"SELECT count(*) FROM {table} WHERE {_UNKNOWN}"):  # noqa: S608 - constants
        yield Problem(kind="orphans", detail=f"{count} rows of {table} belong to no session.")


# --- one session


def _problems_of(connection: apsw.Connection, row: SessionRow) -> Iterator[Problem]:
    """What is wrong with one living session."""
    yield from _head_problems(connection, row)
    yield from changed_in_session(connection, row.key)
    yield from _log_problems(connection, row)


def _head_problems(connection: apsw.Connection, row: SessionRow) -> Iterator[Problem]:
    if value_of(connection, "SELECT 1 FROM heads WHERE session = ?", (row.key,)) is None:
        yield Problem(kind="head_missing", detail="The head is missing.")
        return
    try:
        head = read_head(connection, row)
    except StorageCorruptError as exc:
        yield Problem(kind="undecodable", detail=str(exc))
        return
    if row_of(connection, f"SELECT {FILTERS} FROM sessions WHERE key = ?", (row.key,)) != filters_of(head):  # noqa: S608
        detail = "The columns that listings filter by are out of step with the head."
        yield Problem(kind="columns", detail=detail, repair="Fills them from the head.")
    counts = (len(head.questions), sum(question.is_open for question in head.questions))
    stored = row_of(connection, "SELECT question_count, open_questions FROM sessions WHERE key = ?", (row.key,))
    if not counts == stored == row_of(connection, COUNTED_QUESTIONS, (row.key,)):
        yield Problem(kind="questions", detail="The counts of questions are out of step.", repair="Counts them anew.")


# --- its log


class Counted(NamedTuple):
    """What a session's log comes to: the counters and the order that are derived from it."""

    runs: Runs
    message_count: int
    message_bytes: int
    last_id: str
    living: list[Line]


def counted(connection: apsw.Connection, row: SessionRow) -> Counted:
    """Work out what is derived from a session's log. Raises `StorageCorruptError` if its shapes can't be read."""
    runs = replayed(shapes_of(connection, row.key), row.revision)
    log = Log(connection, row.key, row.session_id, Order(runs))
    lines = log.all_living()
    last_id = max((id_ for line in log.lines([(0, END)]) if is_ascending_id(id_ := _id_of(line))), default="")
    return Counted(runs, len(lines), sum(len(line.body) for line in lines), last_id, lines)


def _id_of(line: Line) -> str:
    try:
        return line.head.id
    except StorageCorruptError:
        return ""


def _log_problems(connection: apsw.Connection, row: SessionRow) -> Iterator[Problem]:
    through = value_of(connection, ids.THROUGH)
    is_indexed = True
    for condition in ("lines > 0", "lines = 0 AND shape IS NOT NULL"):
        for position, *columns, shape, body, checksum in connection.execute(
            _COMMITS.format(condition=condition), (row.key,)
        ):
            if seal(body, shape, *columns) != checksum:
                yield _changed_commit(position)
            yield from _line_problems(position, columns[-1], body)
            entries = ids.entries_of(row.key, position, columns[4], columns[3], body)
            its = [entry for entry in entries if entry[0] != ids.COMMIT]
            is_indexed &= position > through or ids.has_all(connection, its)
    if not is_indexed:
        yield Problem(kind="ids", detail="The index of ids lacks some of its own.", repair="Makes it anew.")
    try:
        found = counted(connection, row)
    except StorageCorruptError as exc:
        yield Problem(kind="undecodable", detail=str(exc))
        return
    yield from _derived_problems(connection, row, found)


def _line_problems(position: int, lines: int, body: bytes | None) -> Iterator[Problem]:
    found = [] if body is None else lines_of(position, body)
    if len(found) != lines:
        yield Problem(kind="undecodable", detail=f"Commit {position} has {len(found)} lines where {lines} are counted.")
    for line in found:
        try:
            if not is_purged(line.body):
                from_body(line.body)
        except (StorageCorruptError, ValueError) as exc:
            yield Problem(kind="undecodable", detail=f"Message {_id_of(line)!r} of commit {position}: {exc}")


def _derived_problems(connection: apsw.Connection, row: SessionRow, found: Counted) -> Iterator[Problem]:
    for id_, count in Counter(map(_id_of, found.living)).items():
        if count > 1 and id_:
            yield Problem(kind="duplicate", detail=f"Message {id_!r} lives more than once.")
    counts = (row.message_count, row.message_bytes)
    if counts != (found.message_count, found.message_bytes):
        detail = (
            f"{counts[0]} messages ({counts[1]} bytes) are counted, "
            f"{found.message_count} ({found.message_bytes}) are there."
        )
        yield Problem(kind="count", detail=detail, repair="Counts the messages anew.")
    if row.last_id < found.last_id:
        yield Problem(kind="ids", detail="Its highest id isn't noted.", repair="Notes it anew.")
    if row.reshaped_revision and value_of(connection, _RUNS, (row.key,)) != json.encode(found.runs):
        detail = "The order of its messages isn't that of its commits."
        yield Problem(kind="order", detail=detail, repair="Works it out anew.")


_RUNS: Final = "SELECT runs FROM shapes WHERE session = ?"


def _changed_commits(connection: apsw.Connection, namespace: str | None) -> Iterator[Problem]:
    """Commits without messages that aren't what was written."""
    for owner, session_id, position, *columns, shape, body, checksum in connection.execute(_BARE, (namespace,)):
        if seal(body, shape, *columns) != checksum:
            yield msgspec.structs.replace(_changed_commit(position), namespace=owner, session_id=session_id)


def _changed_commit(position: int) -> Problem:
    return Problem(kind="checksum", detail=f"Commit {position} isn't what was written.")
