"""Applies one commit: all of it or nothing (G3).

`prepare` checks everything that can be refused, and works out the session after the commit; `install` shows it to
readers. In between `SimpleStorage` lets the wrapped object keep the session first.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from bamboo_sessions.domain.change import ChangeKind
from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.domain.head import SessionHead, head_document
from bamboo_sessions.domain.message import StoredMessage
from bamboo_sessions.domain.snapshot import Tombstone
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.domain.tree import kept, placed
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.checks import check_commit
from bamboo_sessions.storage.commit import (
    Admission,
    Commit,
    Committed,
    Current,
    SessionKey,
    StoredInsertion,
    admit,
    burnt,
    check_last_message,
    check_repeated,
    kinds_of,
    taken,
)
from bamboo_sessions.storage.feed_position import mark_of
from bamboo_sessions.storage.memory import records
from bamboo_sessions.storage.memory.contents import Contents, Made
from bamboo_sessions.storage.memory.feed import Entry
from bamboo_sessions.storage.memory.origins import find_origin
from bamboo_sessions.storage.memory.session import StoredSession, apply_history, check_targets, sift
from bamboo_sessions.storage.record_plan import RecordPlan


class Prepared(msgspec.Struct, frozen=True):
    """A commit that was checked, what it changes, the session after it, and what to tell the caller."""

    commit: Commit
    kinds: tuple[ChangeKind, ...]
    target: StoredSession
    records: RecordPlan
    committed: Committed


class _Checked(msgspec.Struct, frozen=True):
    """What is left to do of a commit that nothing speaks against."""

    admission: Admission
    head: SessionHead | None
    origin: list[StoredMessage]
    insertions: list[StoredInsertion]
    duplicates: tuple[str, ...]
    usage: dict[str, TokenUsageRecord]
    records: RecordPlan
    filled_in: bool


def apply(contents: Contents, commit: Commit) -> Committed:
    """Apply one change."""
    prepared = prepare(contents, commit)
    return install(contents, prepared) if isinstance(prepared, Prepared) else prepared


def prepare(contents: Contents, commit: Commit, *, on_copy: bool = False) -> Prepared | Committed:
    """Check everything and work out the session after the commit; the outcome itself if nothing is to be done.

    With `on_copy` the session that readers see stays as it is until `install`.
    """
    check_commit(commit)
    if not commit.is_first_try:
        if known := contents.commits.get((commit.key, commit.commit_id)):
            return _replayed(contents, commit, known)
        if (commit.key, commit.commit_id) in contents.deletions:
            raise taken(commit.key.session_id, commit.commit_id)
    if (commit.key, commit.commit_id) in contents.burnt:
        raise burnt(commit.commit_id)
    stored = contents.sessions.get(commit.key)
    living = stored if isinstance(stored, StoredSession) else None
    checked = _checked(contents, commit, stored, living)
    if living and not _changes_anything(commit, checked):
        return _outcome(living.head, checked, changed=False)
    target = living or StoredSession(checked.head or _unreachable(commit.key))
    return _changed(contents, target.copy() if on_copy else target, commit, checked)


def _checked(
    contents: Contents, commit: Commit, stored: StoredSession | Tombstone | None, living: StoredSession | None
) -> _Checked:
    """All that can be refused is refused here."""
    admission = admit(commit, _current(stored, contents.leases_of(commit.key).token))
    check_last_message(commit, living.live[-1].id if living and len(living.live) else None)
    given = commit.head or (commit.initial_head if admission.created else None)
    head = None if given is None else _placed(contents, commit, given, living)
    origin = find_origin(contents, commit)
    insertions, duplicates = sift(commit, living, origin)
    if head is not None:
        head_document(head)  # raises if it is too large
    check_targets(commit, living)
    plan = records.planned(contents, commit.key.namespace, records.scope_of(commit.key), commit.records)
    known = living.usage if living is not None else {}
    usage = {record.id: record for record in reversed(commit.usage) if record.id not in known}  # the first of one id
    return _Checked(admission, head, origin, insertions, duplicates, usage, plan, filled_in=head is not given)


def _placed(contents: Contents, commit: Commit, head: SessionHead, living: StoredSession | None) -> SessionHead:
    """`head` with its place in the tree. A new child's parent has to live, or it would be an orphan (L110)."""
    if living is not None:
        return kept(head, living.head) if commit.replace else head
    return placed(head, lambda parent: contents.living(SessionKey(commit.key.namespace, parent)).head)


def _changes_anything(commit: Commit, checked: _Checked) -> bool:
    new = checked.insertions or checked.usage or checked.head or checked.records.changes
    return bool(new or commit.edits or commit.removals)


def _changed(contents: Contents, target: StoredSession, commit: Commit, checked: _Checked) -> Prepared:
    """Change `target`. Nothing here can fail."""
    placements = apply_history(target, commit, checked.admission.revision, checked.origin, checked.insertions)
    target.usage.update(checked.usage)
    target.head = _clocked(checked.head or target.head, checked.admission, len(target.live))
    kinds = kinds_of(
        commit,
        created=checked.admission.created,
        inserted=bool(checked.insertions),
        used=bool(checked.usage),
        recorded=bool(checked.records.changes or records.to_copy(contents, commit)),
    )
    return Prepared(commit, kinds, target, checked.records, _outcome(target.head, checked, placements=placements))


def install(contents: Contents, prepared: Prepared) -> Committed:
    """Let readers see it, and log it."""
    commit = prepared.commit
    contents.sessions[commit.key] = prepared.target
    records.apply(contents, commit.key.namespace, prepared.records.changes)
    records.copy(contents, commit)
    _log(contents, prepared)
    contents.tell(commit.key)
    return prepared.committed


def _log(contents: Contents, prepared: Prepared) -> None:
    commit, committed = prepared.commit, prepared.committed
    known = set(commit.removals) if commit.replace else set()  # a history written anew: what it had before isn't new
    placed = (message.id for insertion in committed.placed for message in insertion.messages)
    ids = tuple(id_ for id_ in placed if id_ not in known)
    mark, now = mark_of(commit.commit_id), contents.clock.now()
    contents.feed.add(
        Entry(commit.key, committed.revision, committed.incarnation, mark, prepared.kinds, ids, commit.at, now)
    )
    contents.commits.add((commit.key, commit.commit_id), Made(commit.call, committed), now)


def _replayed(contents: Contents, commit: Commit, known: Made) -> Committed:
    """The outcome of then (G4)."""
    check_repeated(commit, known.call)
    then = msgspec.structs.replace(known.committed, duplicates=(), replayed=True)
    session = contents.sessions.get(commit.key)
    if not isinstance(session, StoredSession) or session.head.incarnation != then.incarnation:
        return then
    inserted = {message.id for insertion in then.placed for message in insertion.messages}
    given = [stored for insertion in commit.insertions for stored in insertion.messages]
    stored = [each.message.id for each in given if each.content_hash in session.hashes.get(each.message.id, ())]
    return msgspec.structs.replace(then, duplicates=tuple(id_ for id_ in stored if id_ not in inserted))


def find_commit(contents: Contents, key: SessionKey, commit_id: str) -> int | None:
    """The revision that this commit made, or `None` if it hasn't happened."""
    if made := contents.commits.get((key, commit_id)):
        return made.committed.revision
    deletion = contents.deletions.get((key, commit_id))
    return deletion.revision if deletion else None


def settle(contents: Contents, key: SessionKey, commit_id: str) -> int | None:
    """The revision that this commit made; `None` if it never happened, and never will."""
    revision = find_commit(contents, key, commit_id)
    if revision is None:
        contents.burnt.add((key, commit_id), None, contents.clock.now())
    return revision


# --- heads before and after


def _current(stored: StoredSession | Tombstone | None, lease_token: int) -> Current | None:
    if stored is None:
        return None
    if isinstance(stored, Tombstone):
        return Current(stored.revision, 0, stored.metadata_version, EPOCH, deleted=True, lease_token=lease_token)
    head = stored.head
    return Current(
        head.revision,
        head.incarnation,
        head.metadata_version,
        head.updated_at,
        deleted=False,
        lease_token=lease_token,
    )


def _clocked(head: SessionHead, admission: Admission, message_count: int) -> SessionHead:
    return msgspec.structs.replace(
        head,
        revision=admission.revision,
        incarnation=admission.incarnation,
        metadata_version=max(head.metadata_version, admission.metadata_version_min),
        updated_at=admission.updated_at,
        message_count=message_count,
    )


def _outcome(
    head: SessionHead, checked: _Checked, *, changed: bool = True, placements: tuple[Insertion, ...] = ()
) -> Committed:
    return Committed(
        revision=head.revision,
        incarnation=head.incarnation,
        updated_at=head.updated_at,
        message_count=head.message_count,
        changed=changed,
        placed=placements,
        duplicates=checked.duplicates,
        record_versions=checked.records.versions,
        head=checked.head if checked.filled_in else None,
    )


def _unreachable(key: SessionKey) -> NoReturn:
    message = f"A commit for session {key.session_id!r} creates it without a head."
    raise AssertionError(message)
