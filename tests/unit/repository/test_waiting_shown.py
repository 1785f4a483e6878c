"""What lists, look-ups and deletions make of work that waits for storage to come back (G7, G9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import pytest

from bamboo_sessions import (
    MemoryStorage,
    Message,
    Session,
    SessionDeletedError,
    SessionRepository,
    StorageUnavailableError,
)
from bamboo_sessions.testing import FaultyStorage, ManualClock

pytestmark = pytest.mark.anyio


class Outage:
    """A repository, what it stores in, and tolerant saves that fail."""

    def __init__(self, sessions: SessionRepository, storage: FaultyStorage, clock: ManualClock) -> None:
        self.sessions, self.storage, self.clock = sessions, storage, clock

    async def keep(self, *copies: Session) -> None:
        """Save copies, in this order, while storage can't be written."""
        with self.storage.fail("commit", StorageUnavailableError, times=None):
            for copy in copies:
                assert not await self.sessions.save_best_effort(copy)

    async def ids(self, **filters: str) -> list[str]:
        """The sessions that a listing shows, in pages of two, which are in order and miss nothing."""
        found: list[str] = []
        cursor = None
        while True:
            page = await self.sessions.list_sessions(limit=2, cursor=cursor, **filters)  # type: ignore[arg-type]
            found += [head.id for head in page.sessions]
            if (cursor := page.next_cursor) is None:
                assert found == [head.id async for head in self.sessions.iter_sessions(**filters)]  # type: ignore[arg-type]
                return found


@pytest.fixture
async def outage() -> AsyncIterator[Outage]:
    """A repository with the sessions a to e, a the oldest."""
    storage, clock = FaultyStorage(MemoryStorage()), ManualClock()
    async with SessionRepository.open(storage, clock=clock) as sessions:
        for id_ in "abcde":
            clock.move(timedelta(seconds=1))
            await sessions.create(Session(id_, owner="ann", clock=clock))
        yield Outage(sessions, storage, clock)
        storage.heal()


async def test_a_session_whose_creation_waits_is_listed(outage: Outage) -> None:
    """G7: it stands where it belongs by order and filters, and is counted, before it is durable and afterwards."""
    new = []
    for n in range(3):
        outage.clock.move(timedelta(seconds=1))
        new.append(Session(f"new-{n}", owner="ben", clock=outage.clock))
    await outage.keep(*new)
    for _ in range(2):
        assert await outage.ids() == ["new-2", "new-1", "new-0", *"edcba"]
        assert await outage.ids(order="created_at") == [*"abcde", "new-0", "new-1", "new-2"]
        assert await outage.ids(owner="ben") == ["new-2", "new-1", "new-0"]
        assert (await outage.sessions.list_sessions(limit=1, total=True)).total == 8
        assert (await outage.sessions.list_sessions(limit=1, total=True, owner="ben")).total == 3
        assert await outage.sessions.flush() == ()


async def test_waiting_changes_count_in_orders_and_filters(outage: Outage) -> None:
    """G7: a listing puts a session where `load` shows it, not where it is stored."""
    running, other = await outage.sessions.get("a"), await outage.sessions.get("c")
    outage.clock.move(timedelta(seconds=1))
    running.run_state = {"status": "running"}
    outage.clock.move(timedelta(seconds=1))
    other.add_message(Message.user("one"))
    await outage.keep(running, other)
    for _ in range(2):
        assert await outage.ids() == ["c", "a", "e", "d", "b"]
        assert await outage.ids(run_status="running") == ["a"]
        assert (await outage.sessions.list_sessions(total=True)).total == 5
        assert (await outage.sessions.list_sessions(total=True, run_status="running")).total == 1
        heads = [head async for head in outage.sessions.iter_sessions()]
        assert heads[0].message_count == 1
        assert all(one.updated_at > two.updated_at for one, two in pairwise(heads))
        assert await outage.sessions.flush() == ()


async def test_a_session_that_was_deleted_elsewhere_is_not_listed_for_its_waiting_work(outage: Outage) -> None:
    """G9: what waits of a session that is gone brings no row back."""
    copy = await outage.sessions.get("b")
    copy.add_message(Message.user("late"))
    await outage.keep(copy)
    await outage.storage.delete_session("b")
    assert await outage.ids() == list("edca")


async def test_find_message_knows_waiting_work(outage: Outage) -> None:
    """G7: a waiting message is found, as edited as `load` shows it; one whose removal waits isn't."""
    sessions = outage.sessions
    await sessions.append("a", Message.user("kept", id="kept"), Message.user("gone", id="gone"))
    copy = await sessions.get("a")
    copy.messages[0] = Message.user("edited", id="kept")
    del copy.messages[1]
    new = Session("new", clock=outage.clock)
    new.add_message(Message.user("fresh", id="fresh"))
    await outage.keep(copy, new)
    for _ in range(2):
        texts = {}
        for id_ in ("kept", "gone", "fresh", "none"):
            found = await sessions.find_message(id_)
            texts[id_] = found and (found[0], found[1].text)
        assert texts == {"kept": ("a", "edited"), "gone": None, "fresh": ("new", "fresh"), "none": None}
        assert await sessions.in_namespace("other").find_message("fresh") is None
        assert await sessions.flush() == ()


async def test_a_tree_that_was_accepted_from_below_is_durable_with_one_flush(outage: Outage) -> None:
    """A child that was accepted before its parent is saved behind it, however deep the tree is."""
    tree = [Session("root", clock=outage.clock)]
    for id_ in ("child", "leaf"):
        tree.append(Session(id_, parent_session_id=tree[-1].id, clock=outage.clock))
    await outage.keep(*reversed(tree))
    assert await outage.sessions.flush() == ()
    assert (await outage.sessions.get("leaf")).root_session_id == "root"


async def test_G9_what_was_called_off_by_a_deletion_is_not_created_by_a_later_save(outage: Outage) -> None:
    """Copies with the work in it are refused like those of any deleted session; only `create` makes the id again."""
    new = Session("new", clock=outage.clock)
    new.add_message(Message.user("one"))
    await outage.keep(new)
    loaded = await outage.sessions.get("new")
    assert await outage.sessions.delete("new")
    for copy in (new, loaded):
        with pytest.raises(SessionDeletedError):
            await outage.sessions.save(copy)
        with pytest.raises(SessionDeletedError):
            await outage.sessions.save_best_effort(copy)
    assert await outage.sessions.load("new") is None
    await outage.sessions.create(new)
    assert [message.text for message in (await outage.sessions.get("new")).messages] == ["one"]


async def test_an_old_version_of_a_message_whose_removal_was_waiting_is_no_conflict(outage: Outage) -> None:
    """G4: storage knows the version from before an edit, also when a removal that waited is durable by now."""
    sessions = outage.sessions
    first = Message.user("first", id="m")
    await sessions.append("a", first)
    edited = await sessions.get("a")
    edited.messages[0] = Message.user("second", id="m")
    await sessions.save(edited)
    other = await sessions.get("a")
    del other.messages[0]
    await outage.keep(other)
    other.add_message(Message.user("more", id="more"))
    await outage.keep(other)
    outage.storage.fail("commit", nth=2)
    assert len(await sessions.flush()) == 1
    twin = Session("a", clock=outage.clock)
    twin.add_message(first)
    await outage.keep(twin)
    assert await sessions.flush() == ()
    assert [message.id for message in (await sessions.get("a")).messages] == ["more"]
