"""The usual commit: messages behind the newest state, in two statements.

One UPDATE of the session's row has all of admission in its condition, and one INSERT is the commit. If no row is
updated, nothing was written, and the general way tells why, or finds that it may be done: a conflict, a session that
was deleted, a newer run lease, message ids that have to be looked for. Whether this very commit was made before,
the caller has asked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import apsw

from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.storage.commit import Commit, Committed, StoredInsertion
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.lines import bits_of, stored_id
from bamboo_sessions.storage.sqlite.history.writing import CommitRow, write_commit
from bamboo_sessions.storage.sqlite.transactions.connection import row_of
from bamboo_sessions.storage.sqlite.transactions.tuning import ROW_BYTES_MAX, ROW_LINES_MAX

_ADMIT: Final = """
    UPDATE sessions SET revision = revision + 1, updated_at = max(?, updated_at + 1),
        message_count = message_count + ?, message_bytes = message_bytes + ?, last_id = ?
    WHERE namespace = ? AND session_id = ? AND deleted_at IS NULL AND revision = ifnull(?, revision)
        AND incarnation = ifnull(?, incarnation) AND lease_token <= ifnull(?, lease_token) AND last_id < ?
        AND NOT EXISTS (SELECT 1 FROM burnt WHERE burnt.commit_id = ? AND burnt.namespace = sessions.namespace
            AND burnt.session_id = sessions.session_id)
    RETURNING key, revision, incarnation, updated_at, message_count"""
_MESSAGES: Final = bits_of(("messages",))


def apply_usual(connection: apsw.Connection, commit: Commit, now: datetime) -> Committed | None:
    """Apply `commit` if it is a usual one and may go ahead; `None`: nothing was written, and nothing is said."""
    insertion = _only_insertion(commit)
    if insertion is None:
        return None
    messages = [stored.message for stored in insertion.messages]
    added = [message.id for message in messages]
    if not ids.is_new(added, ""):
        return None
    bodies = [stored.body for stored in insertion.messages]
    size = sum(map(len, bodies))
    if len(bodies) > ROW_LINES_MAX or size > ROW_BYTES_MAX:
        return None
    wished, counts = to_micros(commit.updated_at or commit.at), (len(bodies), size)
    expected = (commit.expected, commit.incarnation, commit.fence)
    admitted = row_of(
        connection, _ADMIT, (wished, *counts, added[-1], *commit.key, *expected, added[0], commit.commit_id)
    )
    if admitted is None:
        return None
    key, revision, incarnation, updated_at, message_count = admitted
    row = CommitRow(
        session=key,
        revision=revision,
        incarnation=incarnation,
        commit_id=stored_id(commit.commit_id),
        kinds=_MESSAGES,
        at=to_micros(commit.at),
        logged_at=to_micros(now),
        updated_at=updated_at,
        message_count=message_count,
        call=commit.call or None,
        lines=len(bodies),
    )
    write_commit(connection, row, b"\n".join(bodies))
    return Committed(
        revision=revision,
        incarnation=incarnation,
        updated_at=from_micros(updated_at),
        message_count=message_count,
        placed=(Insertion(tuple(messages)),),
    )


def _only_insertion(commit: Commit) -> StoredInsertion | None:
    """What a commit adds at the end, if that is all that it does and nothing else has to be looked at."""
    if (
        len(commit.insertions) != 1
        or commit.expected == 0
        or commit.head is not None
        or commit.if_last_message is not None
        or commit.edits
        or commit.removals
        or commit.usage
        or commit.records
        or commit.replace
        or commit.history_from is not None
    ):
        return None
    insertion = commit.insertions[0]
    if insertion.after is not None or not insertion.messages:
        return None
    if not insertion.in_order and any(stored.message.role == "tool" for stored in insertion.messages):
        return None
    return insertion
