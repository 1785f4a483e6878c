"""The history that a new session begins with: a fork's, copied inside storage, byte for byte."""

from __future__ import annotations

from typing import Final

import apsw

from bamboo_sessions.domain.errors import MessageNotFoundError, SessionDeletedError
from bamboo_sessions.storage.commit import Commit, HistorySource, SessionKey
from bamboo_sessions.storage.sqlite.history.versions import HistoryWriter
from bamboo_sessions.storage.sqlite.sessions.rows import require
from bamboo_sessions.storage.sqlite.transactions.connection import row_of, rows_of
from bamboo_sessions.storage.sqlite.transactions.tuning import POSITION_STEP

_LIVED: Final = """
    SELECT row, position FROM messages
    WHERE session = ?1 AND removed_revision IS NULL AND added_revision <= ?2 AND position <= ?3
    UNION ALL
    SELECT row, position FROM messages
    WHERE session = ?1 AND removed_revision IS NOT NULL AND removed_revision > ?2 AND added_revision <= ?2
    AND position <= ?3"""
_NUMBERED: Final = f"SELECT row, row_number() OVER (ORDER BY position) AS number FROM ({_LIVED})"  # noqa: S608 - constants
_COPIED: Final = "message_id, role, tool_call_id, content_hash, body, checksum"

_PLACE: Final = """
    SELECT position, content_hash FROM messages WHERE session = ?1 AND message_id = ?3 AND added_revision <= ?2
    AND (removed_revision IS NULL OR removed_revision > ?2)"""
_PURGED: Final = """
    SELECT message_id FROM messages WHERE session = ?1 AND removed_revision IS NOT NULL AND removed_revision > ?2
    AND added_revision <= ?2 AND position <= ?3 AND body IS NULL LIMIT 1"""
_SIZE: Final = f"""
    SELECT count(*), coalesce(sum(length(body)), 0)
    FROM ({_LIVED}) AS lived JOIN messages ON messages.row = lived.row"""  # noqa: S608 - constants
_COPY: Final = f"""
    INSERT INTO messages ({_COPIED}, session, position, added_revision)
    SELECT {_COPIED}, ?4, number * ?5, ?6 FROM ({_NUMBERED}) AS source JOIN messages ON messages.row = source.row
    ORDER BY number"""  # noqa: S608 - constants
_COPY_CALLS: Final = """
    INSERT INTO tool_calls (session, call_id, message_row)
    SELECT ?4, call_id, copy.row FROM tool_calls AS noted
    CROSS JOIN messages AS original ON original.row = noted.message_row
    CROSS JOIN messages AS copy ON copy.message_id = original.message_id AND copy.session = ?4
    WHERE noted.session = ?1 AND original.position <= ?3 AND original.added_revision <= ?2
    AND (original.removed_revision IS NULL OR original.removed_revision > ?2)"""
"""Goes from the calls to the messages that make them, and by their ids to the copies: an index each (L132)."""

Origin = tuple[int, int, int]
"""Another session's key, the revision, and the last position to take."""


def find_origin(connection: apsw.Connection, namespace: str, source: HistorySource) -> Origin:
    """The messages that a new session begins with."""
    session = require(connection, SessionKey(namespace, source.session_id))
    if source.at_revision < session.incarnation:
        raise SessionDeletedError(source.session_id)
    last = session.tail_position
    if source.through_message_id is not None:
        found = row_of(connection, _PLACE, (session.key, source.at_revision, source.through_message_id))
        if found is None:
            raise MessageNotFoundError(source.session_id, source.through_message_id)
        last = found[0]
    if (purged := row_of(connection, _PURGED, (session.key, source.at_revision, last))) is not None:
        raise MessageNotFoundError(source.session_id, purged[0])
    return session.key, source.at_revision, last


def origin_hashes(connection: apsw.Connection, origin: Origin, commit: Commit) -> dict[str, list[bytes]]:
    """The content hashes that a fork's origin has of the messages which `commit` itself adds."""
    session, revision, last = origin
    known: dict[str, list[bytes]] = {}
    for stored in (stored for insertion in commit.insertions for stored in insertion.messages):
        found = row_of(connection, _PLACE, (session, revision, stored.message.id))
        if found is not None and found[0] <= last:
            known[stored.message.id] = [found[1]]
    return known


def copy_history(connection: apsw.Connection, origin: Origin, history: HistoryWriter) -> None:
    """Copy the rows of another session's messages to the beginning of a new one."""
    count, size = rows_of(connection, _SIZE, origin)[0]
    connection.execute(_COPY, (*origin, history.session, POSITION_STEP, history.revision))
    connection.execute(_COPY_CALLS, (*origin, history.session))
    history.message_count += count
    history.message_bytes += size
    history.tail_position += count * POSITION_STEP
