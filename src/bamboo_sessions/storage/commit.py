"""What a commit asks of storage, and what it gives back; and the rules of admission that every engine shares."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from bamboo_sessions.domain.change import KINDS, ChangeKind, head_kinds
from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    InputError,
    LeaseLostError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.message import StoredMessage
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.domain.usage import TokenUsageRecord


class SessionKey(NamedTuple):
    """Where a session lives: the namespace is in every key (L99)."""

    namespace: str
    session_id: str


State = Snapshot | Tombstone | None
"""What storage has for a key: a session, what its deletion left, or nothing."""


class RevisionConflict(BambooSessionsError):
    """The revision that a commit was computed from is no longer the newest. Internal: the locked store merges again."""

    def __init__(self, key: SessionKey, *, expected: int, actual: int) -> None:
        super().__init__(f"Session {key.session_id!r} is at revision {actual}, not {expected}.")
        self.expected = expected
        self.actual = actual


class StoredInsertion(NamedTuple):
    """Encoded messages, and the message that they go directly behind (`FRONT`: before all; `None`: behind all).

    Behind all, a tool's result joins its call's group (`domain.placing`), unless the messages are `in_order`: placed
    already, as by a merge, or by whoever knows better.
    """

    messages: tuple[StoredMessage, ...]
    after: str | None
    in_order: bool = False


class RecordScope(msgspec.Struct, frozen=True):
    """Whose records: a session's, or a shared name's."""

    type: Literal["session", "shared"]
    name: str


class RecordWrite(NamedTuple):
    """A write of one record.

    Args:
        kind, key: The record's name in its scope.
        value: The new bytes; `None` deletes.
        if_absent: `True`: only insert, else the whole commit is refused. `"skip"`: insert, or keep what is there.
        if_version: The version that the record must have now, else the whole commit is refused.
        scope: Whose record it is; `None`: of the session that is committed.
    """

    kind: str
    key: str
    value: bytes | None
    if_absent: bool | Literal["skip"] = False
    if_version: int | None = None
    scope: RecordScope | None = None


class RecordCommit(msgspec.Struct, frozen=True):
    """Records written by themselves, as one unit: no revision of any session, no row in the feed.

    Args:
        namespace: Whose they are.
        commit_id: Made by the caller's side; the same id again is the same commit, never a second one (G4).
        at: When, by the caller's clock.
        writes: In this order; later ones see what earlier ones did.
        scope: The scope of those that name none.
        incarnation: If `scope` is a session: the life of it that is meant; another one is refused. `None`: whichever
            lives.
    """

    namespace: str
    commit_id: str
    at: datetime
    writes: tuple[RecordWrite, ...]
    scope: RecordScope
    incarnation: int | None = None

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return size_of_records(self.writes)


def size_of_records(writes: Iterable[RecordWrite]) -> int:
    """Bytes of the values written."""
    return sum([len(write.value or b"") for write in writes])


class HistorySource(NamedTuple):
    """A history to start from: that of another session at a revision, up to and including a message.

    A revision of a former life of that session is refused as deleted (G9). `record_kinds` names the kinds of that
    session's records that come along as they are now, for records have no revisions; `None`: all of them.
    """

    session_id: str
    at_revision: int
    through_message_id: str | None
    record_kinds: tuple[str, ...] | None = ()


class Commit(msgspec.Struct, frozen=True):
    """One atomic change of one session.

    Args:
        key: Which session.
        commit_id: Made by the caller's side; the same id again is the same commit, never a second one (G4).
        at: When, by the caller's clock.
        expected: The revision that this was computed from; 0: no session may live here; `None`: blind.
        head: The new head, or `None` if it stays. Storage sets revision, incarnation and message count itself.
        head_kinds: What it changes of the head, for the feed.
        updated_at: The wished time; storage sets the later of it and the committed one + 1 µs. `None`: `at`.
        initial_head: For a blind commit: the head to create the session with if there is none.
        insertions: New messages by place.
        edits: New content of living messages, in their places.
        removals: Ids of living messages that go.
        usage: Records for the token ledger.
        records: Adapter state to write, in this order; of this session's scope unless a write names another. A session
            that it names has to live.
        incarnation: The life of the session that is meant; another one is refused. `None`: whichever lives.
        reuse_deleted: Create the id again although it was deleted (an explicit act).
        history_from: For a new session: the history, and the records, that it begins with, copied inside storage. What
            `records` writes wins over a copied record.
        replace: Take the messages as they come: ids known before are no duplicates, results don't join their calls,
            and `updated_at` stands as it is. For rewriting a history as a whole.
        fence: The token of the run lease that this is written through; refused once a newer one exists (G12).
        if_last_message: The id of the message that the history must end with, whatever else changed meanwhile; `FRONT`:
            it must have none. `None`: any.
        call: Which call makes it, such as `append`; kept with the commit id, and a known id of another call is refused
            (`check_repeated`).
        is_first_try: The id was made for this commit, and no answer to it was lost: no commit was made with it so far,
            and an engine needn't look for one. (It may be burnt all the same, if this comes late.)
    """

    key: SessionKey
    commit_id: str
    at: datetime
    expected: int | None = None
    head: SessionHead | None = None
    head_kinds: tuple[ChangeKind, ...] = ()
    updated_at: datetime | None = None
    initial_head: SessionHead | None = None
    insertions: tuple[StoredInsertion, ...] = ()
    edits: tuple[StoredMessage, ...] = ()
    removals: tuple[str, ...] = ()
    usage: tuple[TokenUsageRecord, ...] = ()
    records: tuple[RecordWrite, ...] = ()
    incarnation: int | None = None
    reuse_deleted: bool = False
    history_from: HistorySource | None = None
    replace: bool = False
    fence: int | None = None
    if_last_message: str | None = None
    call: str = ""
    is_first_try: bool = False

    @property
    def size(self) -> int:
        """Bytes of its messages and records: what group commits are bounded by."""
        size = sum([len(stored.body) for insertion in self.insertions for stored in insertion.messages])
        size += sum([len(stored.body) for stored in self.edits])
        return size + (size_of_records(self.records) if self.records else 0)

    def message_bytes(self, *, without: Collection[str] = ()) -> int:
        """Bytes of the messages that it adds, but for those with the ids `without`: known already."""
        size = 0
        for insertion in self.insertions:
            for stored in insertion.messages:
                if stored.message.id not in without:
                    size += len(stored.body)
        return size


class Committed(msgspec.Struct, frozen=True):
    """What became of a commit.

    Args:
        revision, incarnation, updated_at, message_count: The session's, after it.
        changed: Whether a commit was made; one that would change nothing isn't (L42).
        placed: The messages really inserted, with their places.
        duplicates: Ids of messages that were known already with this content, and so weren't inserted (G4). Of a
            replay: of those that are stored, the ones that the commit of then didn't insert.
        replayed: The commit id was known: this is the outcome of then, the session may be newer by now.
        record_versions: What became of each of its records: the version that it has now, 0 if it was deleted.
        head: The commit's head as it was stored, if storage filled in its place in the tree. It has no counters yet.
    """

    revision: int
    incarnation: int
    updated_at: datetime
    message_count: int
    changed: bool = True
    placed: tuple[Insertion, ...] = ()
    duplicates: tuple[str, ...] = ()
    replayed: bool = False
    record_versions: tuple[int, ...] = ()
    head: SessionHead | None = None


class Current(NamedTuple):
    """The counters of what storage has for a key, living or deleted."""

    revision: int
    incarnation: int
    metadata_version: int
    updated_at: datetime
    deleted: bool
    lease_token: int = 0


class Admission(NamedTuple):
    """A commit that may go ahead: the counters that it gives the session."""

    revision: int
    incarnation: int
    metadata_version_min: int
    updated_at: datetime
    created: bool


def burnt(commit_id: str) -> InputError:
    """The refusal of a commit whose id was looked up and never happened (`SessionStorage.settle`)."""
    message = f"The commit {commit_id!r} was looked up and had not happened; its id can't be used any more."
    return InputError(message, hint="Nothing was written. Try again with a new commit id.")


def admit(commit: Commit, current: Current | None) -> Admission:
    """Decide whether `commit` may be applied to `current`. Every engine asks this inside its transaction.

    Raises:
        RevisionConflict: Another revision is the newest.
        SessionDeletedError: The session, or the incarnation that is meant, was deleted.
        SessionNotFoundError: There is none, and the commit doesn't create one.
        LeaseLostError: A newer run lease was given than the one that this is written through (G12).
    """
    session_id = commit.key.session_id
    wished = commit.updated_at or commit.at
    if current is None or current.deleted:
        if current is not None and not commit.reuse_deleted:
            raise SessionDeletedError(session_id)
        if commit.incarnation is not None or (commit.expected or 0) > 0:
            raise SessionDeletedError(session_id) if current else SessionNotFoundError(session_id)
        if commit.head is None and commit.initial_head is None:
            raise SessionNotFoundError(session_id)
        revision = current.revision + 1 if current else 1
        version = current.metadata_version + 1 if current else 0
        return Admission(revision, revision, version, wished, created=True)
    if commit.incarnation is not None and commit.incarnation != current.incarnation:
        raise SessionDeletedError(session_id)
    if commit.fence is not None and commit.fence < current.lease_token:  # before revisions: merging can't help it
        raise LeaseLostError(session_id, token=commit.fence, newer_token=current.lease_token)
    expected = commit.expected if commit.history_from is None else 0  # only a new session begins with a history
    if expected is not None and expected != current.revision:
        raise RevisionConflict(commit.key, expected=expected, actual=current.revision)
    updated_at = wished if commit.replace else max(wished, current.updated_at + MICROSECOND)
    return Admission(current.revision + 1, current.incarnation, current.metadata_version, updated_at, created=False)


def taken(session_id: str, commit_id: str) -> InputError:
    """The error for a commit id that named something else before: a rename is no repetition of an append."""
    message = (
        f"The commit id {commit_id!r} of session {session_id!r} belongs to another kind of call; nothing was done."
    )
    return InputError(message, hint="Give each call an id of its own, and repeat only the same call with it.")


def check_repeated(commit: Commit, call: str) -> None:
    """Raise `InputError` unless `commit`, whose id is known, comes from the same call as then (G4)."""
    if commit.call != call:
        raise taken(commit.key.session_id, commit.commit_id)


def check_last_message(commit: Commit, last: str | None) -> None:
    """Raise `PreconditionFailedError` unless the history ends as `commit` expects; `last`: the id that it ends with."""
    actual = FRONT if last is None else last
    if commit.if_last_message is not None and commit.if_last_message != actual:
        raise PreconditionFailedError(
            commit.if_last_message, actual, session_id=commit.key.session_id, what="the last message"
        )


def kinds_of(commit: Commit, *, created: bool, inserted: bool, used: bool, recorded: bool) -> tuple[ChangeKind, ...]:
    """What kinds of things a commit changes, for the feed.

    Args:
        commit: The commit.
        created: Whether it makes the session.
        inserted: Whether any of its messages is new.
        used: Whether any of its usage records is new.
        recorded: Whether any record of an adapter is written.
    """
    head = commit.head or (commit.initial_head if created else None)
    of_head = head_kinds(None, head) if created and head else commit.head_kinds or ("head",) if head else ()
    kinds: set[ChangeKind] = set(of_head)
    if created:
        kinds.add("created")
    if inserted or commit.edits or commit.removals or commit.history_from:
        kinds.add("messages")
    if used:
        kinds.add("usage")
    if recorded:
        kinds.add("records")
    return tuple(kind for kind in KINDS if kind in kinds)
