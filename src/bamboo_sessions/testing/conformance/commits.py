"""Compare-and-commit: counters, admission, incarnations, tombstones, replays."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.errors import (
    LimitExceededError,
    MessageIdConflictError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.limits import METADATA_KEYS_MAX
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.splices import FRONT
from bamboo_sessions.domain.usage import TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.storage.commit import Commit, RecordWrite, RevisionConflict, State
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    SECOND,
    appending,
    change,
    content,
    creation,
    head_of,
    ids_in,
    key_of,
    scope_of,
    snapshot_of,
    user,
    users,
)

DELETE = DeleteQuery(at=START)


class CommitsConformance(Conformance):
    """Every commit is compared, counted, atomic, and may be sent again."""

    async def test_a_creation_makes_revision_one(self, storage: SessionStorage) -> None:
        """The first commit of an id makes revision 1 of incarnation 1, with the head and messages that it has."""
        committed = await storage.commit(creation("s", *users("a", "b"), head=head_of(title="T", owner="o")))
        assert (committed.revision, committed.incarnation, committed.message_count) == (1, 1, 2)
        assert committed.changed
        assert not committed.replayed
        state = await snapshot_of(storage)
        assert (state.head.title, state.head.owner, state.head.message_count) == ("T", "o", 2)
        assert list(state.messages) == [*users("a", "b")]

    async def test_a_session_can_begin_without_messages(self, storage: SessionStorage) -> None:
        """A creation without messages makes an empty session."""
        committed = await storage.commit(creation())
        assert (committed.revision, committed.message_count) == (1, 0)
        assert await ids_in(storage) == []

    async def test_creating_what_lives_conflicts(self, storage: SessionStorage) -> None:
        """A commit that expects no session is refused where one lives, and changes nothing."""
        await storage.commit(creation("s", user("a")))
        before = await snapshot_of(storage)
        with pytest.raises(RevisionConflict) as refused:
            await storage.commit(creation("s", user("b")))
        assert (refused.value.expected, refused.value.actual) == (0, 1)
        assert content(await snapshot_of(storage)) == content(before)

    async def test_each_commit_raises_the_revision_by_one(self, storage: SessionStorage) -> None:
        """Blind and compared commits, of messages or the head alone, count up from 1 without a gap."""
        revisions = [(await storage.commit(creation())).revision]
        revisions.append((await storage.commit(appending("s", user("a")))).revision)
        state = await snapshot_of(storage)
        revisions.append((await storage.commit(change(state, head=head_of(title="T")))).revision)
        usage = (TokenUsageRecord(id="u", at=START, input_tokens=1),)
        revisions.append((await storage.commit(appending("s", usage=usage))).revision)
        revisions.append((await storage.commit(appending("s", records=(RecordWrite("k", "r", b"v"),)))).revision)
        assert revisions == [1, 2, 3, 4, 5]
        assert (await snapshot_of(storage)).revision == 5

    async def test_a_stale_commit_is_refused_and_leaves_nothing(self, storage: SessionStorage) -> None:
        """L08: a commit computed from an older revision is refused as a whole: messages, head, usage and records."""
        await storage.commit(creation())
        stale = await snapshot_of(storage)
        await storage.commit(appending("s", user("a")))
        before = await snapshot_of(storage)
        commit = change(
            stale,
            head=head_of(title="stale"),
            insertions=appending("s", user("b")).insertions,
            usage=(TokenUsageRecord(id="u", at=START, input_tokens=1),),
            records=(RecordWrite("k", "r", b"v"),),
        )
        with pytest.raises(RevisionConflict) as refused:
            await storage.commit(commit)
        assert (refused.value.expected, refused.value.actual) == (1, 2)
        assert content(await snapshot_of(storage)) == content(before)
        assert await storage.get_record("default", scope_of("s"), "k", "r") is None
        assert await storage.usage_totals("default", "s", include_children=False) == TokenUsageTotals()
        assert await storage.settle(KEY, commit.commit_id) is None

    async def test_a_commit_from_the_future_is_refused(self, storage: SessionStorage) -> None:
        """A revision that isn't reached yet is a conflict like an old one."""
        await storage.commit(creation())
        with pytest.raises(RevisionConflict):
            await storage.commit(appending("s", user("a"), expected=7))

    async def test_what_never_was_is_not_found(self, storage: SessionStorage) -> None:
        """A blind or compared commit that creates nothing raises `SessionNotFoundError` where nothing ever was."""
        for commit in (appending("s", user("a")), appending("s", user("a"), expected=3)):
            with pytest.raises(SessionNotFoundError):
                await storage.commit(commit)
        assert await storage.read(KEY) is None

    async def test_a_blind_commit_can_create(self, storage: SessionStorage) -> None:
        """With an initial head a blind commit makes the session; where it lives, that head is ignored."""
        first = await storage.commit(appending("s", user("a"), initial_head=head_of(model="first")))
        second = await storage.commit(appending("s", user("b"), initial_head=head_of(model="second")))
        assert (first.revision, second.revision) == (1, 2)
        state = await snapshot_of(storage)
        assert state.head.model == "first"
        assert [message.id for message in state.messages] == ["a", "b"]

    async def test_the_head_stays_if_a_commit_has_none(self, storage: SessionStorage) -> None:
        """A commit of messages leaves the head as it is, but for the counters."""
        await storage.commit(creation(head=head_of(title="T", metadata={"k": [1, None]}, pinned=True)))
        before = await snapshot_of(storage)
        await storage.commit(appending("s", user("a")))
        after = await snapshot_of(storage)
        assert after.head.title == "T"
        assert after.head.metadata == before.head.metadata
        assert after.head.pinned
        assert after.head.message_count == 1

    async def test_storage_sets_the_counters_of_a_head(self, storage: SessionStorage) -> None:
        """Revision, incarnation and message count of a given head don't count."""
        await storage.commit(creation("s", user("a"), head=head_of(revision=40, incarnation=7, message_count=9)))
        head = (await snapshot_of(storage)).head
        assert (head.revision, head.incarnation, head.message_count) == (1, 1, 1)

    async def test_an_unstorable_head_leaves_nothing(self, storage: SessionStorage) -> None:
        """L86: a head that is too large is refused before anything of the commit is written."""
        await storage.commit(creation())
        before = await snapshot_of(storage)
        large = head_of(metadata={str(number): 0 for number in range(METADATA_KEYS_MAX + 1)})
        with pytest.raises(LimitExceededError):
            await storage.commit(change(before, head=large, insertions=appending("s", user("a")).insertions))
        assert content(await snapshot_of(storage)) == content(before)

    # --- times

    async def test_updated_at_takes_the_wished_time(self, storage: SessionStorage) -> None:
        """A creation keeps any time, also one long ago; a later wish counts."""
        long_ago = START - timedelta(days=400)
        await storage.commit(creation(head=head_of(updated_at=long_ago), updated_at=long_ago))
        assert (await snapshot_of(storage)).head.updated_at == long_ago
        await storage.commit(appending("s", user("a"), updated_at=START + SECOND))
        assert (await snapshot_of(storage)).head.updated_at == START + SECOND

    async def test_updated_at_never_goes_back(self, storage: SessionStorage) -> None:
        """L23: an earlier or equal wish becomes the committed time + 1 µs, and the outcome says so."""
        await storage.commit(creation(updated_at=START + SECOND))
        for number, wished in enumerate([START, START + SECOND], start=1):
            committed = await storage.commit(appending("s", user(str(number)), updated_at=wished))
            assert committed.updated_at == START + SECOND + number * MICROSECOND
            assert (await snapshot_of(storage)).head.updated_at == committed.updated_at

    async def test_without_a_wish_the_time_of_the_commit_counts(self, storage: SessionStorage) -> None:
        """`at` is the time of a commit that wishes none."""
        await storage.commit(creation())
        committed = await storage.commit(appending("s", user("a"), at=START + SECOND))
        assert committed.updated_at == START + SECOND

    # --- deletion and the next life

    async def test_deleted_stays_deleted(self, storage: SessionStorage) -> None:
        """G9: whatever doesn't create explicitly is refused as deleted, and the tombstone keeps counting."""
        await storage.commit(creation(head=head_of(metadata_version=3)))
        await storage.delete_tree(KEY, DELETE)
        tombstone = await storage.read(KEY)
        assert tombstone == Tombstone("s", 2, 3)
        refused = [
            appending("s", user("a")),
            appending("s", user("a"), initial_head=head_of()),
            appending("s", user("a"), expected=1),
            appending("s", user("a"), expected=2),
            appending("s", user("a"), incarnation=1),
            creation(),
        ]
        for commit in refused:
            with pytest.raises(SessionDeletedError):
                await storage.commit(commit)
        assert await storage.read(KEY) == tombstone

    async def test_counters_go_on_in_the_next_life(self, storage: SessionStorage) -> None:
        """L103: a re-created session goes on counting revisions and metadata versions; its life is its first one."""
        await storage.commit(creation("s", user("a"), head=head_of(metadata_version=5)))
        await storage.delete_tree(KEY, DELETE)
        committed = await storage.commit(creation("s", user("b"), reuse_deleted=True))
        assert (committed.revision, committed.incarnation) == (3, 3)
        state = await snapshot_of(storage)
        assert state.head.metadata_version > 5
        assert [message.id for message in state.messages] == ["b"]

    async def test_reuse_is_no_licence_to_replace(self, storage: SessionStorage) -> None:
        """`reuse_deleted` on a session that lives conflicts like any creation."""
        await storage.commit(creation())
        with pytest.raises(RevisionConflict):
            await storage.commit(creation(reuse_deleted=True))

    async def test_a_commit_can_name_the_life_it_means(self, storage: SessionStorage) -> None:
        """A commit that names the living incarnation goes in; one that names an older one is refused as deleted."""
        await storage.commit(creation())
        await storage.delete_tree(KEY, DELETE)
        await storage.commit(creation(reuse_deleted=True))
        await storage.commit(appending("s", user("a"), incarnation=3))
        with pytest.raises(SessionDeletedError):
            await storage.commit(appending("s", user("b"), incarnation=1))
        with pytest.raises(SessionDeletedError):
            await storage.commit(appending("s", user("b"), incarnation=1, expected=1))
        assert await ids_in(storage) == ["a"]

    async def test_message_ids_begin_anew_in_the_next_life(self, storage: SessionStorage) -> None:
        """An id of the old life is neither a duplicate nor a conflict in the new one."""
        await storage.commit(creation("s", user("old", id="a")))
        await storage.delete_tree(KEY, DELETE)
        await storage.commit(creation("s", reuse_deleted=True))
        committed = await storage.commit(appending("s", user("new", id="a")))
        assert committed.duplicates == ()
        assert (await snapshot_of(storage)).messages[0].text == "new"

    async def test_nothing_to_do_makes_no_commit(self, storage: SessionStorage) -> None:
        """L42: a commit that would change nothing makes no revision and isn't found afterwards."""
        await storage.commit(creation("s", user("a")))
        before = await snapshot_of(storage)
        idle = [appending("s", user("a")), appending("s"), change(before)]
        for commit in idle:
            committed = await storage.commit(commit)
            assert not committed.changed
            assert committed.revision == 1
            assert await storage.settle(KEY, commit.commit_id) is None
        assert content(await snapshot_of(storage)) == content(before)

    async def test_a_refused_commit_can_be_mended_and_sent(self, storage: SessionStorage) -> None:
        """L90: a refusal leaves the storage in order; the next commit goes in."""
        await storage.commit(creation("s", user("a")))
        with pytest.raises(MessageIdConflictError):
            await storage.commit(appending("s", user("other", id="a")))
        committed = await storage.commit(appending("s", user("b")))
        assert committed.revision == 2

    # --- plans inside the transaction

    async def test_a_transaction_reads_on_from_what_is_known(self, storage: SessionStorage) -> None:
        """A plan sees the newest state, whatever older snapshot its caller knows; of a former life, too."""
        await storage.commit(creation("s", user("a")))
        known = await snapshot_of(storage)
        await storage.commit(appending("s", user("b")))
        seen: list[State] = []

        def plan(state: State) -> None:
            seen.append(state)

        await storage.transact(KEY, plan, known)
        await storage.transact(KEY, plan, await snapshot_of(storage))
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        await storage.transact(KEY, plan, known)
        await storage.commit(creation("s", user("c"), reuse_deleted=True))
        await storage.transact(KEY, plan, known)
        found = [[message.id for message in state.messages] for state in seen if isinstance(state, Snapshot)]
        assert found == [["a", "b"], ["a", "b"], ["c"]]
        assert isinstance(seen[2], Tombstone)

    async def test_a_plan_sees_the_newest_state(self, storage: SessionStorage) -> None:
        """`transact` hands the committed state to the plan and applies what that returns (L10)."""
        seen: list[object] = []

        def create(state: object) -> Commit:
            seen.append(state)
            return creation("s", user("a"))

        def add(state: object) -> Commit:
            seen.append(state)
            assert isinstance(state, Snapshot)
            return change(state, insertions=appending("s", user("b")).insertions)

        first = await storage.transact(KEY, create)
        second = await storage.transact(KEY, add)
        assert first is not None
        assert second is not None
        assert (first.revision, second.revision) == (1, 2)
        assert seen[0] is None
        assert isinstance(seen[-1], Snapshot)
        assert [message.id for message in seen[-1].messages] == ["a"]
        assert await ids_in(storage) == ["a", "b"]

    async def test_a_plan_may_change_nothing(self, storage: SessionStorage) -> None:
        """A plan that returns `None` makes no commit."""
        await storage.commit(creation())
        assert await storage.transact(KEY, lambda _: None) is None
        assert (await snapshot_of(storage)).revision == 1

    async def test_what_a_plan_raises_ends_the_transaction(self, storage: SessionStorage) -> None:
        """The error of a plan is raised as it is, nothing is written, and the storage goes on working."""
        await storage.commit(creation())

        def fail(_: object) -> Commit:
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await storage.transact(KEY, fail)
        assert (await storage.commit(appending("s", user("a")))).revision == 2

    async def test_a_plan_can_find_a_tombstone(self, storage: SessionStorage) -> None:
        """A plan for a deleted session sees what the deletion left."""
        await storage.commit(creation())
        await storage.delete_tree(KEY, DELETE)
        seen: list[object] = []
        assert await storage.transact(KEY, seen.append) is None
        assert isinstance(seen[-1], Tombstone)

    # --- preconditions on the history alone

    async def test_a_commit_can_name_the_last_message(self, storage: SessionStorage) -> None:
        """`if_last_message` refuses a commit if the history ends otherwise, and doesn't care for the head."""
        await storage.commit(creation("s", *users("a", "b")))
        state = await snapshot_of(storage)
        await storage.commit(change(state, head=msgspec.structs.replace(state.head, title="renamed")))
        await storage.commit(appending("s", user("c"), if_last_message="b"))
        for expected in ("b", FRONT):
            with pytest.raises(PreconditionFailedError) as refused:
                await storage.commit(appending("s", user("d"), if_last_message=expected))
            assert (refused.value.expected, refused.value.actual) == (expected, "c")
        await storage.commit(change(await snapshot_of(storage), removals=("c",)))
        await storage.commit(appending("s", user("d"), if_last_message="b"))
        assert await ids_in(storage) == ["a", "b", "d"]

    async def test_a_commit_can_name_an_empty_history(self, storage: SessionStorage) -> None:
        """`FRONT` is what an empty history ends with, also that of a session which isn't there yet."""
        await storage.commit(appending("s", user("a"), initial_head=head_of(), if_last_message=FRONT))
        await storage.commit(creation("empty"))
        await storage.commit(appending("empty", user("a"), if_last_message=FRONT))
        for commit in (
            appending("empty", user("b"), if_last_message=FRONT),
            appending("new", user("a"), initial_head=head_of("new"), if_last_message="a"),
        ):
            with pytest.raises(PreconditionFailedError):
                await storage.commit(commit)
        assert await storage.read(key_of("new")) is None

    async def test_tokens_can_be_counted_alone(self, storage: SessionStorage) -> None:
        """A blind commit of usage, or of usage and records, needs no message."""
        await storage.commit(creation())
        usage = (TokenUsageRecord(id="u", at=START, input_tokens=1),)
        assert (await storage.commit(appending("s", usage=usage))).revision == 2
        committed = await storage.commit(appending("s", usage=usage, records=(RecordWrite("k", "a", b"v"),)))
        assert (committed.revision, committed.message_count) == (3, 0)
