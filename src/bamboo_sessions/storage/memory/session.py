"""One stored session of the memory engine: its message versions in order, and how a commit changes them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bamboo_sessions.domain.errors import MessageIdConflictError, MessageNotFoundError, StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge_history import FRONT, Insertion
from bamboo_sessions.domain.message import Message, StoredMessage, is_tool_result
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import Commit, SessionKey, StoredInsertion


class Version(msgspec.Struct):
    """One version of a message; removed ones keep their place, so that old revisions can be read."""

    stored: StoredMessage
    added: int
    removed: int | None = None

    @property
    def message(self) -> Message:
        """The message itself."""
        return self.stored.message

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


def sift(commit: Commit, living: StoredSession | None) -> tuple[list[StoredInsertion], tuple[str, ...]]:
    """The insertions without what is known already (G4); raises `MessageIdConflictError`."""
    if commit.replace:
        return [insertion for insertion in commit.insertions if insertion.messages], ()
    known = living.hashes if living else {}
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
    if targets:
        alive = {message.id for message in living.live} if living else set()
        for target in targets:
            if target not in alive:
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
    gone = set(commit.removals)
    edits = {stored.message.id: stored for stored in commit.edits}
    if gone or edits:
        for index in range(len(target.versions) - 1, -1, -1):
            version = target.versions[index]
            id_ = version.message.id
            if version.removed is None and (id_ in gone or id_ in edits):
                version.removed = revision
                if id_ in edits:
                    insert(target, index + 1, edits[id_], revision)
    for stored in source:
        insert(target, len(target.versions), stored, revision)
    only_appended = not (gone or edits or source)
    fresh: list[Message] = []
    for insertion in insertions:
        place = None if insertion.after is None else _behind(target.versions, insertion.after)
        for stored in insertion.messages:
            if place is not None:
                index = place
            else:
                index = len(target.versions) if commit.replace else _end_place(target.versions, stored.message)
            only_appended = only_appended and index == len(target.versions)
            insert(target, index, stored, revision)
            place = None if place is None else place + 1
            fresh.append(stored.message)
    if only_appended:
        target.live = target.live.extended(fresh)
        target.live_bytes += sum(len(s.body) for insertion in insertions for s in insertion.messages)
    else:
        target.live = FrozenMessages(v.message for v in target.versions if v.removed is None)
        target.live_bytes = sum(len(v.stored.body) for v in target.versions if v.removed is None)
    return _placed(target.live, {message.id for message in fresh})


def insert(target: StoredSession, index: int, stored: StoredMessage, revision: int) -> None:
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


def place_of(key: SessionKey, versions: Sequence[Version], message_id: str, at_revision: int | None) -> int:
    """The place of a message at a revision, or else of its last version: a removed one keeps its place."""
    places = [index for index, version in enumerate(versions) if version.message.id == message_id]
    if places:
        return next((index for index in places if versions[index].lives_at(at_revision)), places[-1])
    raise MessageNotFoundError(key.session_id, message_id)
