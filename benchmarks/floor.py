"""The floor: the least that durable storage of messages costs here. apsw, msgspec, one transaction with fsync."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from bamboo_sessions import Message

_SCHEMA = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, session INTEGER, position INTEGER, message_id TEXT, body BLOB)"
)


class Floor:
    """One table, one connection, no guarantee but durability."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_SCHEMA)
        self._connection.execute("CREATE INDEX by_place ON messages (session, position)")
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Message).decode
        self._position = 0

    def append(self, messages: Sequence[Message], *, session: int = 1) -> None:
        """Add messages durably."""
        self._connection.execute("BEGIN IMMEDIATE")
        for message in messages:
            self._position += 1
            self._connection.execute(
                "INSERT INTO messages (session, position, message_id, body) VALUES (?, ?, ?, ?)",
                (session, self._position, message.id, self._encode(message)),
            )
        self._connection.execute("COMMIT")

    def append_group(self, turns: Sequence[Sequence[Message]]) -> None:
        """Add many sessions' turns in one transaction."""
        self.append([message for turn in turns for message in turn])

    def load(self, *, session: int = 1) -> list[Message]:
        """All messages, decoded."""
        query = "SELECT body FROM messages WHERE session = ? ORDER BY position"
        return [self._decode(body) for (body,) in self._connection.execute(query, (session,))]

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()
