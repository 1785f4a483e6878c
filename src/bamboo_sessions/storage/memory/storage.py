"""`memory://`: the reference engine. Durable as long as the process; the same contract as every other engine.

Each call runs in one step of the event loop, so it is atomic; whatever can be refused is refused before anything
changes. Readable first: where another engine disagrees with this one, look here for what was meant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NoReturn

import msgspec

from bamboo_sessions.domain.change import ChangeKind, FeedBounds, mark_of
from bamboo_sessions.domain.clock import EPOCH, to_micros
from bamboo_sessions.domain.errors import (
    MessageNotFoundError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import SessionHead, head_document
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.lease import LeaseState, busy
from bamboo_sessions.domain.limits import COMMIT_ID_HOURS_MIN
from bamboo_sessions.domain.merge_history import Insertion
from bamboo_sessions.domain.message import StoredMessage, to_stored
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.search_match import Match, best, hit, match, texts_of_head, texts_of_message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals, totals
from bamboo_sessions.storage.commit import (
    Admission,
    Commit,
    Committed,
    Current,
    RecordScope,
    RecordWrite,
    SessionKey,
    State,
    admit,
    check_record_write,
    kinds_of,
)
from bamboo_sessions.storage.memory.feed import Entry, Feed
from bamboo_sessions.storage.memory.session import (
    StoredSession,
    apply_history,
    check_targets,
    insert,
    place_of,
    sift,
)
from bamboo_sessions.storage.port import LeaseChange, Peek, Plan, Progress, SessionStorage
from bamboo_sessions.storage.query import (
    Cursor,
    DeleteQuery,
    FeedPage,
    HeadPage,
    ListQuery,
    Record,
    RecordQuery,
    Window,
    WindowQuery,
)
from bamboo_sessions.storage.search_query import SearchQuery

_NEVER_LEASED: Final = LeaseState()
_KEPT: Final = timedelta(hours=COMMIT_ID_HOURS_MIN)


class _Prepared(msgspec.Struct, frozen=True):
    """A commit that was checked, what it changes, the session after it, and what to tell the caller."""

    commit: Commit
    kinds: tuple[ChangeKind, ...]
    target: StoredSession
    committed: Committed


_RecordsKey = tuple[str, RecordScope, str]


class MemoryStorage(SessionStorage):
    """Sessions in this process's memory."""

    def __init__(self) -> None:
        self._sessions: dict[SessionKey, StoredSession | Tombstone] = {}
        self._commits: dict[tuple[SessionKey, str], Committed] = {}
        self._commit_order: deque[tuple[datetime, tuple[SessionKey, str]]] = deque()
        self._records: dict[_RecordsKey, dict[str, Record]] = {}
        self._feed = Feed()
        self._leases: dict[SessionKey, LeaseState] = {}
        self._freshness = 0

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do: the data lives as long as this object."""

    # --- freshness

    def freshness(self) -> int | None:
        """How many commits there were."""
        return self._freshness

    def peek(self, key: SessionKey) -> Peek | None:
        """Revision and deletion of one session."""
        stored = self._sessions.get(key)
        if stored is None:
            return None
        if isinstance(stored, Tombstone):
            return Peek(stored.revision, deleted=True)
        return Peek(stored.head.revision, deleted=False)

    # --- reading

    async def read(self, key: SessionKey) -> State:
        """The whole session, or what its deletion left, or `None`."""
        stored = self._sessions.get(key)
        return stored.snapshot if isinstance(stored, StoredSession) else stored

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        """As `read`; `known` itself if nothing came after it."""
        state = await self.read(key)
        return known if isinstance(state, Snapshot) and state.revision == known.revision else state

    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        """The session without its messages."""
        stored = self._sessions.get(key)
        return stored.head if isinstance(stored, StoredSession) else stored

    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        """A stretch of the history."""
        stored = self._sessions.get(key)
        if not isinstance(stored, StoredSession):
            return stored
        versions = stored.versions
        at = query.at_revision
        first = place_of(key, versions, query.after, at) + 1 if query.after is not None else 0
        last = place_of(key, versions, query.before, at) if query.before is not None else len(versions)
        alive = [index for index, version in enumerate(versions) if version.lives_at(at)]
        between = [index for index in alive if first <= index < last]
        taken = between[: query.count] if query.after is not None else between[-query.count :]
        start, end = (taken[0], taken[-1]) if taken else (first, first - 1)
        revision = stored.head.revision if at is None else at
        return Window(
            messages=tuple(versions[index].message for index in taken),
            has_earlier=any(index < start for index in alive),
            has_later=any(index > end for index in alive),
            message_count=len(alive),
            revision=revision,
        )

    async def list_heads(self, query: ListQuery) -> HeadPage:
        """A page of living sessions."""
        heads = [head for head in self._heads(query.namespace) if _matches(head, query)]
        descending = query.order.startswith("-")
        field_name = query.order.lstrip("-")

        def place(head: SessionHead) -> tuple[int, str]:
            return to_micros(getattr(head, field_name)), head.id

        heads.sort(key=place, reverse=descending)
        total = len(heads) if query.total else None
        if query.cursor is not None:
            at = (query.cursor.micros, query.cursor.session_id)
            heads = [head for head in heads if (place(head) < at if descending else place(head) > at)]
        page = heads[: query.limit]
        more = len(heads) > query.limit
        return HeadPage(tuple(page), Cursor(query.order, *place(page[-1])) if more else None, total)

    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        """The revision that this commit made."""
        committed = self._commits.get((key, commit_id))
        return committed.revision if committed else None

    async def read_lease(self, key: SessionKey) -> LeaseState | None:
        """The run leases of a living session."""
        return self._leases_of(key) if isinstance(self._sessions.get(key), StoredSession) else None

    def _leases_of(self, key: SessionKey) -> LeaseState:
        return self._leases.get(key, _NEVER_LEASED)

    async def usage_totals(
        self, namespace: str, session_id: str | None, *, include_children: bool
    ) -> TokenUsageTotals | Tombstone | None:
        """The ledger's sums."""
        if session_id is None:
            keys = [key for key in self._sessions if key.namespace == namespace]
        else:
            key = SessionKey(namespace, session_id)
            stored = self._sessions.get(key)
            if not isinstance(stored, StoredSession):
                return stored
            keys = list(self._tree(key)) if include_children else [key]
        ledgers = [self._sessions[key] for key in keys]
        return totals(r for ledger in ledgers if isinstance(ledger, StoredSession) for r in ledger.usage.values())

    async def get_record(self, namespace: str, scope: RecordScope, kind: str, key: str) -> Record | None:
        """One record, or `None`."""
        return self._records.get((namespace, scope, kind), {}).get(key)

    async def scan_records(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
        """Records by key prefix."""
        records = self._records.get((namespace, scope, query.kind), {})
        keys = sorted((key for key in records if key.startswith(query.prefix)), reverse=query.reverse)
        if query.after is not None:
            after = query.after
            keys = [key for key in keys if (key < after if query.reverse else key > after)]
        return tuple(records[key] for key in keys[: query.limit])

    async def search(self, query: SearchQuery, *, on_progress: Progress | None = None) -> SearchPage:
        """Looks through all texts of the namespace: there is no index."""
        matches = [found for head in self._heads(query.namespace) for found in self._matches_in(head, query)]
        page, has_more = best(matches, query.limit)
        titles = {head.id: head.title for head in self._heads(query.namespace)}
        hits = tuple(hit(query.text, found, titles[found.text.session_id]) for found in page)
        return SearchPage(hits=hits, has_more=has_more)

    def _matches_in(self, head: SessionHead, query: SearchQuery) -> Iterator[Match]:
        if not query.takes_session(head):
            return
        texts = [*texts_of_head(head)]
        for message in self._living(SessionKey(query.namespace, head.id)).live:
            texts += texts_of_message(message, head.id)
        for text in texts:
            if query.takes(text) and (found := match(query.text, text)) is not None:
                yield found

    # --- writing

    async def commit(self, commit: Commit) -> Committed:
        """Apply one change: all of it or nothing."""
        return self.apply(commit)

    async def transact(self, key: SessionKey, plan: Plan) -> Committed | None:
        """Read, plan and commit in one step."""
        commit = plan(await self.read(key))
        return None if commit is None else self.apply(commit)

    def apply(self, commit: Commit) -> Committed:
        """Apply one change, synchronously."""
        prepared = self._prepare(commit)
        return self._install(prepared) if isinstance(prepared, _Prepared) else prepared

    def _prepare(self, commit: Commit, *, on_copy: bool = False) -> _Prepared | Committed:
        """Check everything and work out the session after the commit; the outcome itself if nothing is to be done.

        With `on_copy` the session that readers see stays as it is until `_install`.
        """
        if known := self._commits.get((commit.key, commit.commit_id)):
            return msgspec.structs.replace(known, replayed=True)
        stored = self._sessions.get(commit.key)
        admission = admit(commit, _current(stored, self._leases_of(commit.key).token))
        living = stored if isinstance(stored, StoredSession) else None
        if admission.created:
            self._check_ancestors(commit)
        source = self._source(commit)
        insertions, duplicates = sift(commit, living)
        usage = {r.id: r for r in commit.usage if living is None or r.id not in living.usage}
        head = commit.head or (commit.initial_head if admission.created else None)
        if head is not None:
            head_document(head)  # raises if it is too large
        check_targets(commit, living)
        self._check_records(commit.key.namespace, _scope(commit.key), commit.records)
        if living and not (insertions or usage or head or commit.edits or commit.removals or commit.records):
            return _outcome(living.head, changed=False, duplicates=duplicates)
        # from here on nothing can fail
        target = living or StoredSession(head or _unreachable(commit.key))
        if on_copy:
            target = target.copy()
        placed = apply_history(target, commit, admission.revision, source, insertions)
        target.usage.update(usage)
        target.head = _clocked(head or target.head, admission, len(target.live))
        kinds = kinds_of(commit, created=admission.created, inserted=bool(insertions), used=bool(usage))
        return _Prepared(commit, kinds, target, _outcome(target.head, placed=placed, duplicates=duplicates))

    def _install(self, prepared: _Prepared) -> Committed:
        commit = prepared.commit
        self._sessions[commit.key] = prepared.target
        self._put_records(commit.key.namespace, _scope(commit.key), commit.records)
        return self._log(commit, prepared.kinds, prepared.committed)

    def _log(self, commit: Commit, kinds: tuple[ChangeKind, ...], committed: Committed) -> Committed:
        self._freshness += 1
        ids = tuple(message.id for insertion in committed.placed for message in insertion.messages)
        mark = mark_of(commit.commit_id)
        self._feed.add(Entry(commit.key, committed.revision, committed.incarnation, mark, kinds, ids, commit.at))
        entry = (commit.key, commit.commit_id)
        self._commits[entry] = committed
        self._commit_order.append((commit.at, entry))
        while self._commit_order[0][0] < commit.at - _KEPT:
            self._commits.pop(self._commit_order.popleft()[1], None)
        return committed

    def _check_ancestors(self, commit: Commit) -> None:
        head = commit.head or commit.initial_head
        if head is None or head.parent_session_id is None:
            return
        for session_id in {head.parent_session_id, head.root_session_id} - {head.id}:
            self._living(SessionKey(commit.key.namespace, session_id))

    def _source(self, commit: Commit) -> list[StoredMessage]:
        source = commit.history_from
        if source is None:
            return []
        stored = self._living(SessionKey(commit.key.namespace, source.session_id))
        if source.at_revision < stored.head.incarnation:
            raise SessionDeletedError(source.session_id)
        versions = [version for version in stored.versions if version.lives_at(source.at_revision)]
        if source.through_message_id is None:
            return [version.stored for version in versions]
        for index, version in enumerate(versions):
            if version.message.id == source.through_message_id:
                return [taken.stored for taken in versions[: index + 1]]
        raise MessageNotFoundError(source.session_id, source.through_message_id)

    def _living(self, key: SessionKey) -> StoredSession:
        stored = self._sessions.get(key)
        if stored is None:
            raise SessionNotFoundError(key.session_id)
        if isinstance(stored, Tombstone):
            raise SessionDeletedError(key.session_id)
        return stored

    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Delete a session and all below it; leaves tombstones."""
        tree = self._doomed(key, query)
        if not tree:
            return ()
        for each in tree:
            head = self._living(each).head
            self._sessions[each] = Tombstone(each.session_id, head.revision + 1, head.metadata_version)
            self._feed.add(
                Entry(each, head.revision + 1, head.incarnation, mark_of(new_id()), ("deleted",), (), query.at)
            )
            self._leases[each] = LeaseState(token=self._leases_of(each).token)
            for records_key in [k for k in self._records if k[:2] == (each.namespace, _scope(each))]:
                del self._records[records_key]
        self._freshness += 1
        return tuple(each.session_id for each in tree)

    def _doomed(self, key: SessionKey, query: DeleteQuery) -> list[SessionKey]:
        """What `delete_tree` would delete, parents first; nothing if the query's conditions spare the tree.

        Raises `SessionBusyError` if a run holds one of them.
        """
        if not isinstance(self._sessions.get(key), StoredSession):
            return []
        tree = list(self._tree(key))
        root = self._living(key).head.root_session_id
        if query.keep_pinned and any(h.pinned and h.root_session_id == root for h in self._heads(key.namespace)):
            return []  # above and beside the given session, too (L39)
        if any(_spared(self._living(each), query) for each in tree):
            return []
        for each in tree:
            leases = self._leases_of(each)
            if leases.is_held(query.at) and not query.force:
                raise busy(each.session_id, leases, query.at)
        return tree

    def _tree(self, key: SessionKey) -> Iterator[SessionKey]:
        """A session and all below it, parents first."""
        yield key
        for head in self._heads(key.namespace):
            if head.parent_session_id == key.session_id:
                yield from self._tree(SessionKey(key.namespace, head.id))

    def _heads(self, namespace: str) -> list[SessionHead]:
        return [
            stored.head
            for key, stored in self._sessions.items()
            if key.namespace == namespace and isinstance(stored, StoredSession)
        ]

    # --- the feed

    async def feed_bounds(self) -> FeedBounds:
        """What is kept of the feed."""
        return self._feed.bounds

    async def read_changes(self, namespace: str, after: int | None, limit: int) -> FeedPage:
        """The changes of a namespace behind `after`; those of lives that were deleted have lost their messages."""
        return self._feed.page(namespace, after, limit, self._lives)

    def _lives(self, key: SessionKey, incarnation: int) -> bool:
        stored = self._sessions.get(key)
        return isinstance(stored, StoredSession) and stored.head.incarnation == incarnation

    async def prune_changes(self, before: datetime, limit: int) -> int:
        """Forget the oldest commits of the feed."""
        return self._feed.prune(before, limit)

    async def start_epoch(self) -> FeedBounds:
        """A new epoch."""
        return self._feed.start_epoch()

    # --- run leases

    async def change_lease(self, key: SessionKey, change: LeaseChange, now: datetime) -> LeaseState:
        """Read the run leases, change them and keep the result, in one step."""
        self._living(key)
        before = self._leases_of(key)
        after = change(before, now)
        if after != before:
            self._leases[key] = after
            self._freshness += 1
        return after

    # --- records

    async def write_records(self, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> tuple[int, ...]:
        """Write records as one unit."""
        if scope.type == "session":
            self._living(SessionKey(namespace, scope.name))
        self._check_records(namespace, scope, writes)
        self._freshness += 1
        return self._put_records(namespace, scope, writes)

    def _check_records(self, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> None:
        for write in writes:
            record = self._records.get((namespace, scope, write.kind), {}).get(write.key)
            check_record_write(write, record.version if record else 0, scope)

    def _put_records(self, namespace: str, scope: RecordScope, writes: Sequence[RecordWrite]) -> tuple[int, ...]:
        versions = []
        for write in writes:
            records = self._records.setdefault((namespace, scope, write.kind), {})
            before = records.pop(write.key, None)
            version = 0
            if write.value is not None:
                version = before.version + 1 if before else 1
                records[write.key] = Record(write.key, write.value, version)
            versions.append(version)
        return tuple(versions)

    # --- for `SimpleStorage`

    def _seed(self, key: SessionKey, session: Session) -> None:
        """Take over a session that was kept elsewhere, with its counters."""
        draft = session.freeze()
        revision = max(1, draft.head.revision)
        incarnation = min(revision, draft.head.incarnation or 1)
        head = msgspec.structs.replace(
            draft.head, revision=revision, incarnation=incarnation, message_count=len(draft.messages)
        )
        stored = StoredSession(head, live=draft.messages)
        for message in draft.messages:
            insert(stored, len(stored.versions), to_stored(message), revision)
        stored.live_bytes = sum(len(version.stored.body) for version in stored.versions)
        self._sessions[key] = stored
        self._freshness += 1

    # --- upkeep

    async def check(self, *, repair: bool = False) -> CheckReport:
        """Counts only: there is no file that could be damaged, and nothing derived."""
        counts = await self.stats()
        return CheckReport(sessions=counts["sessions"], messages=counts["messages"])

    async def stats(self) -> Mapping[str, int]:
        """Counters of the store."""
        living = [stored for stored in self._sessions.values() if isinstance(stored, StoredSession)]
        return {
            "sessions": len(living),
            "deleted_sessions": len(self._sessions) - len(living),
            "messages": sum(len(stored.live) for stored in living),
            "message_versions": sum(len(stored.versions) for stored in living),
            "bytes": sum(stored.live_bytes for stored in living),
            "changes": len(self._feed),
            "records": sum(len(records) for records in self._records.values()),
        }


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
    head: SessionHead,
    *,
    changed: bool = True,
    placed: tuple[Insertion, ...] = (),
    duplicates: tuple[str, ...] = (),
) -> Committed:
    return Committed(
        revision=head.revision,
        incarnation=head.incarnation,
        updated_at=head.updated_at,
        message_count=head.message_count,
        changed=changed,
        placed=placed,
        duplicates=duplicates,
    )


def _unreachable(key: SessionKey) -> NoReturn:
    message = f"A commit for session {key.session_id!r} creates it without a head."
    raise AssertionError(message)


def _scope(key: SessionKey) -> RecordScope:
    return RecordScope("session", key.session_id)


def _spared(stored: StoredSession, query: DeleteQuery) -> bool:
    head = stored.head
    if query.only_empty and head.message_count:
        return True
    return query.updated_before is not None and head.updated_at >= query.updated_before


def _matches(head: SessionHead, query: ListQuery) -> bool:
    equal = {
        "owner": query.owner,
        "kind": query.kind,
        "pinned": query.pinned,
        "archived": query.archived,
        "parent_session_id": query.parent,
        "root_session_id": query.root,
        "has_question": query.has_question,
        "run_status": query.run_status,
    }
    if any(wanted is not None and getattr(head, name) != wanted for name, wanted in equal.items()):
        return False
    if query.owner_prefix is not None and not (head.owner or "").startswith(query.owner_prefix):
        return False
    return query.updated_before is None or head.updated_at < query.updated_before
