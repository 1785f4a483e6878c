"""The log that the change feed is read from: order, contents, pruning, epochs (G11)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import anyio
import pytest

from bamboo_sessions.domain.change import SessionChange
from bamboo_sessions.domain.errors import InputError, PositionExpiredError
from bamboo_sessions.domain.limits import COMMIT_ID_HOURS_MIN, FEED_PAGE_IDS_MAX
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import HistorySource, RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, FeedPage
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    SECOND,
    appending,
    call,
    change,
    creation,
    edited,
    head_of,
    insertion,
    key_of,
    result,
    snapshot_of,
    user,
    users,
)

ALL = 1_000
DAY = timedelta(hours=COMMIT_ID_HOURS_MIN)
POSITION_CHARS_MAX = 256


async def logged(storage: SessionStorage, after: str | None = None, namespace: str = "default") -> list[SessionChange]:
    """The visible changes behind `after`, and those that were acknowledged and become visible later."""
    changes: list[SessionChange] = []
    while True:
        page = await storage.read_changes(namespace, after, ALL)
        changes += page.changes
        after = page.through
        if page.is_end and page.look_again_in is None:
            return changes
        if page.is_end:
            await anyio.sleep(page.look_again_in or 0)


async def ids_added(storage: SessionStorage) -> list[tuple[str, ...]]:
    """The messages that each commit is said to have added."""
    return [each.message_ids for each in await logged(storage)]


def revisions_of(changes: Iterable[SessionChange]) -> list[int]:
    """The revisions of changes."""
    return [each.revision for each in changes]


class FeedConformance(Conformance):
    """Every commit is in the log, once, in order, until it is pruned."""

    async def test_an_empty_store_has_an_empty_feed(self, storage: SessionStorage) -> None:
        """Before the first commit there is a position, and nothing behind it."""
        start = await storage.feed_position()
        storage.check_position(start)
        page = await storage.read_changes("default", None, ALL)
        assert page == FeedPage((), start, is_end=True)
        assert await storage.read_changes("default", start, ALL) == page

    async def test_positions_are_texts_that_sort_as_the_commits_do(self, storage: SessionStorage) -> None:
        """They are short, each behind the one before, also over powers of ten, and nothing else is one."""
        positions = [await storage.feed_position()]
        await storage.commit(creation())
        for number in range(11):
            await storage.commit(appending("s", user(str(number))))
        positions += [each.position for each in await logged(storage)]
        assert positions == sorted(set(positions))
        assert max(map(len, positions)) < POSITION_CHARS_MAX
        for wrong in ("", "x", positions[-1] + "!", positions[-1][:-1] + "?", "\ud800"):
            with pytest.raises(InputError):
                storage.check_position(wrong)

    async def test_each_commit_is_logged_once_in_order(self, storage: SessionStorage) -> None:
        """Commits of one session come in their order, with revision, kinds, messages and time."""
        await storage.commit(creation("s", user("a")))
        await storage.commit(creation("t", at=START + SECOND))
        await storage.commit(appending("s", *users("b", "c"), at=START + 2 * SECOND))
        await storage.delete_tree(key_of("t"), DeleteQuery(at=START + 3 * SECOND))
        changes = sorted(await logged(storage), key=lambda each: each.at)
        assert changes == [
            SessionChange(changes[0].position, "s", 1, ("created", "messages"), ("a",), START),
            SessionChange(changes[1].position, "t", 1, ("created",), (), START + SECOND),
            SessionChange(changes[2].position, "s", 2, ("messages",), ("b", "c"), START + 2 * SECOND),
            SessionChange(changes[3].position, "t", 2, ("deleted",), (), START + 3 * SECOND),
        ]

    async def test_positions_name_their_commits(self, storage: SessionStorage) -> None:
        """Behind the position of a change comes the next one, and a page says how far it went."""
        await storage.commit(creation())
        for text in "abc":
            await storage.commit(appending("s", user(text)))
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        changes = await logged(storage)
        for number, told in enumerate(changes, 1):
            page = await storage.read_changes("default", told.position, 1)
            assert page.changes == tuple(changes[number : number + 1])
            assert page.through == (changes[number].position if number < len(changes) else told.position)
            assert page.is_end is (number >= len(changes) - 1)
        assert await storage.feed_position() == changes[-1].position

    async def test_what_is_no_commit_is_not_logged(self, storage: SessionStorage) -> None:
        """A duplicate, a replay, a refused commit and a record written by itself leave nothing in the feed."""
        first = creation("s", user("a"))
        await storage.commit(first)
        await storage.commit(first)
        await storage.commit(appending("s", user("a")))
        await storage.transact(KEY, lambda _: None)
        assert await storage.delete_tree(key_of("unknown"), DeleteQuery(at=START)) == ()
        assert revisions_of(await logged(storage)) == [1]

    async def test_kinds_say_what_was_changed(self, storage: SessionStorage) -> None:
        """Questions, usage, records, edits, removals and the head are told apart; duplicates don't count."""
        question = PendingQuestion("1", "ask", "Go?", asked_at=START)
        await storage.commit(creation("s", *users("a", "b"), head=head_of(questions=(question,))))
        record = TokenUsageRecord(id="u", at=START, input_tokens=1)
        await storage.commit(appending("s", usage=(record,)))
        await storage.commit(appending("s", user("a"), usage=(record,), records=(RecordWrite("k", "r", b"v"),)))
        await storage.commit(appending("s", edits=insertion([edited(user("a"), "A")]).messages))
        await storage.commit(appending("s", removals=("b",)))
        state = await snapshot_of(storage)
        await storage.commit(change(state, head=head_of(title="T"), head_kinds=("authoritative",)))
        assert [each.kinds for each in await logged(storage)] == [
            ("created", "messages", "questions"),
            ("usage",),
            ("records",),
            ("messages",),
            ("messages",),
            ("authoritative",),
        ]

    async def test_only_added_messages_are_listed(self, storage: SessionStorage) -> None:
        """Edits, removals and duplicates are no additions, whatever else the commit does."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        both = appending("s", *users("c", "d"))
        edits = insertion([edited(user("a"), "A")]).messages
        await storage.commit(appending("s", insertions=both.insertions, edits=edits, removals=("b",)))
        assert await ids_added(storage) == [("a", "b", "c"), ("d",)]

    async def test_added_messages_come_in_the_order_of_the_conversation(self, storage: SessionStorage) -> None:
        """Insertions at several places and results that join their calls are listed as they stand."""
        await storage.commit(creation("s", user("a"), call("b", "1"), user("c")))
        commit = appending("s", user("z"), result("r", "1"))
        inside = (insertion(users("y"), "b"), insertion(users("x"), "a"))
        await storage.commit(appending("s", insertions=(*commit.insertions, *inside)))
        ids = [message.id for message in (await snapshot_of(storage)).messages]
        added = (await ids_added(storage))[1]
        assert list(added) == [id_ for id_ in ids if id_ in "rxyz"]

    async def test_ids_outlive_their_messages_but_not_their_session(self, storage: SessionStorage) -> None:
        """Edited and removed messages stay listed; those of a deleted session aren't, also if the id lives again."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(appending("s", removals=("a",), edits=insertion([edited(user("b"), "B")]).messages))
        assert await ids_added(storage) == [("a", "b"), ()]
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        assert await ids_added(storage) == [(), (), ()]
        await storage.commit(creation("s", *users("c"), reuse_deleted=True))
        assert await ids_added(storage) == [(), (), (), ("c",)]

    async def test_a_fork_lists_no_messages_that_it_begins_with(self, storage: SessionStorage) -> None:
        """What a fork copies isn't repeated in the feed; what is added to it is."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(creation("f", history_from=HistorySource("s", 1, None)))
        await storage.commit(appending("f", user("c")))
        assert [(each.kinds, each.message_ids) for each in (await logged(storage))[1:]] == [
            (("created", "messages"), ()),
            (("messages",), ("c",)),
        ]

    async def test_reading_on_from_each_position(self, storage: SessionStorage) -> None:
        """From whatever position one reads on, in pages of whatever size, every later commit comes once, in order."""
        start = await storage.feed_position()
        await storage.commit(creation())
        for text in "abcdef":
            await storage.commit(appending("s", user(text)))
        changes = await logged(storage)
        for number, after in enumerate([start, *(each.position for each in changes)]):
            for limit in (1, 2, 3, ALL):
                told: list[SessionChange] = []
                page = await storage.read_changes("default", after, limit)
                while not page.is_end:
                    told += page.changes
                    page = await storage.read_changes("default", page.through, limit)
                assert [*told, *page.changes] == changes[number:]

    async def test_a_page_is_bounded_in_message_ids(self, storage: SessionStorage) -> None:
        """A commit with very many messages is a page of its own, and none is left out."""
        many = FEED_PAGE_IDS_MAX + 1
        for session_id in ("s", "t"):
            await storage.commit(creation(session_id, *users(*(f"{session_id}{n}" for n in range(many)))))
            await storage.commit(appending(session_id, user("last")))
        assert len(await logged(storage)) == 4
        after, lengths, is_end = None, [], False
        while not is_end:
            page = await storage.read_changes("default", after, ALL)
            lengths += [len(each.message_ids) for each in page.changes]
            assert sum(len(each.message_ids) for each in page.changes) <= many
            after, is_end = page.through, page.is_end
        assert sorted(lengths) == [1, 1, many, many]

    async def test_a_feed_shows_one_namespace(self, storage: SessionStorage, other_namespace: str) -> None:
        """Commits of another namespace aren't told, and a page ends behind them."""
        other = key_of("s", other_namespace)
        await storage.commit(creation("s"))
        await storage.commit(creation("s", head=head_of(namespace=other_namespace), key=other))
        await storage.commit(appending("s", user("a")))
        await storage.commit(appending("s", user("a"), key=other))
        assert revisions_of(await logged(storage)) == [1, 2]
        assert revisions_of(await logged(storage, namespace=other_namespace)) == [1, 2]
        page = await storage.read_changes("nobody", None, ALL)
        assert page == FeedPage((), await storage.feed_position(), is_end=True)

    async def test_pruning_takes_the_oldest(self, storage: SessionStorage, storage_clock: ManualClock) -> None:
        """Commits that were logged before a time go, so many at once, and positions before them are refused."""
        start = await storage.feed_position()
        await storage.commit(creation())
        for text in "abcd":
            storage_clock.move(SECOND)
            await storage.commit(appending("s", user(text)))
        changes = await logged(storage)
        assert await storage.prune_changes(4 * SECOND) == 0
        assert await storage.prune_changes(SECOND, limit=2) == 2
        assert await storage.prune_changes(SECOND) == 1
        assert await storage.prune_changes(SECOND) == 0
        assert await logged(storage) == changes[3:]
        assert await logged(storage, changes[2].position) == changes[3:]
        for position in (start, changes[1].position):
            with pytest.raises(PositionExpiredError) as refused:
                await storage.read_changes("default", position, ALL)
            assert (refused.value.reason, refused.value.position) == ("pruned", position)
            assert await logged(storage, refused.value.oldest) == changes[3:]
        assert (await snapshot_of(storage)).head.message_count == 4

    async def test_L129_pruning_goes_by_no_time_of_callers(
        self, storage: SessionStorage, storage_clock: ManualClock
    ) -> None:
        """An import of old sessions isn't pruned at once, its commit id neither; one of the future stops nothing."""
        years = timedelta(days=3650)
        old, ahead = creation("old", at=START - years), creation("ahead", at=START + years)
        await storage.commit(old)
        await storage.commit(ahead)
        await storage.save_session(Session("by-hand", clock=ManualClock(START - years)))
        assert await storage.prune_changes(DAY) == 0
        assert len(await logged(storage)) == 3
        assert await storage.settle(old.key, old.commit_id) == 1
        storage_clock.move(2 * DAY)
        assert await storage.prune_changes(DAY) == 3

    async def test_L129_a_clock_that_was_ahead_stops_no_pruning(
        self, storage: SessionStorage, storage_clock: ManualClock
    ) -> None:
        """Commits that the engine logged by a wrong clock go with the next one whose time is right."""
        years = timedelta(days=3650)
        await storage.commit(creation())
        storage_clock.move(years)
        for text in "abc":
            await storage.commit(appending("s", user(text)))
        storage_clock.move(-years)
        assert await storage.prune_changes(DAY) == 0
        await storage.commit(appending("s", user("d")))
        assert await storage.prune_changes(DAY) == 0
        storage_clock.move(2 * DAY)
        assert await storage.prune_changes(DAY, limit=1) == 1
        assert await storage.prune_changes(DAY, limit=2) == 2
        assert await storage.prune_changes(DAY) == 2
        assert await logged(storage) == []

    async def test_L109_places_go_on_after_everything_was_pruned(
        self, storage: SessionStorage, storage_clock: ManualClock
    ) -> None:
        """Pruned empty, the feed ends where it ended, and the next commit gets the next place."""
        await storage.commit(creation("s", user("a")))
        await storage.commit(appending("s", user("b")))
        changes = await logged(storage)
        storage_clock.move(SECOND)
        assert await storage.prune_changes(timedelta(0)) == 2
        assert await storage.feed_position() == changes[-1].position
        assert await logged(storage) == await logged(storage, changes[-1].position) == []
        await storage.commit(appending("s", user("c")))
        (told,) = await logged(storage)
        assert told.position > changes[-1].position
        assert await logged(storage, changes[-1].position) == [told]

    async def test_a_new_epoch(self, storage: SessionStorage) -> None:
        """All positions of before are refused; the commits stay, at new ones."""
        await storage.commit(creation())
        before = [each.position for each in await logged(storage)]
        after = await storage.start_epoch()
        assert after == await storage.feed_position() != before[-1]
        with pytest.raises(PositionExpiredError) as refused:
            await storage.read_changes("default", before[-1], ALL)
        assert refused.value.reason == "other_epoch"
        assert revisions_of(await logged(storage, refused.value.oldest)) == [1]
        assert await logged(storage, after) == []

    async def test_another_storage_sees_the_same_feed(
        self, storage: SessionStorage, second: SessionStorage, storage_clock: ManualClock
    ) -> None:
        """Epoch, changes and pruning are those of the data, not of the object."""
        await storage.commit(creation("s", user("a")))
        await second.commit(appending("s", user("b")))
        assert await logged(storage) == await logged(second)
        storage_clock.move(SECOND)
        await second.prune_changes(timedelta(0), limit=1)
        assert await storage.feed_position() == await second.feed_position()
        assert revisions_of(await logged(storage)) == [2]
