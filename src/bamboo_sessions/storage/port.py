"""The seam for engines: what the durable tier has to do. One call is one atomic unit.

`SessionStorage` is for authors of engines and may grow in minor releases; its conformance suite is
`bamboo_sessions.testing.conformance`. Whoever has only "save, load and delete a session" wraps that in
`SimpleStorage`.

Correctness under concurrency rests on this layer alone: `commit` compares the revision that the change was computed
from with the newest one, inside the transaction, and refuses with `RevisionConflict` (an internal signal: the
locked store merges again). The compare and the write are one atomic unit, in whatever number of processes.

Driver errors never leak: an engine raises the `StorageError` family, `from` the driver's. Only "no such session"
is `None` (G8).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.ids import new_id
from bamboo_sessions.domain.lease import LeaseView, LeaseWish
from bamboo_sessions.domain.limits import FEED_PRUNE_ROWS_MAX
from bamboo_sessions.domain.message import Message, to_stored
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.usage import TokenUsageTotals
from bamboo_sessions.domain.working_copy import copy_of, freeze
from bamboo_sessions.storage.checks import check_key
from bamboo_sessions.storage.commit import (
    Commit,
    Committed,
    RecordCommit,
    RecordScope,
    SessionKey,
    State,
    StoredInsertion,
)
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.query import (
    DeleteQuery,
    FeedPage,
    HeadPage,
    ListQuery,
    Record,
    RecordQuery,
    Window,
    WindowQuery,
)

if TYPE_CHECKING:
    from bamboo_sessions.storage.search_query import SearchQuery

Plan = Callable[[State], Commit | None]
"""Computes a commit from what is committed now; `None` changes nothing. Synchronous; may run again, on any thread."""

Progress = Callable[[int, int], None]
"""Is told, on the event loop, how much of a long piece of work is done, and how much there is."""


class News(NamedTuple):
    """Something may have changed.

    `key` is the session; `None`: nobody can say which, so whoever waits for anything looks. `has_commit` is false if
    it was no more than a change of the session's run lease.
    """

    key: SessionKey | None
    has_commit: bool


Hear = Callable[[News], None]
"""Is told of news, on the event loop's thread. Does little, and never raises."""


class SessionStorage(ABC):
    """A durable tier. All calls may be made at the same time from one event loop."""

    is_exact: ClassVar[bool] = True
    """Whether `still_newest` knows of every commit that was acknowledged before, whoever made it.

    False for an engine that hears of other hosts' commits after a while. Then whoever is about to acknowledge that
    there is nothing to do confirms it by one read (L135).
    """

    @property
    def url(self) -> str:
        """What opens it, for people to read; a storage of one's own has the name of its class."""
        return type(self).__name__

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name}>" if self.url == name else f"<{name} {self.url}>"

    # --- life

    @abstractmethod
    async def open(self) -> None:
        """Make ready: create or migrate the schema. Idempotent; many processes may do it at once (L85)."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let everything go. Idempotent. What was acknowledged is durable already."""

    # --- what this process has heard: synchronous, microseconds, never blocking, never raising

    @abstractmethod
    def still_newest(self, key: SessionKey, revision: int, token: int | None) -> int | None:
        """A token, if the session lives and is still at `revision`, as far as this process has heard.

        What any reading call of this object has shown counts as heard, so that nothing goes back (G7).

        Args:
            key: Which session.
            revision: What a cache has of it.
            token: What this call gave for the revision before; `None`: nothing. With it the answer may be cheaper.

        Returns:
            What to hand in next time; any number. `None`: there is a newer revision, or the session was deleted, or
            it can't be told just now. The caller then reads.
        """

    @abstractmethod
    def listen(self, hear: Hear) -> Callable[[], None]:
        """Tell `hear` of every change that becomes visible from now on; the function that is given back ends that.

        Changes through this object are told as soon as they are durable; those of others when this process hears of
        them, which may be late, in another order, or more than once, but never not at all: an engine that may have
        missed something says so (`News(None, True)`). Belongs to the event loop that runs at the call; what it needs
        to hear of others (a timer, a connection) it keeps up only while somebody listens.
        """

    # --- reading

    @abstractmethod
    async def read(self, key: SessionKey) -> State:
        """The whole session, or what its deletion left, or `None`."""

    @abstractmethod
    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        """As `read`, reading only what came after `known`; `known` itself if nothing did."""

    @abstractmethod
    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        """The session without its messages."""

    @abstractmethod
    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        """A stretch of the history. Raises `MessageNotFoundError` if an anchor was never in it."""

    @abstractmethod
    async def find_message(self, namespace: str, message_id: str) -> tuple[str, Message] | None:
        """A living message of a living session, and that session's id; `None` if there is none.

        Forks have messages of one id: of several sessions, it is that whose id was made first.
        """

    @abstractmethod
    async def list_heads(self, query: ListQuery) -> HeadPage:
        """A page of living sessions; never reads messages (L92)."""

    @abstractmethod
    async def find_commit(self, key: SessionKey, commit_id: str) -> int | None:
        """The revision that this commit has made, or `None` if it hasn't happened by now; it may yet (see `settle`)."""

    @abstractmethod
    async def read_lease(self, key: SessionKey) -> LeaseView | None:
        """The run leases of a living session, and the engine's time; `None` if it doesn't live.

        Cheap: asked at every wake-up of a waiter.
        """

    @abstractmethod
    async def usage_totals(
        self, namespace: str, session_id: str | None, *, include_children: bool
    ) -> TokenUsageTotals | Tombstone | None:
        """The ledger's sums: of one session, of it and all below it, or of the namespace (`session_id=None`)."""

    @abstractmethod
    async def get_record(self, namespace: str, scope: RecordScope, kind: str, key: str) -> Record | None:
        """One record, or `None`."""

    @abstractmethod
    async def get_records(
        self, namespace: str, scope: RecordScope, kind: str, keys: Sequence[str]
    ) -> tuple[Record, ...]:
        """The records with these keys, those that there are, in the order asked for; seen in one moment."""

    @abstractmethod
    async def scan_records(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[Record, ...]:
        """Records by their keys, in the order of the keys by code point, or backwards.

        A page ends at the limit, and at `RECORD_PAGE_BYTES_MAX` bytes (`query.page_of_records`).
        """

    @abstractmethod
    async def scan_record_keys(self, namespace: str, scope: RecordScope, query: RecordQuery) -> tuple[str, ...]:
        """As `scan_records`, the keys alone: no value is read."""

    # --- the feed: each commit of a session is logged in it, in the same transaction (G11)

    @abstractmethod
    def check_position(self, position: str) -> None:
        """Raise `InputError` if this can't be a position of the feed. Synchronous; asks nobody."""

    @abstractmethod
    async def feed_position(self) -> str:
        """The position behind the newest commit, of all namespaces, that is visible in the feed.

        Positions are texts that only the engine reads: under 256 characters, sorted as the commits are, with the
        store's epoch in them.
        """

    @abstractmethod
    async def read_changes(self, namespace: str, after: str | None, limit: int) -> FeedPage:
        """The changes of a namespace behind the position `after` (`None`: all that is kept), in commit order.

        All is of one moment, so that nothing is pruned in between unseen. At most `limit` commits of all namespaces are
        looked at. What is told once is told for ever at its place: a commit that becomes visible late comes behind
        all that was visible before.

        Raises `PositionExpiredError` if there would be a gap (`reason`: `pruned`, `other_epoch`, or `restored`), and
        `InputError` for what is no position.
        """

    @abstractmethod
    async def prune_changes(self, older_than: timedelta, *, limit: int = FEED_PRUNE_ROWS_MAX) -> int:
        """Forget the oldest commits of the feed, up to the first that was logged less than `older_than` ago; how many.

        By the engine's own time of each commit, not by times that callers give (L129). With a commit its commit id is
        forgotten. One transaction, which forgets `limit` of them at most and moves the floor; the mark of the last one
        is kept, so that a position just there is believed only if it is that commit's (L123). No place is given again
        (L109).
        """

    @abstractmethod
    async def start_epoch(self) -> str:
        """Give the store a new epoch: positions of the old one are refused from now on; `feed_position` in the new."""

    @abstractmethod
    async def search(self, query: SearchQuery, *, on_progress: Progress | None = None) -> SearchPage:
        """The texts that match, best first: all that was committed before the call, and nothing that is gone (L46).

        What matches is decided by `domain.search_match.match` alone; an index may only bring candidates. An engine may
        rank the newest `SEARCH_RANKED` matches only. A query that an engine can't answer by these rules it refuses with
        `InputError`, and says which part of it can't be searched for: it never leaves out matches. `on_progress` is
        told of an index that has to be built first.
        """

    # --- writing

    @abstractmethod
    async def commit(self, commit: Commit) -> Committed:
        """Apply one change: all of it or nothing; durable when this returns.

        The rules of admission are `commit.admit`'s. A message id that is known in this incarnation is a duplicate if
        any stored version of it has this content, living or removed, and skipped; else it raises
        `MessageIdConflictError`. A commit id that is known in this session returns its outcome again, and is
        refused if it was another call's (`commit.check_repeated`); it needn't be looked for if the commit
        `is_first_try`. A child's parent has to live, and gives the child its place (`domain.tree.placed`).

        What `history_from` names is a committed revision, which never changes: an engine that keeps the two sessions on
        different machines may read the one first, and then commit the other. The original has lived at the call.

        Raises `RevisionConflict` besides the errors of users. Cancelling the caller doesn't undo it.
        """

    @abstractmethod
    async def settle(self, key: SessionKey, commit_id: str) -> int | None:
        """Find out what became of a commit whose outcome is unknown: the revision that it made, or `None`.

        `None` is final: the id is burnt, and a commit that still comes with it, late from the network or by somebody
        else, is refused with `InputError` for at least 24 hours.
        """

    @abstractmethod
    async def transact(self, key: SessionKey, plan: Plan, known: Snapshot | None = None) -> Committed | None:
        """Read, plan and commit inside one write transaction: for a session that is too busy to be caught (L108).

        `known` is a committed state of the session: only what is newer has to be read, while all other writers wait.
        `None` if the plan changes nothing. What `plan` raises ends the transaction and is raised.
        """

    @abstractmethod
    async def delete_tree(self, key: SessionKey, query: DeleteQuery) -> tuple[str, ...]:
        """Delete a session and all below it, in one transaction; leaves tombstones (G9).

        Returns the ids deleted, the given one first; empty if it doesn't live or the query's conditions spare it. A
        commit id that is known returns its outcome again.

        Raises `InputError` if the commit id is that of a change, `PreconditionFailedError` if `query.if_revision` isn't
        its revision, and `SessionBusyError` if a run holds one of them by the engine's time, unless the query forces
        it.
        """

    @abstractmethod
    async def set_owner(self, key: SessionKey, change: OwnerChange) -> tuple[SessionHead, ...]:
        """Give a living session another owner, and all below it that have its owner, in one transaction.

        `ownership.commits_of` says which, and what it is to each of them: a commit, with its revision and its row in
        the feed. Gives back the heads that were changed, the given one first; that alone if nothing had to be changed,
        or the commit id is known.

        Raises `SessionNotFoundError`, `SessionDeletedError`, and `PreconditionFailedError` by the change's condition.
        """

    @abstractmethod
    async def change_lease(self, key: SessionKey, wish: LeaseWish) -> LeaseView:
        """Do `domain.lease.applied` to the run leases of a living session, as one atomic unit; what they are then.

        The time is the engine's: one clock for all who share the data, that of the database if several hosts do. It
        is no commit: no revision, no row in the log of changes; those who listen are told, unless nothing changed.
        The token survives the deletion of the session (G12).

        Raises `SessionNotFoundError` or `SessionDeletedError`. Asking again after an unknown outcome is safe.
        """

    @abstractmethod
    async def write_records(self, commit: RecordCommit) -> tuple[int, ...]:
        """Write records as one unit, outside a session's commit. Returns their versions (0: deleted).

        What the writes do is `record_plan.plan_records`'s. A commit id that is known returns its outcome again; it is
        kept for as long as the feed keeps commits of its time.

        Raises `PreconditionFailedError` if one of them has another version, `SessionNotFoundError` or
        `SessionDeletedError` if a session whose records are written doesn't live, or not in the life that is meant.
        """

    # --- upkeep

    @abstractmethod
    async def purge_versions(self, before: datetime, limit: int) -> int:
        """Forget what messages said that were removed or edited before `before`, the oldest first; how many versions.

        One transaction, which blanks `limit` of them at most, or fewer if they are long; 0: none is left. Ids and
        hashes stay (G4). Whoever reads a revision at which one of them lived gets `MessageNotFoundError`.
        """

    @abstractmethod
    async def next_namespace(self, after: str | None) -> str | None:
        """The first namespace that has, or had, a session, behind `after` in the order of code points, or `None`."""

    @abstractmethod
    async def check(self, namespace: str | None = None, *, repair: bool = False) -> CheckReport:
        """Look for what can't be right; with `repair`, mend what can be mended, after a backup of what is in a file.

        Derived data is rebuilt, truth is never dropped. Of one namespace: its sessions and records, and whether the
        file that they are in is whole. `None`: of all, and what belongs to none (L130).
        """

    async def backup(self, target: Path, *, on_progress: Progress | None = None) -> CheckReport:
        """Copy the whole store, as it is at one moment, into a new file; the check of that copy, with `backup` set.

        Others go on meanwhile. The copy has its name once it is on disk, and was checked. An engine that keeps no files
        of its own refuses.

        Raises:
            InputError: This engine makes no backups; there is something of that name; the folder isn't there.
        """
        raise InputError(
            f"{type(self).__name__} makes no backups by itself.",
            hint="Export its sessions, or use what its database offers.",
        )

    @abstractmethod
    async def stats(self, namespace: str | None = None) -> Mapping[str, int]:
        """Counters, such as sessions, messages and bytes: of one namespace, or of the whole store."""

    # --- whole sessions, as tests and importers use them

    async def save_session(self, session: Session, *, namespace: str = "default") -> None:
        """Write a whole session as it is: what storage had under this id is replaced, `updated_at` included.

        The repository never uses it on a session that exists: it merges nothing.
        """
        key = check_key(SessionKey(namespace, session.id))
        await self.transact(key, lambda state: replacement(key, session, state))

    async def load_session(self, session_id: str, *, namespace: str = "default") -> Session | None:
        """The stored session, or `None`. A storage error is raised, never read as absence."""
        state = await self.read(check_key(SessionKey(namespace, session_id)))
        return copy_of(state) if isinstance(state, Snapshot) else None

    async def delete_session(self, session_id: str, *, namespace: str = "default") -> bool:
        """Delete a session and all below it. `False` if there was none."""
        query = DeleteQuery(at=SYSTEM_CLOCK.now(), force=True)
        return bool(await self.delete_tree(check_key(SessionKey(namespace, session_id)), query))


def replacement(key: SessionKey, session: Session, state: State) -> Commit:
    """The commit that makes storage hold exactly `session`: every message anew, whatever was there."""
    draft = freeze(session)
    current = state.revision if state is not None else 0
    return Commit(
        key=key,
        commit_id=new_id(),
        at=draft.head.updated_at,
        expected=current if isinstance(state, Snapshot) else 0,
        head=draft.head,
        updated_at=draft.head.updated_at,
        insertions=(StoredInsertion(tuple(to_stored(message) for message in draft.messages), None),),
        removals=tuple(message.id for message in state.messages) if isinstance(state, Snapshot) else (),
        reuse_deleted=True,
        replace=True,
    )
