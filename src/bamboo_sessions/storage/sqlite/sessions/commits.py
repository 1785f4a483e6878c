"""Applies one commit, inside the writer's transaction: all of it or nothing (G3).

Reads one row of `sessions`, probes the ids of new messages, writes what is new, one row of `changes`, and the
counters. Whatever it raises, the caller rolls back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import apsw

from bamboo_sessions.domain.change import ChangeKind
from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.errors import (
    MessageIdConflictError,
    StorageError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import StoredMessage, from_body, to_stored
from bamboo_sessions.domain.tree import kept, placed
from bamboo_sessions.storage.checks import check_commit
from bamboo_sessions.storage.commit import (
    Admission,
    Commit,
    Committed,
    RecordScope,
    SessionKey,
    StoredInsertion,
    admit,
    burnt,
    check_last_message,
    check_repeated,
    kinds_of,
    taken,
)
from bamboo_sessions.storage.record_plan import NO_RECORDS, RecordPlan
from bamboo_sessions.storage.sqlite.history.fork_source import Origin, copy_history, find_origin, origin_hashes
from bamboo_sessions.storage.sqlite.history.placement import place
from bamboo_sessions.storage.sqlite.history.versions import HistoryWriter
from bamboo_sessions.storage.sqlite.sessions import records, usage
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.rows import COLUMNS, DELETED, SessionRow, find, require, write_head
from bamboo_sessions.storage.sqlite.transactions.connection import Row, reading, row_of, rows_of, value_of

_FIND: Final = f"""
    SELECT (SELECT position FROM changes WHERE commit_id = ?1 AND changes.session = sessions.key),
    EXISTS (SELECT 1 FROM burnt WHERE commit_id = ?1 AND namespace = ?2 AND session_id = ?3), {COLUMNS}
    FROM sessions WHERE namespace = ?2 AND session_id = ?3"""  # noqa: S608 - constants
_REPLAY: Final = (
    "SELECT revision, incarnation, updated_at, message_count, record_versions, kinds, call FROM changes "
    "WHERE position = ?"
)
_ADDED: Final = "SELECT 1 FROM messages WHERE session = ? AND message_id = ? AND added_revision = ?"
_LAST: Final = """
    SELECT message_id FROM messages WHERE session = ? AND removed_revision IS NULL ORDER BY position DESC LIMIT 1"""
_REVISION: Final = "SELECT revision FROM changes WHERE commit_id = ? AND session = ?"
_BURN: Final = "INSERT OR IGNORE INTO burnt (commit_id, namespace, session_id, at) VALUES (?, ?, ?, ?)"
_IS_BURNT: Final = "SELECT 1 FROM burnt WHERE commit_id = ? AND namespace = ? AND session_id = ?"
_HASHES: Final = "SELECT message_id, content_hash FROM messages WHERE session = ? AND message_id = ?"
_BODIES: Final = "SELECT body FROM messages WHERE session = ? AND message_id = ?"
_LOG: Final = (
    "INSERT INTO changes (session, revision, incarnation, commit_id, kinds, at, logged_at, updated_at, message_count, "
    "first_row, row_count, record_versions, call) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COUNT: Final = (
    "UPDATE sessions SET revision = ?, updated_at = ?, message_count = ?, message_bytes = ?, tail_position = ?, "
    "reshaped_revision = ? WHERE key = ?"
)


def apply(connection: apsw.Connection, commit: Commit, now: datetime) -> Committed:
    """Apply `commit`; the rules are those of `SessionStorage.commit`."""
    check_commit(commit)
    row, logged = _find(connection, commit)
    if row is not None and logged is not None:
        return _replayed(connection, commit, row, logged)
    admission = admit(commit, row.current if row else None)
    living = row if row is not None and not admission.created else None
    if commit.if_last_message is not None:
        check_last_message(commit, value_of(connection, _LAST, (living.key,)) if living else None)
    given = commit.head or (commit.initial_head if living is None else None)
    head = None if given is None else _placed(connection, commit, given, living)
    source = commit.history_from
    origin = find_origin(connection, commit.key.namespace, source) if source is not None else None
    insertions, duplicates = _sift(connection, commit, living, origin)
    new_usage = usage.new_records(connection, living.key if living else None, commit.usage) if commit.usage else []
    plan = NO_RECORDS
    if commit.records:
        scope = RecordScope("session", commit.key.session_id)
        plan = records.planned(connection, commit.key.namespace, scope, commit.records)
    if living and not (insertions or new_usage or head or commit.edits or commit.removals or plan.changes):
        return _unchanged(living, duplicates, plan)
    session = _write_head(connection, commit, admission, head, row)
    history = _history(connection, commit, admission, session, living)
    for message_id in commit.removals:
        history.remove(message_id)
    for stored in commit.edits:
        history.edit(stored)
    if origin is not None:
        copy_history(connection, origin, history)
    placements = place(history, commit, insertions)
    if new_usage:
        usage.write(connection, session, new_usage)
    recorded = bool(plan.changes or origin) and _write_records(connection, commit, plan)
    kinds = kinds_of(
        commit, created=admission.created, inserted=bool(insertions), used=bool(new_usage), recorded=recorded
    )
    _finish(connection, commit, admission, history, living, kinds=kinds, plan=plan, now=now)
    return Committed(
        revision=admission.revision,
        incarnation=admission.incarnation,
        updated_at=admission.updated_at,
        message_count=history.message_count,
        placed=placements,
        duplicates=duplicates,
        record_versions=plan.versions,
        head=head if head is not given else None,
    )


def _find(connection: apsw.Connection, commit: Commit) -> tuple[SessionRow | None, int | None]:
    """The session's row; and the commit's position in `changes`, if it was made already."""
    asked = (commit.commit_id, *commit.key)
    found = row_of(connection, _FIND, asked)
    if found is None:
        logged, is_burnt, row = None, row_of(connection, _IS_BURNT, asked) is not None, None
    else:
        logged, is_burnt, row = found[0], found[1], SessionRow(*found[2:])
    if is_burnt:
        raise burnt(commit.commit_id)
    return row, logged


def _replayed(connection: apsw.Connection, commit: Commit, row: SessionRow, position: int) -> Committed:
    """The outcome of then (G4)."""
    ((revision, incarnation, updated_at, message_count, versions, kinds, call),) = rows_of(
        connection, _REPLAY, (position,)
    )
    if kinds == DELETED:
        raise taken(commit.key.session_id, commit.commit_id)
    check_repeated(commit, call or "")
    lives = row.is_living and row.incarnation == incarnation
    return Committed(
        revision=revision,
        incarnation=incarnation,
        updated_at=from_micros(updated_at),
        message_count=message_count,
        duplicates=_duplicates_of(connection, commit, row, revision) if lives else (),
        replayed=True,
        record_versions=records.from_text(versions or ""),
    )


def _duplicates_of(connection: apsw.Connection, commit: Commit, row: SessionRow, revision: int) -> tuple[str, ...]:
    """The messages that are stored, but weren't added by the commit of then."""
    known = _known_hashes(connection, commit, row)
    given = [stored for insertion in commit.insertions for stored in insertion.messages]
    stored_ids = [
        stored.message.id
        for stored in given
        if stored.content_hash in known.get(stored.message.id, ()) or _is_stored(connection, row, stored)
    ]
    return tuple(id_ for id_ in stored_ids if row_of(connection, _ADDED, (row.key, id_, revision)) is None)


def _unchanged(row: SessionRow, duplicates: tuple[str, ...], plan: RecordPlan) -> Committed:
    return Committed(
        revision=row.revision,
        incarnation=row.incarnation,
        updated_at=from_micros(row.updated_at),
        message_count=row.message_count,
        changed=False,
        duplicates=duplicates,
        record_versions=plan.versions,
    )


# --- what has to hold


def _placed(connection: apsw.Connection, commit: Commit, head: SessionHead, living: SessionRow | None) -> SessionHead:
    """`head` with its place in the tree. A new child's parent has to live, or it would be an orphan (L110)."""
    if living is not None:
        return kept(head, read_head(connection, living)) if commit.replace else head

    def parent(session_id: str) -> SessionHead:
        return read_head(connection, require(connection, SessionKey(commit.key.namespace, session_id)))

    return placed(head, parent)


def _sift(
    connection: apsw.Connection, commit: Commit, living: SessionRow | None, origin: Origin | None
) -> tuple[Sequence[StoredInsertion], tuple[str, ...]]:
    """The insertions without what is known already (G4), of a fork's origin too; raises `MessageIdConflictError`."""
    if commit.replace or not commit.insertions:
        return [insertion for insertion in commit.insertions if insertion.messages], ()
    known = _known_hashes(connection, commit, living)
    if origin is not None:
        known = origin_hashes(connection, origin, commit)
    sifted: list[StoredInsertion] = []
    duplicates: list[str] = []
    for insertion in commit.insertions:
        fresh = []
        for stored in insertion.messages:
            hashes = known.setdefault(stored.message.id, [])
            if not hashes:
                hashes.append(stored.content_hash)
                fresh.append(stored)
            elif stored.content_hash in hashes or _is_stored(connection, living, stored):
                duplicates.append(stored.message.id)
            else:
                raise MessageIdConflictError(commit.key.session_id, stored.message.id)
        if fresh:
            sifted.append(insertion._replace(messages=tuple(fresh)))
    return sifted, tuple(duplicates)


def _known_hashes(connection: apsw.Connection, commit: Commit, living: SessionRow | None) -> dict[str, list[bytes]]:
    """The content hashes of all versions, living and removed, of the ids that `commit` adds."""
    known: dict[str, list[bytes]] = {}
    if living is not None and living.tail_position:
        ids = ((living.key, stored.message.id) for insertion in commit.insertions for stored in insertion.messages)
        found: list[Row] = connection.executemany(_HASHES, ids).fetchall()
        for message_id, content_hash in found:
            known.setdefault(message_id, []).append(content_hash)
    return known


def _is_stored(connection: apsw.Connection, living: SessionRow | None, stored: StoredMessage) -> bool:
    """Whether a version has this content under another hash: rows of earlier forms hashed equal messages apart."""
    bodies = rows_of(connection, _BODIES, (living.key, stored.message.id)) if living is not None else []
    return any(to_stored(from_body(body)).content_hash == stored.content_hash for (body,) in bodies if body)


# --- writing


def _write_head(
    connection: apsw.Connection, commit: Commit, admission: Admission, head: SessionHead | None, row: SessionRow | None
) -> int:
    if head is not None:
        return write_head(connection, commit.key, head, admission, row=row)
    if row is None or admission.created:
        raise StorageError(f"A commit for session {commit.key.session_id!r} creates it without a head.")
    return row.key


def _write_records(connection: apsw.Connection, commit: Commit, plan: RecordPlan) -> bool:
    """Write records, and those that a fork begins with; whether there were any."""
    records.apply(connection, commit.key.namespace, plan.changes)
    source = commit.history_from
    copied = source is not None and records.copy(connection, source, commit.key)
    return copied or bool(plan.changes)


def _history(
    connection: apsw.Connection, commit: Commit, admission: Admission, session: int, living: SessionRow | None
) -> HistoryWriter:
    history = HistoryWriter(connection, session, commit.key.session_id, admission.revision, to_micros(commit.at))
    if living is not None:
        history.message_count = living.message_count
        history.message_bytes = living.message_bytes
        history.tail_position = living.tail_position
    return history


def _finish(
    connection: apsw.Connection,
    commit: Commit,
    admission: Admission,
    history: HistoryWriter,
    living: SessionRow | None,
    *,
    kinds: tuple[ChangeKind, ...],
    plan: RecordPlan,
    now: datetime,
) -> None:
    """Log the commit and write the counters. The rows of the messages that it added follow one another."""
    updated_at = to_micros(admission.updated_at)
    connection.execute(
        _LOG,
        (
            history.session,
            admission.revision,
            admission.incarnation,
            commit.commit_id,
            ",".join(kinds),
            to_micros(commit.at),
            to_micros(now),
            updated_at,
            history.message_count,
            history.added[0][0] if history.added else 0,
            len(history.added),
            records.to_text(plan.versions) if plan.versions else None,
            commit.call,
        ),
    )
    reshaped = admission.revision if history.reshaped else living.reshaped_revision if living else 0
    connection.execute(
        _COUNT,
        (
            admission.revision,
            updated_at,
            history.message_count,
            history.message_bytes,
            history.tail_position,
            reshaped,
            history.session,
        ),
    )


def find_commit(connection: apsw.Connection, key: SessionKey, commit_id: str) -> int | None:
    """The revision that a commit made, or `None` if it hasn't happened."""
    with reading(connection):
        row = find(connection, key)
        found = row_of(connection, _REVISION, (commit_id, row.key)) if row else None
    return None if found is None else found[0]


def settle(connection: apsw.Connection, key: SessionKey, commit_id: str, now: datetime) -> int | None:
    """The revision that a commit made; `None` if it never happened, and never will."""
    revision = find_commit(connection, key, commit_id)
    if revision is None:
        connection.execute(_BURN, (commit_id, *key, to_micros(now)))
    return revision
