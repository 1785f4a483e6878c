"""The floor: the least that durable storage of messages costs here. apsw, msgspec, one transaction with fsync.

No guarantee but durability: no ids looked up, no revisions, no merging, no feed, no cache. Appends from several tasks
are grouped by a thread into one transaction, for an event loop can't wait for a disk.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

import apsw
import msgspec

from bamboo_sessions import Message, SessionHead
from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from benchmarks.stores.base import Store, owner_of
from benchmarks.stores.ours import messages_of

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS messages
        (id INTEGER PRIMARY KEY, session TEXT, position INTEGER, message_id TEXT, body BLOB);
    CREATE INDEX IF NOT EXISTS by_place ON messages (session, position);
    CREATE TABLE IF NOT EXISTS packed (session TEXT PRIMARY KEY, document BLOB);
    CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, owner TEXT, updated_at INTEGER, document BLOB);
    CREATE INDEX IF NOT EXISTS by_time ON sessions (updated_at);
    CREATE INDEX IF NOT EXISTS by_owner ON sessions (owner, updated_at)"""
_INSERT = "INSERT INTO messages (session, position, message_id, body) VALUES (?, ?, ?, ?)"
_Waiting = tuple[str, list[Message], asyncio.Future[None]]


class Floor(Store):
    """A few tables, one connection."""

    async def open(self) -> None:
        self._connection = apsw.Connection(str(self.path))
        self._connection.set_busy_handler(_nap)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "mmap_size = 268435456", "cache_size = -32768"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        with self._connection:
            self._connection.execute(_SCHEMA)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(list[Message]).decode
        self._decode_head = msgspec.json.Decoder(SessionHead).decode
        self._positions: dict[str, int] = {}
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
        self._connection.close()

    async def prepare(self, session: str) -> None:
        last = self._values("SELECT max(position) FROM messages WHERE session = ?", session)
        self._positions[session] = last[0] or 0

    async def append(self, session: str, texts: Sequence[str]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._insert(session, messages_of(texts))
        self._connection.execute("COMMIT")

    def _insert(self, session: str, messages: Sequence[Message]) -> None:
        position = self._positions[session]
        for message in messages:
            position += 1
            self._connection.execute(_INSERT, (session, position, message.id, self._encode(message)))
        self._positions[session] = position

    async def fill(self, session: str, texts: Sequence[str]) -> None:
        await self.append(session, texts)
        rows = self._rows(session)
        self._connection.execute("INSERT OR REPLACE INTO packed VALUES (?, ?)", (session, rows))

    # --- reading

    async def load(self, session: str) -> int:
        return len(self._decode(self._rows(session)))

    async def load_packed(self, session: str) -> int:
        return len(self._decode(self._values("SELECT document FROM packed WHERE session = ?", session)[0]))

    async def last(self, session: str, count: int) -> int:
        query = "SELECT body FROM messages WHERE session = ? ORDER BY position DESC LIMIT ?"
        return len(self._decode(b"[" + b",".join(reversed(self._values(query, session, count))) + b"]"))

    def _rows(self, session: str) -> bytes:
        query = "SELECT body FROM messages WHERE session = ? ORDER BY position"
        return b"[" + b",".join(self._values(query, session)) + b"]"

    def _values(self, query: str, *args: str | int) -> list[Any]:
        return [value for (value,) in self._connection.execute(query, args).fetchall()]

    # --- listing

    async def add_sessions(self, first: int, count: int) -> None:
        with self._connection:
            for number in range(first, first + count):
                now = SYSTEM_CLOCK.now()
                head = SessionHead(
                    id=f"chat-{number}",
                    root_session_id=f"chat-{number}",
                    title=f"Order {number}",
                    owner=owner_of(number),
                    created_at=now,
                    updated_at=now,
                )
                values = (head.id, head.owner, number, self._encode(head))
                self._connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", values)

    async def page(self, owner: str | None) -> int:
        where, args = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
        query = f"SELECT document FROM sessions {where} ORDER BY updated_at DESC LIMIT 50"  # noqa: S608
        return len([self._decode_head(document) for document in self._values(query, *args)])


class GroupingFloor(Floor):
    """The floor for many tasks at once: group commit on a thread."""

    async def append(self, session: str, texts: Sequence[str]) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._write, daemon=True)
            self._thread.start()
        done = self._loop.create_future()
        self._queue.put((session, messages_of(texts), done))
        await done

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            try:
                while (more := self._queue.get_nowait()) is not None:
                    group.append(more)
            except Empty:
                pass
            self._connection.execute("BEGIN IMMEDIATE")
            for session, messages, _ in group:
                self._insert(session, messages)
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_answer, [done for _, _, done in group])


def _nap(_attempt: int) -> bool:
    """Wait for another process's lock: SQLite's own naps grow to a tenth of a second, while the lock is free."""
    time.sleep(0.0005)
    return True


def _answer(waiting: list[asyncio.Future[None]]) -> None:
    for done in waiting:
        done.set_result(None)


STORE = Floor
