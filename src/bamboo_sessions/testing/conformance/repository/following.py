"""The change feed of a repository (G11): replay, then live; resuming; pruning; epochs; closing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from datetime import timedelta

import pytest

from bamboo_sessions.domain.change import ChangeKind, SessionChange
from bamboo_sessions.domain.errors import InputError, PositionExpiredError, StorageError, SubscriberTooSlowError
from bamboo_sessions.domain.limits import FEED_PAGE_ROWS_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.repository.admin import StoreAdmin
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, saved
from bamboo_sessions.testing.faults import FaultyStorage

DAY = timedelta(days=1)

ChangeKinds = tuple[ChangeKind, ...]


async def told(sessions: SessionRepository, after: str | None = None) -> list[SessionChange]:
    """All changes behind a position."""
    return [change async for change in sessions.changes(after=after, live=False)]


async def next_of(feed: AsyncGenerator[SessionChange, None], count: int) -> list[SessionChange]:
    """The next changes that a subscriber gets, waited for."""
    async with asyncio.timeout(60):
        return [await anext(feed) for _ in range(count)]


class FollowingConformance(RepositoryCase):
    """Subscribers get each commit once, in order, whoever made it, or are told that they can't."""

    async def test_replaying(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """A replay tells each commit with session, revision, kinds, messages and time, and ends."""
        assert await told(sessions) == []
        await saved(sessions, *users("a", "b"))
        clock.move(DAY)
        await sessions.rename("s", "T")
        first, second = await told(sessions)
        assert (first.session_id, first.revision, first.kinds, first.message_ids, first.at) == (
            "s",
            1,
            ("created", "messages"),
            ("a", "b"),
            clock.now() - DAY,
        )
        assert (second.revision, second.kinds, second.message_ids) == (2, ("authoritative",), ())

    async def test_kinds_of_calls(self, sessions: SessionRepository) -> None:
        """Each call is told as what it changed, and a call that changes nothing isn't told."""
        await saved(sessions)
        question = PendingQuestion("1", "ask", "Go?")
        record = TokenUsageRecord(id="u", input_tokens=1)
        calls: list[tuple[Awaitable[object], ChangeKinds]] = [
            (sessions.pin("s"), ("authoritative",)),
            (sessions.pin("s"), ()),
            (sessions.set_value("s", "k", 1), ("authoritative",)),
            (sessions.apply_generated_title("s", "T"), ("authoritative",)),
            (sessions.ask("s", question), ("questions",)),
            (sessions.answer("s", question.id, "yes"), ("messages", "questions")),
            (sessions.append_token_usage_record("s", record), ("usage",)),
            (sessions.append_token_usage_record("s", record), ()),
            (sessions.append("s", user("a")), ("messages",)),
            (sessions.append("s", user("a")), ()),
            (sessions.replace_history("s", users("b")), ("messages",)),
            (sessions.clear("s"), ("messages",)),
            (sessions.fork("s", new_id="f"), ("created", "messages")),
            (sessions.delete("s"), ("deleted",)),
        ]
        for call, kinds in calls:
            position = await sessions.feed_position()
            await call
            assert [change.kinds for change in await told(sessions, position)] == ([kinds] if kinds else [])

    async def test_kinds_of_saves(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A save is told as what of the copy was new to storage, also when it was merged."""
        session = await saved(sessions, user("a"))
        await sessions.set_value("s", "set", 1)
        session = await sessions.get("s")

        async def kinds_of_save() -> tuple[ChangeKind, ...]:
            position = await sessions.feed_position()
            await sessions.save(session)
            (change,) = await told(sessions, position)
            return change.kinds

        session.metadata["plain"] = 1
        assert await kinds_of_save() == ("head",)
        session.metadata["set"] = 2
        assert await kinds_of_save() == ("authoritative",)
        session.title, session.model = "T", "m"
        session.add_message(user("b"))
        assert await kinds_of_save() == ("messages", "authoritative", "head")
        await others.rename("s", "theirs")
        session.title = "mine"
        session.set_pending_question(PendingQuestion("1", "ask", "Go?"))
        assert await kinds_of_save() == ("questions",)

    async def test_going_on_live(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """After the replay a subscriber gets what this repository and another one commit, in commit order."""
        await saved(sessions, user("a"))
        async with aclosing(sessions.changes()) as feed:
            got = await next_of(feed, 1)
            for number in range(6):
                await (sessions, others)[number % 2].append("s", user(f"m{number}"))
                got += await next_of(feed, 1)
        assert [change.revision for change in got] == list(range(1, 8))
        assert got == await told(others)

    async def test_waiting_for_the_first_commit(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A subscriber of an empty store waits, and gets the first commit, of whichever repository."""
        for name, repository in (("a", sessions), ("b", others)):
            position = await sessions.feed_position()
            async with aclosing(sessions.changes(after=position)) as feed:
                waiting = asyncio.ensure_future(next_of(feed, 1))
                await asyncio.sleep(0)
                await repository.append("s", user(name), create=True)
                assert [change.session_id for change in await waiting] == ["s"]

    async def test_L55_what_is_told_can_be_read(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Whoever loads on receiving a change sees at least its revision, here and in another repository."""
        await saved(sessions, user("a"))
        async with aclosing(sessions.changes()) as here, aclosing(others.changes()) as there:
            for number in range(10):
                writer = (sessions, others)[number % 2]
                write = asyncio.ensure_future(writer.append("s", user(f"m{number}")))
                for feed, reader in ((here, sessions), (there, others)):
                    while True:
                        (change,) = await next_of(feed, 1)
                        session = await reader.get("s")
                        assert session.revision >= change.revision
                        assert set(change.message_ids) <= {message.id for message in session.messages}
                        if change.revision == number + 2:
                            break
                await write

    async def test_L56_nothing_falls_between_replay_and_live(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """A commit while the last page of the replay is being read, or just after, is told, and once."""
        await saved(sessions, user("a"))
        for after in (False, True):
            start = await sessions.feed_position()
            stall = faults.stall("read_changes", after=after)
            async with aclosing(sessions.changes(after=start)) as feed:
                waiting = asyncio.ensure_future(next_of(feed, 1))
                await stall.reached.wait()
                await others.append("s", user(f"while {after}"))
                stall.release()
                got = await waiting
                await others.append("s", user(f"then {after}"))
                got += await next_of(feed, 1)
            assert [change.message_ids for change in got] == [(f"while {after}",), (f"then {after}",)]

    async def test_resuming_from_each_position(self, sessions: SessionRepository) -> None:
        """From each position that a subscriber was given, exactly the later changes come."""
        await saved(sessions, user("a"))
        for number in range(5):
            await sessions.append("s", user(f"m{number}"))
        changes = await told(sessions)
        for number, change in enumerate(changes, 1):
            assert await told(sessions, change.position) == changes[number:]
        assert await sessions.feed_position() == changes[-1].position

    async def test_longer_than_a_page(self, sessions: SessionRepository) -> None:
        """A replay goes on over as many pages as there are."""
        await sessions.create(Session("s"))
        count = FEED_PAGE_ROWS_MAX * 2 + 10
        for number in range(1, count):
            await sessions.append("s", Message.user("x", id=f"m{number}"))
        changes = await told(sessions)
        assert [change.revision for change in changes] == list(range(1, count + 1))

    async def test_several_subscribers(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Each gets everything; one that is cancelled or stops early disturbs nobody and leaves nothing waiting."""
        position = await sessions.feed_position()
        waiting = [asyncio.ensure_future(next_of(sessions.changes(after=position), 2)) for _ in range(4)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        await sessions.append("s", user("a"), create=True)
        await others.append("s", user("b"))
        for got in await asyncio.gather(*waiting[1:]):
            assert [change.message_ids for change in got] == [("a",), ("b",)]
        assert not sessions.persistence.signal.is_waiting

    async def test_a_cancelled_iteration_can_be_resumed(self, sessions: SessionRepository) -> None:
        """Cancelling a subscriber that waits loses nothing: from its last position the rest comes."""
        await saved(sessions, user("a"))
        feed = sessions.changes()
        (first,) = await next_of(feed, 1)
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await sessions.append("s", user("b"))
        assert [change.message_ids for change in await told(sessions, first.position)] == [("b",)]

    async def test_closing_ends_subscribers(self, sessions: SessionRepository) -> None:
        """A subscriber that waits while the repository is closed is told so, and so is one that comes later."""
        feed = sessions.changes()
        waiting = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        await sessions.aclose()
        with pytest.raises(StorageError):
            await waiting
        with pytest.raises(StorageError):
            await anext(sessions.changes())

    async def test_one_namespace(self, sessions: SessionRepository, other_namespace: str) -> None:
        """A handle's feed tells of its own namespace only, and positions count for all."""
        other = sessions.in_namespace(other_namespace)
        position = await sessions.feed_position()
        await other.append("theirs", user("a"), create=True)
        await sessions.append("ours", user("b"), create=True)
        async with aclosing(sessions.changes(after=position)) as feed:
            assert [change.session_id for change in await next_of(feed, 1)] == ["ours"]
            waiting = asyncio.ensure_future(anext(feed))
            await other.append("theirs", user("c"))
            await sessions.append("ours", user("d"))
            assert (await waiting).message_ids == ("d",)
        assert [change.session_id for change in await told(other)] == ["theirs", "theirs"]

    async def test_bad_positions(self, sessions: SessionRepository) -> None:
        """What is no position is refused at once, with a hint."""
        good = await sessions.feed_position()
        for wrong in ("", ":", "::", "7", f"{good}!", f"{good} ", good.partition(":")[0], ":1:ab", 7):
            with pytest.raises(InputError) as refused:
                sessions.changes(after=wrong)  # type: ignore[arg-type]
            assert refused.value.hint

    async def test_positions_that_would_leave_a_gap(
        self, sessions: SessionRepository, owner: StoreAdmin, storage_clock: ManualClock
    ) -> None:
        """A position that was pruned, of another epoch, or of a lost commit is refused, with the reason."""
        start = await sessions.feed_position()
        await saved(sessions, user("a"))
        kept = await sessions.feed_position()
        await saved(sessions, user("b"))
        storage_clock.move(2 * DAY)
        await saved(sessions, user("c"))
        assert await owner.prune_changes(older_than=DAY) == 2
        newest = await sessions.feed_position()
        for position in (start, kept):
            with pytest.raises(PositionExpiredError) as refused:
                await told(sessions, position)
            assert (refused.value.position, refused.value.reason) == (position, "pruned")
            assert refused.value.hint
            assert [change.message_ids for change in await told(sessions, refused.value.oldest)] == [("c",)]
        assert [change.message_ids for change in await told(sessions)] == [("c",)]
        new = await owner.start_epoch()
        with pytest.raises(PositionExpiredError) as refused:
            await told(sessions, newest)
        assert (refused.value.position, refused.value.reason) == (newest, "other_epoch")
        assert await told(sessions, new) == []
        assert [change.message_ids for change in await told(sessions)] == [("c",)]

    async def test_pruning_under_a_slow_subscriber(
        self, sessions: SessionRepository, others: SessionRepository, owner: StoreAdmin, storage_clock: ManualClock
    ) -> None:
        """A subscriber gets the page that it has, and then an error in place of a gap; a quick one notices nothing."""
        await sessions.create(Session("s"))
        for number in range(FEED_PAGE_ROWS_MAX + 1):
            await sessions.append("s", Message.user("x", id=f"m{number}"))
        async with aclosing(sessions.changes()) as slow, aclosing(sessions.changes()) as quick:
            await next_of(slow, 1)
            got = await next_of(quick, FEED_PAGE_ROWS_MAX + 2)
            storage_clock.move(2 * DAY)
            assert await owner.prune_changes(older_than=DAY) == FEED_PAGE_ROWS_MAX + 2
            assert await next_of(slow, FEED_PAGE_ROWS_MAX - 1) == got[1:FEED_PAGE_ROWS_MAX]
            with pytest.raises(SubscriberTooSlowError) as lagging:
                await anext(slow)
            assert lagging.value.position == got[FEED_PAGE_ROWS_MAX - 1].position
            await others.append("s", user("new"))
            assert [change.message_ids for change in await next_of(quick, 1)] == [("new",)]

    async def test_pruning_keeps_what_settles_outcomes(
        self, sessions: SessionRepository, owner: StoreAdmin, storage_clock: ManualClock
    ) -> None:
        """G4: nothing younger than 24 hours is pruned, whatever is asked for."""
        await saved(sessions, user("a"))
        for wrong in (timedelta(hours=23), timedelta(0), -DAY, timedelta.max, 86_400):
            with pytest.raises(InputError):
                await owner.prune_changes(older_than=wrong)  # type: ignore[arg-type]
        storage_clock.move(timedelta(hours=24))
        assert await owner.prune_changes(older_than=DAY) == 0
        storage_clock.move(timedelta(seconds=1))
        assert await owner.prune_changes(older_than=DAY) == 1
        assert await owner.prune_changes(older_than=DAY) == 0
