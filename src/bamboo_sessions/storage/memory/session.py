"""One stored session of the memory engine: its message versions in order, and how a commit changes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from bamboo_sessions.domain.errors import MessageIdConflictError, StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge_history import FRONT, Insertion
from bamboo_sessions.domain.message import Message, StoredMessage, is_tool_result, to_stored
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
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
        _insert(stored, len(stored.versions), to_stored(message), revision)
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
            sifted.append(StoredInsertion(tuple(fresh), insertion.after))
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
        _insert(target, len(target.versions), stored, revision)
    only_appended = not (commit.removals or commit.edits or source)
    for insertion in insertions:
        is_behind_all = _insert_run(target, insertion, revision, as_given=commit.replace)
        only_appended = only_appended and is_behind_all
    fresh = [stored for insertion in insertions for stored in insertion.messages]
    if only_appended:
        target.live = target.live.extended([stored.message for stored in fresh])
        target.live_bytes += sum(len(stored.body) for stored in fresh)
    else:
        alive = [version.stored for version in target.versions if version.removed is None]
        target.live = FrozenMessages(stored.message for stored in alive)
        target.live_bytes = sum(len(stored.body) for stored in alive)
    return _placed(target.live, {stored.message.id for stored in fresh})


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
                _insert(target, index + 1, edits[id_], revision)


def _insert_run(target: StoredSession, insertion: StoredInsertion, revision: int, *, as_given: bool) -> bool:
    """Insert messages behind their anchor, or each where it belongs at the end; whether all came behind all others.

    `as_given`: at the end they stay in their order, tool results too.
    """
    versions = target.versions
    place = len(versions) if insertion.after is None else _behind(versions, insertion.after)
    is_behind_all = True
    for stored in insertion.messages:
        if insertion.after is None and not as_given:
            place = _end_place(versions, stored.message)
        is_behind_all = is_behind_all and place == len(versions)
        _insert(target, place, stored, revision)
        place += 1
    return is_behind_all


def _insert(target: StoredSession, index: int, stored: StoredMessage, revision: int) -> None:
    """Put a new version at `index` of all versions, and remember its content (G4)."""
    target.versions.insert(index, Version(stored, revision))
    target.hashes.setdefault(stored.message.id, set()).add(stored.content_hash)


def _behind(versions: Sequence[Version], after: str) -> int:
    """The index behind the living message `after`."""
    if after == FRONT:
        return 0
    return next(i for i, v in enumerate(versions) if v.removed is None and v.message.id == after) + 1


def _end_place(versions: Sequence[Version], message: Message) -> int:
    """The end; for a tool's result, behind its call and the results that this has."""
    if is_tool_result(message):
        for index in range(len(versions) - 1, -1, -1):
            version = versions[index]
            calls = version.message.tool_calls if version.removed is None else ()
            if any(call.id == message.tool_call_id for call in calls):
                place = index + 1
                for later in range(index + 1, len(versions)):
                    if versions[later].removed is None:
                        if versions[later].message.role != "tool":
                            break
                        place = later + 1
                return place if any(v.removed is None for v in versions[place:]) else len(versions)
    return len(versions)


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
