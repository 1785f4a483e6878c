"""The log that the change feed is read from: order, contents, pruning, epochs (G11)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from bamboo_sessions.domain.change import SessionChange, parse_position
from bamboo_sessions.domain.limits import FEED_PAGE_IDS_MAX
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import HistorySource, RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
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


async def logged(storage: SessionStorage, after: int | None = None, namespace: str = "default") -> list[SessionChange]:
    """The changes behind `after`, in one page."""
    return list((await storage.read_changes(namespace, after, ALL)).changes)


async def ids_added(storage: SessionStorage) -> list[tuple[str, ...]]:
    """The messages that each commit is said to have added."""
    return [each.message_ids for each in await logged(storage)]


def numbers_of(changes: Iterable[SessionChange]) -> list[int]:
    """The numbers in the positions of changes."""
    return [parse_position(change.position).number for change in changes]


class FeedConformance(Conformance):
    """Every commit is in the log, once, in order, until it is pruned."""

    async def test_an_empty_store_has_an_empty_feed(self, storage: SessionStorage) -> None:
        """Before the first commit there is an epoch, and nothing behind 0."""
        bounds = await storage.feed_bounds()
        assert bounds.newest.epoch
        assert bounds.oldest == bounds.newest
        assert bounds.newest[1:] == (0, "")
        page = await storage.read_changes("default", None, ALL)
        assert (page.bounds, page.after, page.through, page.changes) == (bounds, *bounds, ())

    async def test_each_commit_is_logged_once_in_order(self, storage: SessionStorage) -> None:
        """Commits of several sessions get rising numbers, with revision, kinds, messages and time."""
        await storage.commit(creation("s", user("a")))
        await storage.commit(creation("t", at=START + SECOND))
        await storage.commit(appending("s", *users("b", "c"), at=START + 2 * SECOND))
        await storage.delete_tree(key_of("t"), DeleteQuery(at=START + 3 * SECOND))
        changes = await logged(storage)
        assert numbers_of(changes) == [1, 2, 3, 4]
        assert changes == [
            SessionChange(changes[0].position, "s", 1, ("created", "messages"), ("a",), START),
            SessionChange(changes[1].position, "t", 1, ("created",), (), START + SECOND),
            SessionChange(changes[2].position, "s", 2, ("messages",), ("b", "c"), START + 2 * SECOND),
            SessionChange(changes[3].position, "t", 2, ("deleted",), (), START + 3 * SECOND),
        ]

    async def test_positions_name_their_commits(self, storage: SessionStorage) -> None:
        """The position of a change is what the page behind it begins with; no other commit has its mark."""
        await storage.commit(creation())
        for text in "abc":
            await storage.commit(appending("s", user(text)))
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        changes = await logged(storage)
        for number, told in enumerate(changes, 1):
            page = await storage.read_changes("default", number, 1)
            assert str(page.after) == told.position
            assert page.through == (parse_position(changes[number].position) if number < len(changes) else page.after)
        assert len({parse_position(told.position).mark for told in changes}) == len(changes)
        assert str((await storage.feed_bounds()).newest) == changes[-1].position

    async def test_what_is_no_commit_is_not_logged(self, storage: SessionStorage) -> None:
        """A duplicate, a replay, a refused commit and a record written by itself leave nothing in the feed."""
        first = creation("s", user("a"))
        await storage.commit(first)
        await storage.commit(first)
        await storage.commit(appending("s", user("a")))
        await storage.transact(KEY, lambda _: None)
        assert await storage.delete_tree(key_of("unknown"), DeleteQuery(at=START)) == ()
        assert numbers_of(await logged(storage)) == [1]

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

    async def test_reading_on_from_each_number(self, storage: SessionStorage) -> None:
        """From whatever number one reads on, in pages of whatever size, every later commit comes once, in order."""
        await storage.commit(creation())
        for text in "abcdef":
            await storage.commit(appending("s", user(text)))
        for start in range(8):  # 7 commits
            for limit in (1, 2, 3, ALL):
                numbers: list[int] = []
                page = await storage.read_changes("default", start, limit)
                while page.through != page.bounds.newest:
                    numbers += numbers_of(page.changes)
                    page = await storage.read_changes("default", page.through.number, limit)
                numbers += numbers_of(page.changes)
                assert numbers == list(range(start + 1, 8))

    async def test_a_page_is_bounded_in_message_ids(self, storage: SessionStorage) -> None:
        """A commit with very many messages is a page of its own, and none is left out."""
        many = FEED_PAGE_IDS_MAX + 1
        for session_id in ("s", "t"):
            await storage.commit(creation(session_id, *users(*(f"{session_id}{n}" for n in range(many)))))
            await storage.commit(appending(session_id, user("last")))
        start, lengths = 0, []
        while True:
            page = await storage.read_changes("default", start, ALL)
            lengths.append([len(each.message_ids) for each in page.changes])
            assert sum(lengths[-1]) <= many
            start = page.through.number
            if page.through == page.bounds.newest:
                break
        assert [length for page_lengths in lengths for length in page_lengths] == [many, 1, many, 1]

    async def test_a_feed_shows_one_namespace(self, storage: SessionStorage, other_namespace: str) -> None:
        """Commits of another namespace aren't told, and a page ends behind them."""
        other = key_of("s", other_namespace)
        await storage.commit(creation("s"))
        await storage.commit(creation("s", head=head_of(namespace=other_namespace), key=other))
        await storage.commit(appending("s", user("a")))
        await storage.commit(appending("s", user("a"), key=other))
        assert numbers_of(await logged(storage)) == [1, 3]
        assert numbers_of(await logged(storage, namespace=other_namespace)) == [2, 4]
        page = await storage.read_changes("nobody", None, ALL)
        assert (page.changes, page.through.number) == ((), 4)
        page = await storage.read_changes(other_namespace, 0, 1)
        assert (page.changes, page.through.number) == ((), 1)

    async def test_pruning_takes_the_oldest(self, storage: SessionStorage) -> None:
        """Commits before a time go, so many at once, and the floor says so; later ones stay, also behind old ones."""
        await storage.commit(creation())
        for number, text in enumerate("abcd", 1):
            await storage.commit(appending("s", user(text), at=START + number * SECOND))
        await storage.commit(appending("s", user("late"), at=START))
        assert await storage.prune_changes(START, ALL) == 0
        assert await storage.prune_changes(START + 3 * SECOND, 2) == 2
        assert await storage.prune_changes(START + 3 * SECOND, 2) == 1
        assert await storage.prune_changes(START + 3 * SECOND, 2) == 0
        page = await storage.read_changes("default", None, ALL)
        assert [page.bounds.oldest.number, page.bounds.newest.number, page.after.number] == [3, 6, 3]
        assert numbers_of(page.changes) == [4, 5, 6]
        assert (await snapshot_of(storage)).head.message_count == 5

    async def test_L109_numbers_go_on_after_everything_was_pruned(self, storage: SessionStorage) -> None:
        """Pruned empty, the feed ends where it ended, and the next commit gets the next number."""
        await storage.commit(creation("s", user("a")))
        await storage.commit(appending("s", user("b")))
        assert await storage.prune_changes(START + SECOND, ALL) == 2
        bounds = await storage.feed_bounds()
        assert (bounds.oldest.number, bounds.newest.number) == (2, 2)
        assert await logged(storage) == []
        await storage.commit(appending("s", user("c")))
        assert numbers_of(await logged(storage)) == [3]

    async def test_a_new_epoch(self, storage: SessionStorage) -> None:
        """A new epoch has another name; commits and numbers stay."""
        await storage.commit(creation())
        before = await storage.feed_bounds()
        after = await storage.start_epoch()
        assert after.newest.epoch == after.oldest.epoch != before.newest.epoch
        assert [each[1:] for each in after] == [each[1:] for each in before]
        assert await storage.feed_bounds() == after

    async def test_another_storage_sees_the_same_feed(self, storage: SessionStorage, second: SessionStorage) -> None:
        """Epoch, changes and pruning are those of the data, not of the object."""
        await storage.commit(creation("s", user("a")))
        await second.commit(appending("s", user("b")))
        assert await logged(storage) == await logged(second)
        await second.prune_changes(START + timedelta(days=1), 1)
        assert await storage.feed_bounds() == await second.feed_bounds()
        assert (await storage.read_changes("default", 0, ALL)).bounds.oldest.number == 1
