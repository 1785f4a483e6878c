"""Heads of living sessions, put together from two places: the document, and the columns that commits count in (G8).

The columns win over the document where both have a field. A listing is asked for again and again, mostly with the same
rows: a row that is what it was, byte for byte, gives the head that it gave, which is frozen and may be shared.
Questions, which few sessions have, are rows of their own.

A head that can't be decoded is raised, with the session's name: a listing without it would show absence where there
was failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import from_micros
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.head import SessionHead, head_from_document
from bamboo_sessions.domain.question import PendingQuestion, Questions
from bamboo_sessions.storage.sqlite.sessions.rows import SessionRow
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, bounded, bounded_rows, check_short
from bamboo_sessions.storage.sqlite.transactions.connection import Row
from bamboo_sessions.storage.sqlite.transactions.tuning import RECENT_HEAD_BYTES_MAX, RECENT_HEADS_MAX

COUNTERS: Final = (
    "question_count, key, session_id, revision, incarnation, metadata_version, message_count, created_at, updated_at"
)
"""What `heads_of` takes from `sessions`; the document comes behind it."""

_counters: Final = attrgetter(*COUNTERS.split(", "))
_set: Final = msgspec.structs.force_setattr
_LONG: Final = bytes(RECENT_HEAD_BYTES_MAX + 1)  # stands for a document that is missing, so that it isn't kept
_QUESTION: Final = msgspec.json.Decoder(PendingQuestion)
_HINT: Final = (
    "Restore a backup, or delete the session: until then, listings that it belongs to fail. "
    "`bamboo-sessions check` tells what else is damaged."
)


def read_head(connection: apsw.Connection, row: SessionRow, budget: Budget | None = None) -> SessionHead:
    """The head of a living session. Raises `StorageCorruptError`, and `TooLong` if the budget doesn't cover it."""
    return head_of(connection, row, read_document(connection, row.key, budget), budget)


def read_document(connection: apsw.Connection, session: int, budget: Budget | None = None) -> bytes | None:
    """The document of a head, or `None`; raises `TooLong` if the budget doesn't cover it."""
    sql = f"SELECT {bounded('document', budget)} FROM heads WHERE session = ?"  # noqa: S608 - fixed names
    found = bounded_rows(connection, sql, (session,), budget)
    return found[0][0] if found else None


def head_of(
    connection: apsw.Connection, row: SessionRow, document: bytes | None, budget: Budget | None = None
) -> SessionHead:
    """The head of a living session, whose document is known. Raises `StorageCorruptError`, and `TooLong`."""
    return heads_of(connection, [(*_counters(row), document)], budget)[0]


def heads_of(connection: apsw.Connection, rows: Sequence[Row], budget: Budget | None = None) -> list[SessionHead]:
    """The heads in rows of `COUNTERS` and a document each. Raises `StorageCorruptError`, and `TooLong`."""
    check_short(sum(row[0] for row in rows), 0, budget)
    heads = [_recent(row) if len(row[-1] or _LONG) <= RECENT_HEAD_BYTES_MAX else _head_in(row) for row in rows]
    for place, row in enumerate(rows):
        if row[0]:
            questions = _questions(connection, row[1], row[2], budget)
            heads[place] = msgspec.structs.replace(heads[place], questions=questions)
    return heads


def _head_in(row: Row) -> SessionHead:
    """The head without its questions."""
    _, _, session_id, revision, incarnation, metadata_version, count, created_at, updated_at, document = row
    head = _decoded(session_id, document)  # nobody else has seen it yet, so that its fields can be set
    _set(head, "revision", revision)
    _set(head, "incarnation", incarnation)
    _set(head, "metadata_version", metadata_version)
    _set(head, "message_count", count)
    _set(head, "created_at", from_micros(created_at))
    _set(head, "updated_at", from_micros(updated_at))
    return head


_recent: Final = lru_cache(RECENT_HEADS_MAX)(_head_in)


def _decoded(session_id: str, document: bytes | None) -> SessionHead:
    if document is None:
        raise StorageCorruptError(f"Session {session_id!r} has no head.", hint=_HINT)
    try:
        return head_from_document(document, session_id)
    except StorageCorruptError as exc:
        raise StorageCorruptError(str(exc), hint=_HINT) from exc


def _questions(connection: apsw.Connection, session: int, session_id: str, budget: Budget | None) -> Questions:
    """All questions of a session, in the order of its head."""
    sql = f"SELECT {bounded('document', budget)} FROM questions WHERE session = ? ORDER BY seq"  # noqa: S608 - fixed
    found = bounded_rows(connection, sql, (session,), budget)
    what = f"A question of session {session_id!r}"
    return tuple(json.decode(document, _QUESTION, what=what) for (document,) in found)


def with_counters(head: SessionHead, row: SessionRow) -> SessionHead:
    """`head` at the revision of `row`."""
    return msgspec.structs.replace(
        head,
        revision=row.revision,
        incarnation=row.incarnation,
        metadata_version=row.metadata_version,
        updated_at=from_micros(row.updated_at),
        message_count=row.message_count,
    )
