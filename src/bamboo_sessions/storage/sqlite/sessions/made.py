"""The memory of commit ids: which commits were made, and which never may (G4)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import apsw
import msgspec

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import kinds_in, stored_id
from bamboo_sessions.storage.sqlite.sessions.rows import find
from bamboo_sessions.storage.sqlite.transactions.connection import reading, row_of

_BURN: Final = "INSERT OR IGNORE INTO burnt (commit_id, namespace, session_id, at) VALUES (?, ?, ?, ?)"
_MADE: Final = """
    SELECT revision, incarnation, updated_at, message_count, record_versions, call, kinds, ifnull(first, position),
    position FROM commits WHERE position = ? AND session = ? AND commit_id = ? AND kinds <> 0
    AND position > (SELECT value FROM meta WHERE name = 'pruned_up_to')"""


class Made(msgspec.Struct, frozen=True):
    """A commit that is remembered; times in microseconds."""

    revision: int
    incarnation: int
    updated_at: int
    message_count: int
    record_versions: str | None
    call: str | None
    kinds: int
    first: int
    position: int

    @property
    def is_deletion(self) -> bool:
        """Whether it deleted the session."""
        return "deleted" in kinds_in(self.kinds)


def find_made(connection: apsw.Connection, session: int, commit_id: str) -> Made | None:
    """The commit of this id that was made in a session, if it is remembered (G4)."""
    for position in ids.positions_of_commit(connection, commit_id, session):
        found = row_of(connection, _MADE, (position, session, stored_id(commit_id)))
        if found is not None:
            return Made(*found)
    return None


def find_commit(connection: apsw.Connection, key: SessionKey, commit_id: str) -> int | None:
    """The revision that a commit made, or `None` if it hasn't happened."""
    with reading(connection):
        row = find(connection, key)
        made = None if row is None else find_made(connection, row.key, commit_id)
    return None if made is None else made.revision


def settle(connection: apsw.Connection, key: SessionKey, commit_id: str, now: datetime) -> int | None:
    """The revision that a commit made; `None` if it never happened, and never will."""
    revision = find_commit(connection, key, commit_id)
    if revision is None:
        connection.execute(_BURN, (commit_id, *key, to_micros(now)))
    return revision
