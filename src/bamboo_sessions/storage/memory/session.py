"""One stored session of the memory engine: its message versions in order, and how a commit changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import msgspec

from bamboo_sessions.domain.errors import MessageIdConflictError, StorageCorruptError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import Message, StoredMessage, to_stored
from bamboo_sessions.domain.placing import arranged, newest_group
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.splices import FRONT, Change, Insertion, spliced
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
    stored = StoredSession(head)
    _extend(stored, [to_stored(message) for message in draft.messages], revision)
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
    """Change the versions; returns the insertions as they really came to stand.

    Costs what is changed, and the way to it from the end of the history.
    """
    _extend(target, source, revision)
    inside = {each.after: each.messages for each in insertions if each.after is not None}
    edits = {stored.message.id: stored for stored in commit.edits}
    _reshape(target, _Changes(revision, commit.at, inside, edits, frozenset(commit.removals)))
    for insertion in insertions:
        if insertion.after is None:
            _append(target, commit, revision, insertion)
    return _placed(target.live, [stored.message.id for insertion in insertions for stored in insertion.messages])


def _extend(target: StoredSession, messages: Sequence[StoredMessage], revision: int) -> None:
    """Put messages behind all."""
    _put(target, len(target.versions), messages, revision)
    target.live = target.live.extended(stored.message for stored in messages)


def _append(target: StoredSession, commit: Commit, revision: int, insertion: StoredInsertion) -> None:
    """Put messages at the end, and results in the groups of their calls, unless their order is given."""
    if commit.replace or insertion.in_order:
        _extend(target, insertion.messages, revision)
        return
    by_id = {stored.message.id: stored for stored in insertion.messages}
    live, given = target.live, [stored.message for stored in insertion.messages]
    arrangement = arranged(given, lambda call_id: newest_group(live, call_id))
    joined = {live[last].id: [by_id[one.id] for one in run] for last, run in arrangement.joined}
    _reshape(target, _Changes(revision, commit.at, joined))
    _extend(target, [by_id[one.id] for one in arrangement.tail], revision)


class _Changes(NamedTuple):
    """What becomes of living messages: what is put behind them (`FRONT`: before all), what they become, which go."""

    revision: int
    at: datetime
    inside: Mapping[str, Sequence[StoredMessage]]
    edits: Mapping[str, StoredMessage] = {}
    removals: AbstractSet[str] = frozenset()


def _reshape(target: StoredSession, changes: _Changes) -> None:
    """End versions, and put edits in their places and other messages behind living ones."""
    if not (changes.inside or changes.edits or changes.removals):
        return
    target.live = spliced(target.live, _of_live(target.live, changes))
    left = {*changes.inside, *changes.edits, *changes.removals} - {FRONT}
    index = len(target.versions)
    while left:
        index -= 1
        version = target.versions[index]
        id_ = version.message.id
        if version.removed is not None or id_ not in left:
            continue
        left.remove(id_)
        _put(target, index + 1, changes.inside.get(id_, ()), changes.revision)
        if id_ in changes.edits:
            _put(target, index + 1, [changes.edits[id_]], changes.revision)
        if id_ in changes.edits or id_ in changes.removals:
            version.removed, version.removed_at = changes.revision, changes.at
            target.live_bytes -= len(version.stored.body)
    _put(target, 0, changes.inside.get(FRONT, ()), changes.revision)


def _of_live(live: FrozenMessages, changes: _Changes) -> list[Change]:
    """The changes by the places of the living messages, in order."""
    find = live.finder(len(changes.inside) + len(changes.edits) + len(changes.removals))
    ids = {*changes.inside, *changes.edits, *changes.removals} - {FRONT}
    places = {id_: place for id_ in ids if (place := find(id_)) is not None}
    fresh = {0 if after == FRONT else places[after] + 1: messages for after, messages in changes.inside.items()}
    edited = {places[id_]: stored.message for id_, stored in changes.edits.items()}
    removed = {places[id_] for id_ in changes.removals}
    return [
        Change(place, [stored.message for stored in fresh.get(place, ())], place in removed, edited.get(place))
        for place in sorted({*fresh, *edited, *removed})
    ]


def _put(target: StoredSession, index: int, messages: Sequence[StoredMessage], revision: int) -> None:
    """Put new versions in front of the one at `index`, and remember their contents (G4)."""
    target.versions[index:index] = [Version(stored, revision) for stored in messages]
    target.live_bytes += sum(len(stored.body) for stored in messages)
    for stored in messages:
        target.hashes.setdefault(stored.message.id, set()).add(stored.content_hash)


def _placed(live: FrozenMessages, fresh: Sequence[str]) -> tuple[Insertion, ...]:
    """Where the new messages stand, as runs behind messages that were there before."""
    places = map(live.finder(len(fresh)), fresh)
    numbered = enumerate(sorted(place for place in places if place is not None))
    runs = ([place for _, place in run] for _, run in groupby(numbered, key=lambda each: each[1] - each[0]))
    return tuple(_insertion(live, run[0], run[-1] + 1) for run in runs)


def _insertion(live: FrozenMessages, start: int, stop: int) -> Insertion:
    after = None if stop == len(live) else live[start - 1].id if start else FRONT
    return Insertion(tuple(live[start:stop]), after)
