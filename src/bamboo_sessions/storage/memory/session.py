"""One stored session of the memory engine: its message versions in order, and how a commit changes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from bamboo_sessions.domain.errors import MessageIdConflictError, StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message, StoredMessage, to_stored
from bamboo_sessions.domain.placing import Arrangement, arranged, newest_group
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT, Insertion
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.storage.commit import Commit, StoredInsertion


class Version(msgspec.Struct):
    """One version of a message; removed ones keep their place, so that old revisions can be read."""

    stored: StoredMessage
    added: int
    removed: int | None = None
    removed_at: datetime | None = None
    is_purged: bool = False

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.stored.message

    def purge(self) -> None:
        """Forget what it said; its id and its hash stay."""
        blank = Message.user("", id=self.message.id, created_at=self.message.created_at)
        self.stored = StoredMessage(blank, b"", self.stored.content_hash)
        self.is_purged = True

    def lives_at(self, revision: int | None) -> bool:
        """Whether it was live at `revision`; `None`: now."""
        if revision is None:
            return self.removed is None
        return self.added <= revision and (self.removed is None or self.removed > revision)


class StoredSession(msgspec.Struct):
    """Everything about one living session."""

    head: SessionHead
    versions: list[Version] = msgspec.field(default_factory=list)
    hashes: dict[str, set[bytes]] = msgspec.field(default_factory=dict)
    usage: dict[str, TokenUsageRecord] = msgspec.field(default_factory=dict)
    live: FrozenMessages = msgspec.field(default_factory=FrozenMessages)
    live_bytes: int = 0

    @property
    def snapshot(self) -> Snapshot:
        """The session as readers see it."""
        return Snapshot(self.head, self.live, self.live_bytes)

    def copy(self) -> StoredSession:
        """A copy that a commit can be applied to without readers noticing."""
        return msgspec.structs.replace(
            self,
            versions=[msgspec.structs.replace(version) for version in self.versions],
            hashes={id_: set(hashes) for id_, hashes in self.hashes.items()},
            usage=dict(self.usage),
        )


def taken_over(session: Session) -> StoredSession:
    """A session that was kept elsewhere, with its counters."""
    draft = freeze(session)
    revision = max(1, draft.head.revision)
    head = msgspec.structs.replace(
        draft.head,
        revision=revision,
        incarnation=min(revision, draft.head.incarnation or 1),
        message_count=len(draft.messages),
    )
    stored = StoredSession(head, live=draft.messages)
    for message in draft.messages:
        _add(stored, to_stored(message), revision)
    stored.live_bytes = sum(len(version.stored.body) for version in stored.versions)
    return stored


def sift(
    commit: Commit, living: StoredSession | None, origin: Sequence[StoredMessage]
) -> tuple[list[StoredInsertion], tuple[str, ...]]:
    """The insertions without what is known already (G4), of a fork's origin too; raises `MessageIdConflictError`."""
    if commit.replace:
        return [insertion for insertion in commit.insertions if insertion.messages], ()
    known = living.hashes if living else {stored.message.id: {stored.content_hash} for stored in origin}
    sifted: list[StoredInsertion] = []
    duplicates: list[str] = []
    new: dict[str, bytes] = {}
    for insertion in commit.insertions:
        fresh = []
        for stored in insertion.messages:
            id_ = stored.message.id
            hashes = known.get(id_, set()) | ({new[id_]} if id_ in new else set())
            if not hashes:
                new[id_] = stored.content_hash
                fresh.append(stored)
            elif stored.content_hash in hashes:
                duplicates.append(id_)
            else:
                raise MessageIdConflictError(commit.key.session_id, id_)
        if fresh:
            sifted.append(insertion._replace(messages=tuple(fresh)))
    return sifted, tuple(duplicates)


def check_targets(commit: Commit, living: StoredSession | None) -> None:
    """Edits, removals and anchors name living messages: the merge saw them at this very revision."""
    anchors = [i.after for i in commit.insertions if i.after not in {None, FRONT}]
    targets = [*(stored.message.id for stored in commit.edits), *commit.removals, *anchors]
    for target in targets:
        if living is None or living.live.index_of(target) is None:
            message = f"Session {commit.key.session_id!r} has no living message {target!r}."
            raise StorageCorruptError(message, hint="Please report this: a merge named a message that is gone.")


def apply_history(
    target: StoredSession,
    commit: Commit,
    revision: int,
    source: Sequence[StoredMessage],
    insertions: Sequence[StoredInsertion],
) -> tuple[Insertion, ...]:
    """Change the versions; returns the insertions as they really came to stand."""
    _remove_and_edit(target, commit, revision)
    for stored in source:
        _add(target, stored, revision)
    _insert_behind(target, [each for each in insertions if each.after is not None], revision)
    reshaped = bool(commit.removals or commit.edits or source) or any(each.after is not None for each in insertions)
    for insertion in insertions:
        if insertion.after is None:
            if reshaped:
                _renew_live(target)
            in_order = commit.replace or insertion.in_order
            reshaped = not _append(target, insertion.messages, revision, in_order=in_order)
    if reshaped:
        _renew_live(target)
    return _placed(target.live, {stored.message.id for insertion in insertions for stored in insertion.messages})


def _renew_live(target: StoredSession) -> None:
    alive = [version.stored for version in target.versions if version.removed is None]
    target.live = FrozenMessages(stored.message for stored in alive)
    target.live_bytes = sum(len(stored.body) for stored in alive)


def _remove_and_edit(target: StoredSession, commit: Commit, revision: int) -> None:
    """End versions; an edit puts the next one behind."""
    gone = set(commit.removals)
    edits = {stored.message.id: stored for stored in commit.edits}
    if not (gone or edits):
        return
    for index in range(len(target.versions) - 1, -1, -1):
        version = target.versions[index]
        id_ = version.message.id
        if version.removed is None and (id_ in gone or id_ in edits):
            version.removed = revision
            version.removed_at = commit.at
            if id_ in edits:
                target.versions.insert(index + 1, Version(edits[id_], revision))
                target.hashes[id_].add(edits[id_].content_hash)


def _insert_behind(target: StoredSession, insertions: Sequence[StoredInsertion], revision: int) -> None:
    """Put messages behind living ones, or in front of all, in one go over all versions."""
    runs = {insertion.after: insertion.messages for insertion in insertions}
    if not runs:
        return
    before, target.versions = target.versions, []
    for stored in runs.get(FRONT, ()):
        _add(target, stored, revision)
    for version in before:
        target.versions.append(version)
        if version.removed is None:
            for stored in runs.get(version.message.id, ()):
                _add(target, stored, revision)


def _append(target: StoredSession, messages: Sequence[StoredMessage], revision: int, *, in_order: bool) -> bool:
    """Put messages at the end, and results in the groups of their calls, unless `in_order`; whether all are behind all.

    `target.live` is up to date, and stays so if they are.
    """
    given = [stored.message for stored in messages]
    joined, tail = (
        Arrangement([], given) if in_order else arranged(given, lambda call_id: newest_group(target.live, call_id))
    )
    by_id = {stored.message.id: stored for stored in messages}
    _insert_behind(
        target,
        [StoredInsertion(tuple(by_id[one.id] for one in run), target.live[last].id) for last, run in joined],
        revision,
    )
    for message in tail:
        _add(target, by_id[message.id], revision)
    if not joined:
        target.live = target.live.extended(tail)
        target.live_bytes += sum(len(stored.body) for stored in messages)
    return not joined


def _add(target: StoredSession, stored: StoredMessage, revision: int) -> None:
    """Put a new version behind all, and remember its content (G4)."""
    target.versions.append(Version(stored, revision))
    target.hashes.setdefault(stored.message.id, set()).add(stored.content_hash)


def _placed(live: FrozenMessages, fresh: set[str]) -> tuple[Insertion, ...]:
    """Where the new messages stand, as runs behind messages that were there before."""
    placed: list[Insertion] = []
    run: list[Message] = []
    waiting = len(fresh)
    for index in range(len(live) - 1, -1, -1):
        if live[index].id in fresh:
            run.insert(0, live[index])
            waiting -= 1
            continue
        if run:
            placed.insert(0, Insertion(tuple(run), None if index + len(run) == len(live) - 1 else live[index].id))
            run = []
        if not waiting:
            return tuple(placed)
    if run:
        placed.insert(0, Insertion(tuple(run), None if len(run) == len(live) else FRONT))
    return tuple(placed)
