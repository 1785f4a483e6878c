"""What may be done on the event loop's thread: bounded by bytes and steps, known before anything is read (L131).

SQLite knows how long a value is without reading it. So a short read asks for a value only if it is short, adds up what
it gets, and gives up (`TooLong`) before much was read: then the reader thread does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import apsw
import msgspec

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.storage.commit import Commit
from bamboo_sessions.storage.sqlite.transactions.connection import Args, Row, rows_of
from bamboo_sessions.storage.sqlite.transactions.tuning import (
    LOOP_BYTES_MAX,
    LOOP_COMMIT_BYTES_MAX,
    LOOP_MESSAGES_MAX,
    LOOP_ROW_BYTES,
)


class TooLong(Exception):
    """The work is too long for the event loop's thread."""


class Budget:
    """Bytes that one call may still read on the event loop's thread."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = LOOP_BYTES_MAX

    def spend(self, size: int) -> None:
        """Take note of `size` bytes; raises `TooLong` if they are more than is left."""
        self._bytes -= size
        if self._bytes < 0:
            raise TooLong

    def spend_value(self, value: bytes | int) -> None:
        """Take note of a value that is one of `bounded`; raises `TooLong` if it is too long."""
        if isinstance(value, int):
            raise TooLong
        self.spend(len(value))

    def rows(self, connection: apsw.Connection, sql: str, args: Args) -> list[Row]:
        """All rows. The last column is one of `bounded`, and counts."""
        cursor = connection.execute(sql, args)
        rows: list[Row] = []
        size = 0
        try:
            for row in cursor:
                rows.append(row)
                value: bytes | int | None = row[-1]
                if isinstance(value, bytes):
                    size += len(value)
                if value == _TOO_LONG or size > self._bytes:
                    raise TooLong
        finally:
            cursor.close()
        self.spend(size)
        return rows


_TOO_LONG: Final = 0


def bounded(column: str, budget: Budget | None) -> str:
    """SQL for a column of bytes; with a budget, values that are too long aren't read."""
    if budget is None:
        return column
    return f"CASE WHEN length({column}) > {LOOP_BYTES_MAX} THEN {_TOO_LONG} ELSE {column} END"


def bounded_rows(connection: apsw.Connection, sql: str, args: Args, budget: Budget | None) -> list[Row]:
    """All rows, whose last column is `bounded`; raises `TooLong` if they are more than the budget has."""
    return rows_of(connection, sql, args) if budget is None else budget.rows(connection, sql, args)


def check_short(count: int, size: int, budget: Budget | None) -> None:
    """Raise `TooLong` if there is a budget, and it doesn't cover that many messages and bytes."""
    if budget is not None:
        if count > LOOP_MESSAGES_MAX:
            raise TooLong
        budget.spend(size)


# --- commits


def weight_of(commit: Commit) -> int | None:
    """How much work a commit is, in bytes; `None` if only its transaction can tell: it copies, or changes the order.

    Of long heads and metadata it is only said that they are too long.
    """
    if commit.history_from is not None:
        return None
    rows = len(commit.edits) + len(commit.removals) + len(commit.usage) + len(commit.records)
    for insertion in commit.insertions:
        if insertion.after is not None:
            return None
        rows += len(insertion.messages)
    weight = commit.size + LOOP_ROW_BYTES * rows
    weight += sum(_weight_of([record.metadata]) for record in commit.usage if record.metadata)
    return weight + sum(_weight_of_head(head) for head in (commit.head, commit.initial_head) if head is not None)


_UNBOUNDED_OF: Final = attrgetter(
    "title",
    "model",
    "provider",
    "reasoning_effort",
    "workspace",
    "token_usage",
    "run_state",
    "summary",
    "metadata",
    "authoritative_keys",
    "questions",
)
"""What of a head may be long: names, ids, numbers and times are short."""


def _weight_of_head(head: SessionHead) -> int:
    return LOOP_ROW_BYTES * (1 + len(head.questions)) + _weight_of([value for value in _UNBOUNDED_OF(head) if value])


def _weight_of(values: list[Any]) -> int:
    """The bytes of the texts in JSON values, and `_STEP_BYTES` for each value, counted until they are too many."""
    weight = 0
    while values and weight <= LOOP_COMMIT_BYTES_MAX:
        value = values.pop()
        weight += _STEP_BYTES
        if isinstance(value, str | bytes):
            weight += len(value)
        elif isinstance(value, Mapping):
            values += (value.keys(), value.values())
        elif isinstance(value, msgspec.Struct):
            values += [getattr(value, name) for name in value.__struct_fields__]
        elif hasattr(value, "__iter__"):
            weight += _STEP_BYTES * len(value)
            if weight <= LOOP_COMMIT_BYTES_MAX:
                values += value
    return weight


_STEP_BYTES: Final = 16
"""What a value counts for beside its text: roughly what writing a number takes."""
