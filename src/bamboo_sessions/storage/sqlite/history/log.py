"""A session's history as it lies in its log: in which order its lines stand, and reading stretches of them.

Rows are found by an index of a session's rows with lines. A stretch is read row by row, forwards or backwards, as far
as it is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.runs import (
    END,
    LINE_BITS,
    UNSHAPED,
    Order,
    Run,
    Runs,
    Span,
    address_of,
    ended,
    position_of,
    reshaped,
)
from bamboo_sessions.storage.sqlite.history.lines import Line, lines_between, parts_of, shape_of
from bamboo_sessions.storage.sqlite.sessions.rows import SessionRow
from bamboo_sessions.storage.sqlite.transactions.budget import Budget, bounded
from bamboo_sessions.storage.sqlite.transactions.connection import Row, rows_of, value_of

_RUNS: Final = msgspec.json.Decoder(tuple[Run, ...])
_ROWS: Final = f"""
    SELECT position, {{column}} FROM commits WHERE session = ? AND lines > 0 AND position BETWEEN ? AND ?
    AND (position << {LINE_BITS} | lines - 1) >= ? ORDER BY position {{order}}"""  # noqa: S608 - constants
_SHAPES: Final = """
    SELECT position, first, revision, lines, shape FROM commits WHERE session = ? AND shape IS NOT NULL
    ORDER BY position"""
_LAST_UP_TO: Final = """
    SELECT position FROM commits WHERE session = ? AND lines > 0 AND revision <= ? ORDER BY position DESC LIMIT 1"""
_COUNTS: Final = "SELECT position, lines FROM commits WHERE session = ? AND lines > 0 ORDER BY position"


class Log(msgspec.Struct, frozen=True):
    """The history of a session; `budget` bounds what may be read of it (`TooLong`)."""

    connection: apsw.Connection
    session: int
    session_id: str
    order: Order
    budget: Budget | None = None

    def lines(self, spans: Sequence[Span], *, backwards: bool = False) -> Iterator[Line]:
        """The lines in `spans`, in their order or backwards; read as they are taken."""
        for position, body, span in self._rows(spans, backwards=backwards):
            found = lines_between(position, body, span)
            yield from reversed(found) if backwards else found

    def rows(self, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
        """The lines in `spans`, a row's at a time: how many, and the lines as they lie there."""
        for position, body, (start, stop) in self._rows(spans):
            count = body.count(b"\n") + 1
            if start <= address_of(position, 0) and address_of(position, count - 1) < stop:
                yield count, body
            elif found := lines_between(position, body, (start, stop)):
                yield len(found), b"\n".join([line.body for line in found])

    def _rows(self, spans: Sequence[Span], *, backwards: bool = False) -> Iterator[tuple[int, bytes, Span]]:
        """Positions and bodies of the rows that can have lines in `spans`."""
        sql = _ROWS.format(column=bounded("body", self.budget), order="DESC" if backwards else "ASC")
        for span in reversed(spans) if backwards else spans:
            start, stop = span
            args = (self.session, position_of(start), position_of(stop - 1), start)
            cursor = self.connection.execute(sql, args)
            try:
                for position, body in cursor:
                    if self.budget is not None:
                        self.budget.spend_value(body)
                    yield position, body, span
            finally:
                cursor.close(force=True)

    def last(self) -> Line | None:
        """The last living line."""
        return next(self.lines(self.order.living(), backwards=True), None)

    def all_living(self) -> list[Line]:
        """All living lines, read in one go."""
        sql = _ROWS.format(column=bounded("body", self.budget), order="ASC")
        rows = [(position, body) for position, body in rows_of(self.connection, sql, (self.session, 0, END, 0))]
        if self.budget is not None:
            for _, body in rows:
                self.budget.spend_value(body)
        return assembled(rows, self.order.living())

    def counts(self) -> list[tuple[int, int]]:
        """The positions of its rows, and how many lines each has."""
        return [(position, lines) for position, lines in rows_of(self.connection, _COUNTS, (self.session,))]

    def stretches(self) -> Iterator[range]:
        """The addresses of the living lines, in their order, a row's part at a time; reads no line."""
        rows = self.counts()
        positions = [position for position, _ in rows]
        for start, stop in self.order.living():
            for index in parts_of(positions, (start, stop)):
                position, lines = rows[index]
                first = address_of(position, 0)
                yield range(max(first, start), min(first + lines, stop))

    def count(self) -> int:
        """How many lines live."""
        return sum(map(len, self.stretches()))

    def read(self, addresses: Iterable[int]) -> dict[int, bytes]:
        """Some lines."""
        spans = [(address, address + 1) for address in sorted(addresses)]
        return {line.address: line.body for line in self.lines(spans)}


def assembled(rows: Sequence[tuple[int, bytes]], spans: Sequence[Span]) -> list[Line]:
    """The lines in `spans`, in their order, taken from `rows`, which are in the order of their positions."""
    positions = [row[0] for row in rows]
    return [line for span in spans for index in parts_of(positions, span) for line in lines_between(*rows[index], span)]


# --- the order


def log_of(connection: apsw.Connection, row: SessionRow, budget: Budget | None = None) -> Log:
    """The history of a living session as it is."""
    return Log(connection, row.key, row.session_id, Order(runs_of(connection, row)), budget)


def runs_of(connection: apsw.Connection, row: SessionRow) -> Runs:
    """The order of a living session's lines."""
    if not row.reshaped_revision:
        return UNSHAPED
    found = value_of(connection, "SELECT runs FROM shapes WHERE session = ?", (row.key,))
    return json.decode(found or b"", _RUNS, what=f"The order of session {row.session_id!r}")


def write_runs(connection: apsw.Connection, session: int, runs: Runs) -> None:
    """Keep the order of a session's lines."""
    connection.execute("INSERT OR REPLACE INTO shapes (session, runs) VALUES (?, ?)", (session, json.encode(runs)))


def log_at(connection: apsw.Connection, row: SessionRow, revision: int | None) -> Log:
    """The history as it was at a revision; lines of later ones have their places, and don't live."""
    if revision is None or revision >= row.revision:
        return log_of(connection, row)
    last = value_of(connection, _LAST_UP_TO, (row.key, revision)) or 0
    runs = replayed(rows_of(connection, _SHAPES, (row.key,)), revision) if row.reshaped_revision else UNSHAPED
    return Log(connection, row.key, row.session_id, Order(ended(runs, [(address_of(last + 1, 0), END)])))


def replayed(rows: Sequence[Row], revision: int) -> Runs:
    """The order that commits with a shape gave; those behind `revision` end no lines."""
    runs: Runs = UNSHAPED
    for position, first, made, lines, shape in rows:
        own = (address_of(first or position, 0), address_of(position, lines))
        if (found := shape_of(shape)).is_ordering:
            runs = reshaped(runs, found, own, removes=made <= revision)
    return runs


def shapes_of(connection: apsw.Connection, session: int) -> list[Row]:
    """The rows for `replayed`."""
    return rows_of(connection, _SHAPES, (session,))
