"""Applies one commit, inside the writer's transaction: all of it or nothing (G3).

The usual commit takes the short way (`usual`). Any other reads the session's row, looks for the ids of new messages,
works out where they go, writes what is new, and updates the row. Whatever it raises, the caller rolls back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import apsw
import msgspec

from bamboo_sessions.domain.change import ChangeKind
from bamboo_sessions.domain.clock import from_micros, to_micros
from bamboo_sessions.domain.errors import MessageIdConflictError, StorageError
from bamboo_sessions.domain.head import SessionHead, head_document
from bamboo_sessions.domain.runs import Order, address_of, position_of, reshaped
from bamboo_sessions.domain.tree import kept, placed
from bamboo_sessions.domain.usage import TokenUsageRecord
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
from bamboo_sessions.storage.sqlite.history import ids
from bamboo_sessions.storage.sqlite.history.fork_source import Origin, copy_history, find_origin, origin_lines
from bamboo_sessions.storage.sqlite.history.lines import (
    Line,
    bits_of,
    has_content,
    is_ascending_id,
    stored_id,
)
from bamboo_sessions.storage.sqlite.history.log import Log, log_of, write_runs
from bamboo_sessions.storage.sqlite.history.placement import Placement, place
from bamboo_sessions.storage.sqlite.history.writing import (
    CommitRow,
    addresses_of,
    chunked,
    next_position,
    write_commit,
    write_lines,
)
from bamboo_sessions.storage.sqlite.sessions import records, usage
from bamboo_sessions.storage.sqlite.sessions.heads import read_head
from bamboo_sessions.storage.sqlite.sessions.made import Made, find_made
from bamboo_sessions.storage.sqlite.sessions.rows import (
    SessionRow,
    find,
    head_columns,
    insert_row,
    require,
    update_row,
    write_head,
)
from bamboo_sessions.storage.sqlite.sessions.usual import apply_usual
from bamboo_sessions.storage.sqlite.transactions.connection import row_of

_IS_BURNT: Final = "SELECT 1 FROM burnt WHERE commit_id = ? AND namespace = ? AND session_id = ?"
_MANY: Final = 64
"""Removals from which on it is worth reading which rows are neighbours, so that they are few stretches."""


class _Checked(msgspec.Struct, frozen=True):
    """A commit that nothing speaks against: what it meets, and what is left to do of it."""

    commit: Commit
    admission: Admission
    row: SessionRow | None
    head: SessionHead | None
    document: bytes | None
    origin: Origin | None
    insertions: Sequence[StoredInsertion]
    duplicates: tuple[str, ...]
    usage: Sequence[TokenUsageRecord]
    records: RecordPlan

    @property
    def living(self) -> SessionRow | None:
        """The session, unless this makes it."""
        return None if self.admission.created else self.row

    @property
    def changes_anything(self) -> bool:
        """Whether there is anything to write."""
        return bool(
            self.admission.created
            or self.insertions
            or self.usage
            or self.head
            or self.commit.edits
            or self.commit.removals
            or self.records.changes
        )


def apply(connection: apsw.Connection, commit: Commit, now: datetime) -> Committed:
    """Apply `commit`; the rules are those of `SessionStorage.commit`."""
    check_commit(commit)
    row = None
    if not commit.is_first_try:
        row = find(connection, commit.key)
        if row is not None and (made := find_made(connection, row.key, commit.commit_id)):
            return _replayed(connection, commit, row, made)
    done = apply_usual(connection, commit, now)
    if done is not None:
        return done
    row = row or find(connection, commit.key)
    if row_of(connection, _IS_BURNT, (commit.commit_id, *commit.key)) is not None:
        raise burnt(commit.commit_id)
    given, checked = _checked(connection, commit, row)
    if not checked.changes_anything:
        return _unchanged(checked)
    committed = _write(connection, checked, now)
    return msgspec.structs.replace(committed, head=checked.head if checked.head is not given else None)


# --- what was made before


def _replayed(connection: apsw.Connection, commit: Commit, row: SessionRow, made: Made) -> Committed:
    """The outcome of then (G4)."""
    if made.is_deletion:
        raise taken(commit.key.session_id, commit.commit_id)
    check_repeated(commit, made.call or "")
    lives = row.is_living and row.incarnation == made.incarnation
    return Committed(
        revision=made.revision,
        incarnation=made.incarnation,
        updated_at=from_micros(made.updated_at),
        message_count=made.message_count,
        duplicates=_duplicates_of(connection, commit, row, made) if lives else (),
        replayed=True,
        record_versions=records.from_text(made.record_versions or ""),
    )


def _duplicates_of(connection: apsw.Connection, commit: Commit, row: SessionRow, made: Made) -> tuple[str, ...]:
    """The messages that are stored, but weren't added by the commit of then."""
    given = [stored for insertion in commit.insertions for stored in insertion.messages]
    found = ids.find(connection, row.key, ids.MESSAGE, {stored.message.id for stored in given}) if given else {}
    return tuple(
        stored.message.id
        for stored in given
        if (lines := found.get(stored.message.id))
        and any(has_content(line.body, stored) for line in lines)
        and not any(made.first <= position_of(line.address) <= made.position for line in lines)
    )


# --- what has to hold


def _checked(
    connection: apsw.Connection, commit: Commit, row: SessionRow | None
) -> tuple[SessionHead | None, _Checked]:
    """All that can be refused is refused here; also the head as it was given."""
    admission = admit(commit, row.current if row else None)
    living = None if admission.created else row
    if commit.if_last_message is not None:
        last = log_of(connection, living).last() if living else None
        check_last_message(commit, None if last is None else last.head.id)
    given = commit.head or (commit.initial_head if living is None else None)
    if given is None and living is None:
        raise StorageError(f"A commit for session {commit.key.session_id!r} creates it without a head.")
    head = None if given is None else _placed(connection, commit, given, living)
    source = commit.history_from
    origin = find_origin(connection, commit.key.namespace, source) if source is not None else None
    insertions, duplicates = _sift(connection, commit, living, origin)
    new_usage = usage.new_records(connection, living.key if living else None, commit.usage) if commit.usage else []
    plan = NO_RECORDS
    if commit.records:
        scope = RecordScope("session", commit.key.session_id)
        plan = records.planned(connection, commit.key.namespace, scope, commit.records)
    document = None if head is None else head_document(head)
    return given, _Checked(commit, admission, row, head, document, origin, insertions, duplicates, new_usage, plan)


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
    known = origin_lines(origin, commit) if origin is not None else _known(connection, commit, living)
    sifted: list[StoredInsertion] = []
    duplicates: list[str] = []
    new: dict[str, bytes] = {}
    for insertion in commit.insertions:
        fresh = []
        for stored in insertion.messages:
            id_, lines = stored.message.id, known.get(stored.message.id, [])
            if not lines and id_ not in new:
                new[id_] = stored.content_hash
                fresh.append(stored)
            elif new.get(id_) == stored.content_hash or any(has_content(line.body, stored) for line in lines):
                duplicates.append(id_)
            else:
                raise MessageIdConflictError(commit.key.session_id, id_)
        if fresh:
            sifted.append(insertion._replace(messages=tuple(fresh)))
    return sifted, tuple(duplicates)


def _known(connection: apsw.Connection, commit: Commit, living: SessionRow | None) -> dict[str, list[Line]]:
    """All versions, living and removed, of the messages that `commit` adds and that may be there already."""
    if living is None:
        return {}
    added = [stored.message.id for insertion in commit.insertions for stored in insertion.messages]
    asked = frozenset(id_ for id_ in added if not ids.is_new([id_], living.last_id))
    return ids.find(connection, living.key, ids.MESSAGE, asked) if asked else {}


def _unchanged(checked: _Checked) -> Committed:
    row = checked.row
    assert row is not None  # noqa: S101 - what makes a session changes something
    return Committed(
        revision=row.revision,
        incarnation=row.incarnation,
        updated_at=from_micros(row.updated_at),
        message_count=row.message_count,
        changed=False,
        duplicates=checked.duplicates,
        record_versions=checked.records.versions,
    )


# --- writing


def _write(connection: apsw.Connection, checked: _Checked, now: datetime) -> Committed:
    commit, admission, living = checked.commit, checked.admission, checked.living
    columns = _columns(checked)
    session = _session(connection, checked, columns)
    row = CommitRow(
        session=session,
        revision=admission.revision,
        incarnation=admission.incarnation,
        commit_id=stored_id(commit.commit_id),
        kinds=0,
        at=to_micros(commit.at),
        logged_at=to_micros(now),
        updated_at=to_micros(admission.updated_at),
        message_count=columns["message_count"],
    )
    if checked.origin is not None:
        count, size = copy_history(connection, checked.origin, row)
        columns["message_count"] += count
        columns["message_bytes"] += size
    log = log_of(connection, living) if living else Log(connection, session, commit.key.session_id, Order())
    placement = place(log, commit, checked.insertions)
    _count(columns, placement)
    usage.write(connection, session, checked.usage)
    recorded = _write_records(connection, checked, session)
    row = row._replace(
        kinds=bits_of(_kinds(checked, recorded=recorded)),
        message_count=columns["message_count"],
        record_versions=records.to_text(checked.records.versions) if checked.records.versions else None,
        call=commit.call or None,
    )
    if _write_history(connection, log, row, placement, commit):
        columns["reshaped_revision"] = admission.revision
    update_row(connection, session, columns)
    if checked.head is not None and checked.document is not None:
        has_questions = bool(living and living.question_count)
        write_head(connection, session, checked.head, checked.document, columns, has_questions=has_questions)
    return Committed(
        revision=admission.revision,
        incarnation=admission.incarnation,
        updated_at=admission.updated_at,
        message_count=columns["message_count"],
        placed=placement.inserted,
        duplicates=checked.duplicates,
        record_versions=checked.records.versions,
    )


def _columns(checked: _Checked) -> dict[str, Any]:
    """The columns of the session's row that the commit sets, before its messages are counted."""
    living, admission = checked.living, checked.admission
    columns: dict[str, Any] = {
        "revision": admission.revision,
        "updated_at": to_micros(admission.updated_at),
        "message_count": living.message_count if living else 0,
        "message_bytes": living.message_bytes if living else 0,
        "last_id": living.last_id if living else "",
    }
    if living is None:
        columns |= {"incarnation": admission.incarnation, "deleted_at": None, "reshaped_revision": 0}
    if checked.head is not None:
        columns |= head_columns(checked.head, admission)
    if checked.origin is not None:
        columns["last_id"] = checked.origin.last_id
    return columns


def _session(connection: apsw.Connection, checked: _Checked, columns: dict[str, Any]) -> int:
    """The key of the session's row, which is made if there is none."""
    if checked.row is not None:
        return checked.row.key
    return insert_row(connection, checked.commit.key, columns)


def _count(columns: dict[str, Any], placement: Placement) -> None:
    added = placement.lines()
    columns["message_count"] += len(added) - len(placement.removed)
    columns["message_bytes"] += sum([len(stored.body) for stored in added]) - placement.removed_bytes
    ascending = [stored.message.id for stored in added if is_ascending_id(stored.message.id)]
    columns["last_id"] = max([columns["last_id"], *ascending])


def _kinds(checked: _Checked, *, recorded: bool) -> tuple[ChangeKind, ...]:
    return kinds_of(
        checked.commit,
        created=checked.admission.created,
        inserted=bool(checked.insertions),
        used=bool(checked.usage),
        recorded=recorded,
    )


def _write_records(connection: apsw.Connection, checked: _Checked, session: int) -> bool:
    """Write records, and those that a fork begins with; whether there were any."""
    commit, plan = checked.commit, checked.records
    records.apply(connection, commit.key.namespace, plan.changes)
    source = commit.history_from
    copied = source is not None and records.copy(connection, source, commit.key, session)
    return copied or bool(plan.changes)


def _write_history(connection: apsw.Connection, log: Log, row: CommitRow, placement: Placement, commit: Commit) -> bool:
    """Write the commit's row, or rows; whether it changed the order of what was there."""
    chunks = list(chunked((1, stored.body) for stored in placement.lines()))
    known = frozenset(commit.removals) if commit.replace else frozenset()
    if len(chunks) <= 1 and not (placement.gaps or placement.removed):
        lines, body = chunks[0] if chunks else (0, None)
        write_commit(connection, row._replace(lines=lines), body)
        return False
    first = next_position(connection)
    rows = log.counts() if len(placement.removed) >= _MANY else ()
    shape = placement.shape(addresses_of(first, chunks), known, rows)
    write_lines(connection, row, chunks[:-1])
    lines, body = chunks[-1] if chunks else (0, None)
    row = row._replace(first=first if len(chunks) > 1 else None, lines=lines)
    write_commit(connection, row, body, shape, ended=len(placement.removed))
    if shape.is_ordering:
        own = (address_of(first, 0), address_of(first + max(0, len(chunks) - 1), lines))
        write_runs(connection, row.session, reshaped(log.order.runs, shape, own))
    return shape.is_ordering
