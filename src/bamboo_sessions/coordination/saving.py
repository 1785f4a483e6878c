"""The plan of a save: merge a frozen working copy into a state, and correct the copy afterwards. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from bamboo_sessions.domain.call_groups import Kind, kind_of, orphans
from bamboo_sessions.domain.change import head_kinds
from bamboo_sessions.domain.errors import (
    PreconditionFailedError,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import COMMIT_BYTES_MAX, COMMIT_MESSAGES_MAX, check_limit
from bamboo_sessions.domain.merge import Merged, merge, rebase, with_raised_version
from bamboo_sessions.domain.merge_history import HistoryDelta
from bamboo_sessions.domain.message import Message, StoredMessage, to_stored
from bamboo_sessions.domain.report import MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.working_copy import freeze, link_of, rebase_copy, unchanged_since
from bamboo_sessions.storage.commit import Commit, Committed, RecordWrite, SessionKey, State, StoredInsertion


class SavePlan:
    """One save of one working copy. Called with a state, it gives the commit; it may be called again."""

    def __init__(
        self,
        session: Session,
        *,
        now: datetime,
        if_revision: int | None = None,
        additions_only: bool = False,
        records: tuple[RecordWrite, ...] = (),
        refuse_conflicts: bool = False,
        creating: bool = False,
    ) -> None:
        self.key = SessionKey(session.namespace, session.id)
        self.base = link_of(session).base
        self.draft = freeze(session)
        self.fence = link_of(session).fence
        self.now = now
        self.if_revision = if_revision
        self.additions_only = additions_only
        self.records = records
        self.refuse_conflicts = refuse_conflicts
        self.creating = creating
        if refuse_conflicts and self.base is not None:
            self.draft = msgspec.structs.replace(self.draft, head=with_raised_version(self.base.head, self.draft.head))
        self.result: Snapshot | None = None
        self._merged: Merged | None = None
        self._stored: dict[str, StoredMessage] = {}
        self.commit_id = new_id()

    def catch_up(self, session: Session) -> None:
        """Freeze the copy again if an earlier save of it has ended since: what that saved isn't saved twice (G5).

        Called under the session's lock, before the plan runs.
        """
        if link_of(session).base is not self.base:
            self.base = link_of(session).base
            self.draft = freeze(session)

    def __call__(self, state: State) -> Commit | None:
        """The commit that brings the copy into `state`; `None` if that changes nothing."""
        durable = self._admitted(state)
        merged = self._merged = merge(self.base, self.draft, durable, now=self.now, additions_only=self.additions_only)
        if self.refuse_conflicts and self.base and durable and (merged.conflicts or merged.authoritative_ignored):
            raise PreconditionFailedError(self.base.revision, durable.revision, session_id=self.key.session_id)
        if not (merged.changed or merged.delta.duplicates or self.records):
            return None
        commit = to_commit(self.key, durable, merged, self._store, commit_id=self.commit_id, at=self.now)
        commit = msgspec.structs.replace(commit, records=self.records, fence=self.fence, reuse_deleted=self.creating)
        self.result = Snapshot(merged.head, merged.messages, _bytes_after(durable, commit))
        return commit

    def _admitted(self, state: State) -> Snapshot | None:
        """What is committed, if this copy may be merged into it at all."""
        if self.creating:
            if isinstance(state, Snapshot):
                raise SessionExistsError(self.key.session_id)
            if self.base is not None:
                raise SessionDeletedError(self.key.session_id)
            return None
        if isinstance(state, Tombstone):
            raise SessionDeletedError(self.key.session_id)
        if self.if_revision is not None and self.if_revision != (state.revision if state else 0):
            actual = state.revision if state else 0
            raise PreconditionFailedError(self.if_revision, actual, session_id=self.key.session_id)
        if self.base is not None:
            if state is None:
                raise SessionNotFoundError(self.key.session_id)
            if self.base.head.incarnation != state.head.incarnation:
                raise SessionDeletedError(self.key.session_id)
        return state

    def _store(self, message: Message) -> StoredMessage:
        """Encode once, however often the plan runs."""
        stored = self._stored.get(message.id)
        if stored is None or stored.message is not message:
            stored = self._stored[message.id] = to_stored(message)
        return stored

    def finish(self, session: Session, after: Snapshot, committed: Committed | None) -> MergeReport:
        """Bring the caller's copy up to date, keeping what was done to it meanwhile (L100); the report."""
        assert self._merged is not None  # noqa: S101 - a save ends after its plan ran
        if unchanged_since(session, self.draft) and not self.additions_only:
            rebase_copy(session, after, after.head)
        else:
            head, messages = rebase(self._saved(), freeze(session), after)
            rebase_copy(session, after, head, messages)
        merged = self._merged
        return MergeReport(
            revision=after.revision,
            changed=committed is not None and committed.changed,
            merged=merged.delta.gained,
            removed=merged.delta.removals,
            conflicts=merged.conflicts,
            authoritative_ignored=merged.authoritative_ignored,
            orphaned_tool_results=_orphaned(merged.delta, after),
            duplicates=_duplicates(merged.delta, committed),
        )

    def _saved(self) -> Snapshot:
        """What this save stands for: the copy as it was, less what a checkpoint holds back."""
        if not self.additions_only:
            return Snapshot(self.draft.head, self.draft.messages)
        sent = merge(self.base, self.draft, self.base, now=self.now, additions_only=True)
        return Snapshot(self.draft.head, sent.messages)


def _duplicates(delta: HistoryDelta, committed: Committed | None) -> tuple[str, ...]:
    """The ids of additions that weren't made: storage knows removed messages, too."""
    return tuple(message.id for message in delta.duplicates) if committed is None else committed.duplicates


def _orphaned(delta: HistoryDelta, after: Snapshot) -> tuple[str, ...]:
    """The results without a call, also those whose call was an addition that storage didn't make."""
    added = [message for insertion in delta.insertions for message in insertion.messages]
    if all(kind_of(one) is not Kind.CALL or after.messages.index_of(one.id) is not None for one in added):
        return delta.orphaned
    candidates = {*delta.orphaned, *(message.id for message in added)}
    return tuple(id_ for id_ in orphans(after.messages) if id_ in candidates)


def to_commit(
    key: SessionKey,
    durable: Snapshot | None,
    merged: Merged,
    store: Callable[[Message], StoredMessage],
    *,
    commit_id: str,
    at: datetime,
) -> Commit:
    """The commit that makes storage hold what was merged. Everything is encoded and checked here, before a write."""
    insertions = _insertions(merged.delta, store)
    commit = Commit(
        key=key,
        commit_id=commit_id,
        at=at,
        expected=durable.revision if durable else 0,
        head=merged.head if merged.head_changed else None,
        head_kinds=head_kinds(durable.head if durable else None, merged.head) if merged.head_changed else (),
        updated_at=merged.head.updated_at,
        insertions=insertions,
        edits=tuple(store(message) for message in merged.delta.edits),
        removals=merged.delta.removals,
    )
    check_commit_size(commit)
    return commit


def _insertions(delta: HistoryDelta, store: Callable[[Message], StoredMessage]) -> tuple[StoredInsertion, ...]:
    insertions = [
        StoredInsertion(tuple(store(message) for message in insertion.messages), insertion.after, in_order=True)
        for insertion in delta.insertions
    ]
    if delta.duplicates:  # there already by id: storage compares the contents (G4)
        insertions.append(StoredInsertion(tuple(store(message) for message in delta.duplicates), None))
    return tuple(insertions)


def check_commit_size(commit: Commit) -> None:
    """Raise `LimitExceededError` if the commit is larger than one may be."""
    count = sum([len(insertion.messages) for insertion in commit.insertions]) + len(commit.edits)
    if count > COMMIT_MESSAGES_MAX or commit.size > COMMIT_BYTES_MAX:
        what = f"The change of session {commit.key.session_id!r}"
        check_limit(what, count, COMMIT_MESSAGES_MAX, "messages")
        check_limit(what, commit.size, COMMIT_BYTES_MAX, "bytes")


def _bytes_after(durable: Snapshot | None, commit: Commit) -> int:
    """Stored bytes of the messages after the commit; removals count with the average."""
    if durable is None or not (count := len(durable.messages)):
        return commit.size
    kept = count - len(commit.removals) - len(commit.edits)
    return durable.messages_bytes * max(0, kept) // count + commit.size
