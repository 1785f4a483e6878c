"""Looks for what can't be right in a file; reads everything, changes nothing (G8).

In slices: a read transaction that lasted for the whole check would keep the write-ahead log from starting over.

What can be worked out from messages and heads (counts, columns to filter by, which message makes which call) has a
`repair`, which the module beside this one does. What can't be (an unreadable body, a missing head) is reported only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import apsw
import msgspec

from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message, from_body, hash_of_body
from bamboo_sessions.domain.report import Problem
from bamboo_sessions.storage.sqlite.history.versions import VERSIONS
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import (
    COLUMNS,
    FILTERS,
    SessionRow,
    filters_of,
    storable,
)
from bamboo_sessions.storage.sqlite.transactions.connection import Row, reading, row_of, rows_of, value_of
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
    checksum,
    gaps,
)

OWNED: Final = ("heads", "messages", "tool_calls", "questions", "token_usage", "leases")
"""Tables whose rows belong to a session."""

COUNTED: Final = f"""
    SELECT count(*), coalesce(sum(length(body)), 0),
           (SELECT coalesce(max(position), 0) FROM ({VERSIONS}))
    FROM messages WHERE session = ?1 AND removed_revision IS NULL"""  # noqa: S608 - constants
"""A session's living messages, their bytes, and its highest position."""
COUNTED_QUESTIONS: Final = "SELECT count(*), count(*) FILTER (WHERE state = 'open') FROM questions WHERE session = ?1"

_LOOKED_AT: Final = "SELECT key FROM sessions WHERE deleted_at IS NULL AND (?1 IS NULL OR namespace = ?1)"
_MESSAGES_LOOKED_AT: Final = (
    f"SELECT count(*) FROM messages WHERE removed_revision IS NULL AND session IN ({_LOOKED_AT})"  # noqa: S608 - constants
)
DELETED: Final = "session IN (SELECT key FROM sessions WHERE deleted_at IS NOT NULL)"
_UNKNOWN: Final = "session NOT IN (SELECT key FROM sessions)"


class Version(NamedTuple):
    """A stored version of a message: its row, whether it lives, the message if it can be read, and what is wrong."""

    row: int
    is_living: bool
    message_id: str
    message: Message | None
    problem: Problem | None


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
        yield from (partial(_orphans, table=table) for table in (*OWNED, "changes"))
        yield gaps
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
    calls: set[tuple[str, int]] = set()
    living: set[str] = set()
    for version in versions_of(connection, row.key):
        if version.problem is not None:
            yield version.problem
        if version.message is not None:
            calls.update((storable(call.id), version.row) for call in version.message.tool_calls)
        if version.is_living:
            if version.message_id in living:
                yield Problem(kind="duplicate", detail=f"Message {version.message_id!r} lives more than once.")
            living.add(version.message_id)
    yield from _count_problems(connection, row)
    noted = rows_of(connection, "SELECT call_id, message_row FROM tool_calls WHERE session = ?", (row.key,))
    if {(call_id, number) for call_id, number in noted} != calls:
        detail = "Which messages make which tool calls is out of step."
        yield Problem(kind="tool_calls", detail=detail, repair="Notes the calls anew.")


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


def versions_of(connection: apsw.Connection, session: int) -> Iterator[Version]:
    """Each stored version of a session's messages, but for removed ones whose body was purged."""
    sql = (
        "SELECT row, removed_revision, message_id, content_hash, body, checksum, role, tool_call_id "
        "FROM messages WHERE row = ?"
    )
    for number, _ in rows_of(connection, VERSIONS, (session,)):
        found = row_of(connection, sql, (number,))
        if found is not None and (found[1] is None or found[4] is not None):
            yield _version(found)


def _version(found: Row) -> Version:
    row, removed, message_id, content_hash, body, expected, role, tool_call_id = found
    message: Message | None = None
    problem: Problem | None = None
    try:
        message = from_body(body or b"")
        columns = (message.id, message.role, storable(message.tool_call_id))
        is_changed = hash_of_body(body) != content_hash or columns != (message_id, role, tool_call_id)
        if is_changed or (expected is not None and checksum(body) != expected):
            problem = Problem(kind="hash", detail=f"Message {message_id!r} isn't what was written.")
    except (StorageCorruptError, ValueError) as exc:
        problem = Problem(kind="undecodable", detail=f"Message {message_id!r}: {exc}")
    return Version(row, removed is None, message_id, message, problem)


def _count_problems(connection: apsw.Connection, row: SessionRow) -> Iterator[Problem]:
    count, size, tail = rows_of(connection, COUNTED, (row.key,))[0]
    if (count, size) != (row.message_count, row.message_bytes):
        detail = f"{row.message_count} messages ({row.message_bytes} bytes) are counted, {count} ({size}) are there."
        yield Problem(kind="count", detail=detail, repair="Counts the messages anew.")
    if tail > row.tail_position:
        detail = "The next place for a message is in use."
        yield Problem(kind="positions", detail=detail, repair="Looks for the last place anew.")
