"""The plan of a save: merge a frozen working copy into a state, and correct the copy afterwards. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from bamboo_sessions.coordination.plan import Planned, Seen, Written
from bamboo_sessions.domain.call_groups import Kind, kind_of, orphans
from bamboo_sessions.domain.change import head_kinds
from bamboo_sessions.domain.errors import (
    PreconditionFailedError,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.history import NO_MESSAGES, differences
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.limits import COMMIT_BYTES_MAX, COMMIT_MESSAGES_MAX, check_limit
from bamboo_sessions.domain.merge import Merged, merge, rebase, with_raised_version
from bamboo_sessions.domain.merge_history import HistoryDelta
from bamboo_sessions.domain.message import Message, StoredMessage, to_stored
from bamboo_sessions.domain.report import MergeReport
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Draft, Snapshot, Tombstone
from bamboo_sessions.domain.working_copy import freeze, link_of, rebase_copy, unchanged_since
from bamboo_sessions.storage.commit import Commit, Committed, RecordWrite, SessionKey, State, StoredInsertion

SAVE: Final = "save"
"""The call of all saves, whatever they are called: a checkpoint can be asked for again as a tolerant save."""


class EncodeOnce:
    """Encodes messages, each one once, however often a plan runs."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredMessage] = {}

    def __call__(self, message: Message) -> StoredMessage:
        """The stored form of `message`."""
        stored = self._stored.get(message.id)
        if stored is None or stored.message is not message:
            stored = self._stored[message.id] = to_stored(message)
        return stored


class SavePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One save of one working copy. Called with a state, it says what to commit; it may be called again.

    Args:
        base: What the copy was loaded as.
        draft: The copy at the moment of the call.
        fence: The token of the run lease that it is written through.
        commit_id: Of the commit, whatever the plan comes to.
        is_first_try: Whether the id was made for this save, and nothing was sent with it so far.
        if_revision: Refuse to merge if this isn't the newest revision.
        additions_only: Hold back removals and edits.
        refuse_conflicts: Refuse what would have to be settled; authoritative changes raise their version.
        creating: Refuse if the session lives; a deleted id may be used again.
        if_last_message: Refuse if the history ends with another message, as storage tells.
        call: Which call it is of.
        repeated: Messages besides that storage compares with what it knows under their ids (G4).
    """

    key: SessionKey
    base: Snapshot | None
    draft: Draft
    now: datetime
    commit_id: str
    is_first_try: bool = False
    fence: int | None = None
    if_revision: int | None = None
    additions_only: bool = False
    records: tuple[RecordWrite, ...] = ()
    refuse_conflicts: bool = False
    creating: bool = False
    if_last_message: str | None = None
    call: str = SAVE
    repeated: tuple[Message, ...] = ()
    encode: EncodeOnce = msgspec.field(default_factory=EncodeOnce)

    def __call__(self, state: State) -> Planned:
        """The commit that brings the copy into `state`."""
        durable = self._admitted(state)
        mine = self._raised()
        merged = merge(self.base, mine, durable, now=self.now, additions_only=self.additions_only)
        merged = _with_duplicates(merged, self.repeated)
        if self.refuse_conflicts and self.base and durable and (merged.conflicts or merged.authoritative_ignored):
            raise PreconditionFailedError(self.base.revision, durable.revision, session_id=self.key.session_id)
        is_asked = self.records or self.if_last_message is not None
        if not (merged.changed or merged.delta.duplicates or is_asked):
            return Planned(None, merged=merged)
        commit = to_commit(self.key, durable, merged, self.encode, commit_id=self.commit_id, at=self.now)
        commit = msgspec.structs.replace(
            commit,
            records=self.records,
            fence=self.fence,
            reuse_deleted=self.creating,
            if_last_message=self.if_last_message,
            call=self.call,
            is_first_try=self.is_first_try,
        )
        return Planned(commit, Snapshot(merged.head, merged.messages, _bytes_after(durable, commit)), merged)

    def _raised(self) -> Draft:
        if not self.refuse_conflicts or self.base is None:
            return self.draft
        return msgspec.structs.replace(self.draft, head=with_raised_version(self.base.head, self.draft.head))

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

    def expecting(self, revision: int | None) -> SavePlan:
        """The plan, expecting `revision`."""
        return self if revision == self.if_revision else msgspec.structs.replace(self, if_revision=revision)

    def added(self) -> Sequence[Message]:
        """The messages that the copy has and its base hasn't."""
        if self.draft.additions is not None:
            return self.draft.additions
        return differences(self.base.messages if self.base is not None else NO_MESSAGES, self.draft.messages).added

    def sent(self) -> Snapshot:
        """What this save stands for: the copy as it was, less what a checkpoint holds back."""
        if not self.additions_only:
            return Snapshot(self.draft.head, self.draft.messages)
        sent = merge(self.base, self.draft, self.base, now=self.now, additions_only=True)
        return Snapshot(self.draft.head, sent.messages)


def _with_duplicates(merged: Merged, repeated: tuple[Message, ...]) -> Merged:
    if not repeated:
        return merged
    delta = msgspec.structs.replace(merged.delta, duplicates=(*merged.delta.duplicates, *repeated))
    return msgspec.structs.replace(merged, delta=delta)


def plan_save(
    session: Session,
    *,
    now: datetime,
    commit_id: str | None = None,
    fence: int | None = None,
    if_revision: int | None = None,
    additions_only: bool = False,
    records: tuple[RecordWrite, ...] = (),
    refuse_conflicts: bool = False,
    creating: bool = False,
    if_last_message: str | None = None,
    call: str = SAVE,
) -> SavePlan:
    """The plan of a save of `session` as it is now. `commit_id`, `fence`: `None` makes one, and takes the copy's."""
    link = link_of(session)
    return SavePlan(
        key=SessionKey(session.namespace, session.id),
        base=link.base,
        draft=freeze(session),
        now=now,
        commit_id=commit_id if commit_id is not None else new_id(),
        is_first_try=commit_id is None,
        fence=fence if fence is not None else link.fence,
        if_revision=if_revision,
        additions_only=additions_only,
        records=records,
        refuse_conflicts=refuse_conflicts,
        creating=creating,
        if_last_message=if_last_message,
        call=call,
    )


def caught_up(plan: SavePlan, session: Session) -> SavePlan:
    """The plan, for the copy as it is now if an earlier save of it has ended since: nothing is saved twice (G5).

    Called under the session's lock, before the plan runs.
    """
    base = link_of(session).base
    if base is plan.base:
        return plan
    return msgspec.structs.replace(plan, base=base, draft=freeze(session))


def correct(session: Session, plan: SavePlan, after: Snapshot) -> None:
    """Bring a copy that was saved by `plan` up to date, keeping what was done to it meanwhile (L100)."""
    if unchanged_since(session, plan.draft) and not plan.additions_only:
        rebase_copy(session, after, after.head)
    else:
        head, messages = rebase(plan.sent(), freeze(session), after)
        rebase_copy(session, after, head, messages)


def is_earlier(committed: Committed, base: Snapshot) -> bool:
    """Whether `committed` is an earlier call's commit that `base` has in it: what was done since is in none."""
    return committed.replayed and base.revision >= committed.revision


def keep_unsaved(session: Session, base: Snapshot, after: Snapshot) -> None:
    """Bring a copy up to date that wasn't saved: all that was done to it since `base` stays in it."""
    head, messages = rebase(base, freeze(session), after)
    rebase_copy(session, after, head, messages)


def report_of(written: Written) -> MergeReport:
    """What a save did."""
    assert written.after is not None  # noqa: S101 - a save ends with a session
    committed, revision = written.committed, written.after.revision
    if committed is not None and committed.replayed:
        revision = committed.revision
    if written.planned is None or written.planned.merged is None:
        return MergeReport(revision=revision, changed=True)
    merged = written.planned.merged
    return MergeReport(
        revision=revision,
        changed=committed is not None and committed.changed,
        merged=merged.delta.gained,
        removed=merged.delta.removals,
        conflicts=merged.conflicts,
        authoritative_ignored=merged.authoritative_ignored,
        orphaned_tool_results=_orphaned(merged.delta, written.after),
        duplicates=_duplicates(merged.delta, committed),
    )


def _duplicates(delta: HistoryDelta, committed: Committed | None) -> tuple[str, ...]:
    """The ids of additions that weren't made: storage knows removed messages, too."""
    return tuple(message.id for message in delta.duplicates) if committed is None else committed.duplicates


def _orphaned(delta: HistoryDelta, after: Seen) -> tuple[str, ...]:
    """The results without a call, also those whose call was an addition that storage didn't make."""
    added = [message for insertion in delta.insertions for message in insertion.messages]
    if not delta.orphaned and all(message.role != "tool" for message in added):
        return ()
    calls = [message.id for message in added if kind_of(message) is Kind.CALL]
    if not isinstance(after, Snapshot) or all(after.messages.index_of(id_) is not None for id_ in calls):
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
    if durable is None or not (count := durable.messages.length):
        return commit.size
    kept = count - len(commit.removals) - len(commit.edits)
    return durable.messages_bytes * max(0, kept) // count + commit.size
