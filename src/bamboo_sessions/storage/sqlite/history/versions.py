"""Writes the messages of one session inside a commit: rows, positions, and the counts that go with them (G2, G3).

A position is a whole number that gives the order; those of one session are unique among its living messages, and
versions of one message share theirs. Messages added at the end leave wide gaps. What goes inside is spread evenly
over its gap; a gap that is used up makes all positions of the session be given anew, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain.call_groups import Kind, kind_of, kind_of_role
from bamboo_sessions.domain.errors import StorageCorruptError
from bamboo_sessions.domain.message import Message, StoredMessage
from bamboo_sessions.domain.splices import FRONT
from bamboo_sessions.storage.sqlite.history.reads import message_of
from bamboo_sessions.storage.sqlite.sessions.rows import storable
from bamboo_sessions.storage.sqlite.transactions.connection import row_of, rows_of, value_of
from bamboo_sessions.storage.sqlite.transactions.tuning import POSITION_STEP
from bamboo_sessions.storage.sqlite.upkeep.damage import checksum

_INSERT: Final = (
    "INSERT INTO messages "
    "(session, position, message_id, added_revision, role, tool_call_id, content_hash, body, checksum) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LIVE_ROW: Final = (
    "SELECT row, position, length(body) FROM messages WHERE session = ? AND message_id = ? AND removed_revision IS NULL"
)
_NEXT_POSITION: Final = """
    SELECT min(position) FROM (
        SELECT (SELECT position FROM messages WHERE session = ?1 AND position > ?2 AND removed_revision IS NULL
                ORDER BY position LIMIT 1) AS position
        UNION ALL
        SELECT (SELECT position FROM messages WHERE session = ?1 AND position > ?2 AND removed_revision IS NOT NULL
                ORDER BY position LIMIT 1))"""
VERSIONS: Final = """
    SELECT row, position FROM messages WHERE session = ?1 AND removed_revision IS NULL
    UNION ALL SELECT row, position FROM messages WHERE session = ?1 AND removed_revision IS NOT NULL"""
"""Rows and positions of all versions of a session's messages: each of the two halves has its index."""
_RENUMBER: Final = f"""
    UPDATE messages SET position = -ranks.rank * ?2
    FROM (SELECT row, dense_rank() OVER (ORDER BY position) AS rank FROM ({VERSIONS})) AS ranks
    WHERE messages.row = ranks.row"""  # noqa: S608 - constants
_TURN_ROUND: Final = f"UPDATE messages SET position = -position WHERE row IN (SELECT row FROM ({VERSIONS}))"  # noqa: S608
_LAST_NOT_TOOL: Final = """
    SELECT row, position, role FROM messages WHERE session = ? AND removed_revision IS NULL AND role <> 'tool'
    ORDER BY position DESC LIMIT 1"""
_NEWEST_CALL: Final = """
    SELECT messages.row, messages.position FROM tool_calls JOIN messages ON messages.row = tool_calls.message_row
    WHERE tool_calls.session = ? AND tool_calls.call_id = ? AND messages.removed_revision IS NULL
    AND messages.role = 'assistant'
    ORDER BY messages.position DESC LIMIT 1"""
_BEHIND: Final = """
    SELECT row, position, role, CASE role WHEN 'assistant' THEN body END FROM messages
    WHERE session = ? AND position > ? AND removed_revision IS NULL ORDER BY position LIMIT ?"""
_ROWS_AT_ONCE: Final = 16
_LAST_BEFORE: Final = """
    SELECT row, message_id FROM messages WHERE session = ? AND position < ? AND removed_revision IS NULL
    ORDER BY position DESC LIMIT 1"""

_LIVE_AFTER: Final = """
    SELECT 1 FROM messages WHERE session = ? AND position > ? AND removed_revision IS NULL
    ORDER BY position LIMIT 1"""


_Placed = tuple[StoredMessage, int]
"""A message and its position."""


class HistoryWriter(msgspec.Struct):
    """Changes the history of a session in a commit of time `at`; the fields are what becomes of its counters."""

    connection: apsw.Connection
    session: int
    session_id: str
    revision: int
    at: int
    message_count: int = 0
    message_bytes: int = 0
    tail_position: int = 0
    reshaped: bool = False
    added: list[tuple[int, Message]] = msgspec.field(default_factory=list)
    """Row numbers and messages that were added, edits not counted."""

    # --- adding

    def append(self, messages: Sequence[StoredMessage], *, known: AbstractSet[str] = frozenset()) -> None:
        """Add at the end. Messages with `known` ids, of a history that is written anew, don't count as added."""
        first = self.tail_position + POSITION_STEP
        self.tail_position += len(messages) * POSITION_STEP
        placed = [(stored, first + index * POSITION_STEP) for index, stored in enumerate(messages)]
        if known:
            self._insert([each for each in placed if each[0].message.id in known])
            placed = [each for each in placed if each[0].message.id not in known]
        self._add(placed)

    def insert_behind(self, after: str, messages: Sequence[StoredMessage]) -> None:
        """Add directly behind the living message `after`, or in front of all (`FRONT`)."""
        self.insert_behind_row(None if after == FRONT else self._living(after)[0], messages)

    def insert_behind_row(self, anchor: int | None, messages: Sequence[StoredMessage]) -> None:
        """Add directly behind the message in row `anchor`; `None`: in front of all."""
        low, high = self._gap(anchor)
        if high is None:
            self.append(messages)
            return
        if high - low <= len(messages):
            self._renumber(len(messages))
            low, high = self._gap(anchor)
            assert high is not None  # noqa: S101 - renumbering doesn't change the order
        self.reshaped = True
        step = (high - low) // (len(messages) + 1)
        self._add([(stored, low + index * step) for index, stored in enumerate(messages, 1)])

    def _add(self, placed: Sequence[_Placed]) -> None:
        first = self._insert(placed)
        self.added += [(row, stored.message) for row, (stored, _) in enumerate(placed, first)]

    def _insert(self, placed: Sequence[_Placed]) -> int:
        """Write rows; returns the number of the first, which the others follow."""
        self.connection.executemany(
            _INSERT,
            [
                (
                    self.session,
                    position,
                    stored.message.id,
                    self.revision,
                    stored.message.role,
                    storable(stored.message.tool_call_id),
                    stored.content_hash,
                    stored.body,
                    checksum(stored.body),
                )
                for stored, position in placed
            ],
        )
        first = self.connection.last_insert_rowid() - len(placed) + 1
        for row, (stored, _) in enumerate(placed, first):
            if stored.message.tool_calls:
                add_tool_calls(self.connection, self.session, row, stored.message)
            self.message_bytes += len(stored.body)
        self.message_count += len(placed)
        return first

    # --- changing

    def edit(self, stored: StoredMessage) -> None:
        """End the living version and put the new one in its place."""
        position = self._end(stored.message.id)
        self._insert([(stored, position)])

    def remove(self, message_id: str) -> None:
        """End the living version."""
        self._end(message_id)

    def _end(self, message_id: str) -> int:
        row, position, size = self._living(message_id)
        self.connection.execute(
            "UPDATE messages SET removed_revision = ?, removed_at = ? WHERE row = ?", (self.revision, self.at, row)
        )
        self.message_count -= 1
        self.message_bytes -= size
        self.reshaped = True
        return position

    def _living(self, message_id: str) -> tuple[int, int, int]:
        found = row_of(self.connection, _LIVE_ROW, (self.session, message_id))
        if found is None:
            raise StorageCorruptError(
                f"Session {self.session_id!r} has no living message {message_id!r}; nothing was written.",
                hint="Please report this: a merge named a message that is gone.",
            )
        row, position, size = found
        return row, position, size

    # --- places

    def _gap(self, anchor: int | None) -> tuple[int, int | None]:
        """The position of `anchor`, and the next one in use, also by a removed message."""
        low = 0
        if anchor is not None:
            low = value_of(self.connection, "SELECT position FROM messages WHERE row = ?", (anchor,))
        return low, value_of(self.connection, _NEXT_POSITION, (self.session, low))

    def _renumber(self, room: int) -> None:
        """Give all positions anew, `room` messages apart at least. In two steps, for each has to be unique."""
        step = max(POSITION_STEP, room + 1)
        self.connection.execute(_RENUMBER, (self.session, step))
        self.connection.execute(_TURN_ROUND, (self.session,))
        self.tail_position = value_of(self.connection, f"SELECT max(position) FROM ({VERSIONS})", (self.session,))  # noqa: S608

    def newest_call(self, call_id: str) -> tuple[int, int] | None:
        """Row and position of the newest living message that makes a tool call.

        That is mostly the last one that isn't a tool's; call ids are reused, so that any other takes a search.
        """
        found = row_of(self.connection, _LAST_NOT_TOOL, (self.session,))
        sql = "SELECT 1 FROM tool_calls WHERE session = ? AND call_id = ? AND message_row = ? AND ? = 'assistant'"
        if found and not row_of(self.connection, sql, (self.session, storable(call_id), found[0], found[2])):
            found = row_of(self.connection, _NEWEST_CALL, (self.session, storable(call_id)))
        return None if found is None else (found[0], found[1])

    def behind(self, position: int) -> Iterator[tuple[int, Kind]]:
        """The rows of the living messages behind `position`, and what they are to call groups; read as needed."""
        while True:
            rows = rows_of(self.connection, _BEHIND, (self.session, position, _ROWS_AT_ONCE))
            for row, _, role, body in rows:
                yield row, kind_of_role(role) if body is None else kind_of(message_of(self.session_id, body))
            if len(rows) < _ROWS_AT_ONCE:
                return
            position = rows[-1][1]

    def before(self, position: int) -> tuple[int, str] | None:
        """Row and id of the living message before `position`."""
        found = row_of(self.connection, _LAST_BEFORE, (self.session, position))
        return None if found is None else (found[0], found[1])

    def is_last(self, position: int) -> bool:
        """Whether no living message comes after `position`."""
        found = row_of(self.connection, _LIVE_AFTER, (self.session, position))
        return found is None


def add_tool_calls(connection: apsw.Connection, session: int, row: int, message: Message) -> None:
    """Note which calls the message version in `row` makes."""
    for call in message.tool_calls:
        connection.execute(
            "INSERT OR IGNORE INTO tool_calls (session, call_id, message_row) VALUES (?, ?, ?)",
            (session, storable(call.id), row),
        )
