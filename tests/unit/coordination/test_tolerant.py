"""Tolerant saves: work that waits for storage to come back (L22, L107)."""

from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import (
    Message,
    MessageIdConflictError,
    Session,
    SessionCache,
    SessionDeletedError,
    SessionRepository,
    StorageCorruptError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from bamboo_sessions.coordination.leasing import Leasing
from bamboo_sessions.domain.working_copy import is_clean
from bamboo_sessions.repository.bound import Bound, Tiers
from bamboo_sessions.repository.tolerant import TolerantSaves
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import appending, creation, user
from tests.unit.coordination.kit import KEY, Pauses, Rig

pytestmark = pytest.mark.anyio


class Waiting(Rig):
    """A repository whose background retries wait for the test."""

    def __init__(self, *, waiting_bytes_max: int = 1_000_000) -> None:
        super().__init__()
        self.cache = SessionCache()
        self.store = type(self.store)(self.storage, self.cache, clock=self.clock, waiting_bytes_max=waiting_bytes_max)
        self.pauses = Pauses()
        self.tolerant = TolerantSaves(self.store, backoff=self.pauses.backoff())
        self.sessions = SessionRepository(self.cache, self.storage, self.store)
        tiers = Tiers(self.cache, self.storage, self.store, self.tolerant, Leasing(self.store))
        self.sessions._bound = Bound(tiers, "default")

    async def waiting(self, *ids: str) -> Session:
        """A session whose messages `ids` couldn't be saved."""
        session = await self.saved(user("a"))
        for id_ in ids:
            session.add_message(user(id_))
        self.storage.fail("commit")
        assert not await self.sessions.save_best_effort(session)
        return session


@pytest.fixture
def rig() -> Waiting:
    """A repository whose retries the test steers."""
    return Waiting()


def _ids(session: Session | None) -> list[str]:
    return [message.id for message in session.messages] if session else []


async def test_L107_waiting_work_is_loaded_with_the_committed_base(rig: Waiting) -> None:
    """A load shows the waiting work as unsaved on top of what is committed, so that the next save writes it."""
    await rig.waiting("b")
    loaded = await rig.sessions.get("s")
    assert (_ids(loaded), loaded.revision, is_clean(loaded)) == (["a", "b"], 1, True)
    loaded.add_message(user("c"))
    await rig.sessions.save(loaded)
    assert await rig.ids() == ["a", "b", "c"]
    assert await rig.sessions.aclose() == ()


async def test_it_is_retried_until_it_is_durable(rig: Waiting) -> None:
    """In the background it is tried again, with growing pauses, and is no longer dirty once it is in."""
    await rig.waiting("b")
    rig.storage.fail("commit", times=2)
    for _ in range(3):
        await rig.pauses.begun.acquire()
        assert rig.tolerant.stats()["dirty_sessions"] == 1
        rig.pauses.go_on()
    assert rig.tolerant._retries is not None
    await rig.tolerant._retries
    assert await rig.ids() == ["a", "b"]
    assert (rig.pauses.seconds, rig.tolerant.stats()["dirty_sessions"]) == ([0.5, 1, 2], 0)
    assert is_clean(await rig.sessions.get("s"))
    assert await rig.sessions.aclose() == ()


async def test_G10_a_tolerant_save_that_was_given_up_is_retried(rig: Waiting) -> None:
    """The caller is cancelled before the commit fails: the work waits all the same, and is tried in the background."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    rig.storage.fail("commit")
    stall = rig.storage.stall("commit")
    impatient = asyncio.create_task(rig.sessions.save_best_effort(session))
    await stall.reached.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    stall.release()
    await rig.pauses.begun.acquire()
    rig.pauses.go_on()
    assert rig.tolerant._retries is not None
    await rig.tolerant._retries
    assert await rig.ids() == ["a", "b"]


async def test_retries_begin_again_after_they_ended(rig: Waiting) -> None:
    """A second failure long after the first one was mended is retried as well."""
    for id_ in ("b", "c"):
        session = await rig.sessions.get("s") if id_ == "c" else await rig.waiting("b")
        if id_ == "c":
            session.add_message(user("c"))
            rig.storage.fail("commit")
            assert not await rig.sessions.save_best_effort(session)
        await rig.pauses.begun.acquire()
        rig.pauses.go_on()
        assert rig.tolerant._retries is not None
        await rig.tolerant._retries
    assert await rig.ids() == ["a", "b", "c"]


@pytest.mark.parametrize("reason", ["deleted", "conflict"])
async def test_L22_work_that_is_refused_is_told_once(rig: Waiting, reason: str) -> None:
    """Work that can never become durable leaves the cache and is told by `flush`, with the reason."""
    await rig.waiting("b")
    if reason == "deleted":
        await rig.others.delete(KEY, DeleteQuery(at=START))
    else:
        await rig.others.append(appending("s", user("other", id="b")))
    (refused,) = await rig.sessions.flush()
    expected = SessionDeletedError if reason == "deleted" else MessageIdConflictError
    assert (refused.session_id, refused.code) == ("s", expected.code)
    assert await rig.sessions.flush() == ()
    assert rig.tolerant.stats() == {"dirty_sessions": 0, "refused_saves": 0}
    assert _ids(await rig.sessions.load("s")) == ([] if reason == "deleted" else ["a", "b"])


async def test_L22_a_flush_beside_a_retry_tells_a_refusal_once(rig: Waiting) -> None:
    """Work that the background and a flush find refused at the same time is told once."""
    await rig.waiting("b")
    await rig.others.delete(KEY, DeleteQuery(at=START))
    await rig.pauses.begun.acquire()
    stall = rig.storage.stall("commit")
    rig.pauses.go_on()
    await stall.reached.wait()
    flushing = asyncio.create_task(rig.sessions.flush())
    await checkpoint()
    stall.release()
    told = [*await flushing, *await rig.sessions.flush()]
    assert [work.code for work in told] == [SessionDeletedError.code]


async def test_L22_closing_tells_what_is_not_durable(rig: Waiting) -> None:
    """`aclose` tries once more, and gives back what still waits."""
    await rig.waiting("b")
    rig.storage.fail("commit", times=None)
    (unsaved,) = await rig.sessions.aclose()
    assert (unsaved.session_id, unsaved.code) == ("s", StorageUnavailableError.code)
    rig.storage.heal()


async def test_closing_makes_waiting_work_durable(rig: Waiting) -> None:
    """If storage is back by then, closing writes what waited."""
    await rig.waiting("b")
    assert await rig.sessions.aclose() == ()
    assert await rig.ids() == ["a", "b"]


async def test_G13_waiting_work_has_a_bound() -> None:
    """Above the bound on dirty bytes a tolerant save raises the storage's error instead of keeping more."""
    rig = Waiting(waiting_bytes_max=20_000)
    rig.storage.fail("commit", times=None)
    refused: list[str] = []
    for number in range(20):
        session = Session(str(number), clock=rig.clock)
        session.add_message(Message.user("x" * 1_000))
        try:
            assert not await rig.sessions.save_best_effort(session)
        except StorageUnavailableError:
            refused.append(session.id)
    kept = 20 - len(refused)
    assert 0 < kept < 20
    assert refused == [str(number) for number in range(kept, 20)]
    assert rig.store.waiting.bytes <= 20_000
    rig.storage.heal()
    assert await rig.sessions.aclose() == ()
    assert (await rig.storage.inner.stats())["sessions"] == kept


async def test_only_what_may_pass_is_tolerated(rig: Waiting) -> None:
    """An error that trying again can't mend is raised, and leaves nothing dirty."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    rig.storage.fail("commit", StorageCorruptError)
    with pytest.raises(StorageCorruptError):
        await rig.sessions.save_best_effort(session)
    assert not rig.store.waiting.sessions()


async def test_two_copies_that_both_wait(rig: Waiting) -> None:
    """The work of both is kept and written: neither drops the other's."""
    await rig.saved(user("a"))
    one, two = await rig.loaded(), await rig.loaded()
    one.add_message(user("one"))
    two.add_message(user("two"))
    two.model = "two's"
    rig.storage.fail("commit", times=2)
    assert not await rig.sessions.save_best_effort(one)
    assert not await rig.sessions.save_best_effort(two)
    assert sorted(_ids(await rig.sessions.load("s"))) == ["a", "one", "two"]
    assert await rig.sessions.flush() == ()
    assert sorted(await rig.ids()) == ["a", "one", "two"]
    assert (await rig.sessions.get("s")).model == "two's"


async def test_work_on_a_session_that_was_never_saved(rig: Waiting) -> None:
    """A new session can wait, too: it is loaded as new, and created once storage is back."""
    session = Session("s", "m", clock=rig.clock)
    session.add_message(user("a"))
    rig.storage.fail("commit")
    assert not await rig.sessions.save_best_effort(session)
    loaded = await rig.sessions.get("s")
    assert (_ids(loaded), loaded.revision) == (["a"], 0)
    assert await rig.sessions.flush() == ()
    assert (await rig.sessions.get("s")).revision == 1


async def test_waiting_work_and_reads_that_fail(rig: Waiting) -> None:
    """While storage can't even be read, a load shows the waiting work."""
    await rig.waiting("b")
    with rig.storage.fail(None, times=None):
        assert _ids(await rig.sessions.load("s")) == ["a", "b"]


async def test_an_old_copy_that_waits_hides_nothing(rig: Waiting) -> None:
    """G7: while work on an old copy waits, writers see the newest state, not the one that the copy was loaded at."""
    old = await rig.saved(user("a"))
    await rig.sessions.rename("s", "first")
    old.add_message(user("b"))
    rig.storage.fail("commit", StorageTimeoutError, unknown=True)
    for call in ("find_commit", "settle"):
        rig.storage.fail(call, times=None)
    with pytest.raises(StorageTimeoutError):
        await rig.sessions.save(old)
    await rig.sessions.rename("s", "second")
    await rig.sessions.rename("s", "third")
    await rig.sessions.load("s")
    assert not await rig.sessions.save_best_effort(old)
    assert (await rig.sessions.get("s")).title == "third"
    rig.storage.heal()
    head = await rig.sessions.rename("s", "first")
    assert (head.title, head.metadata_version) == ("first", 4)
    assert await rig.sessions.flush() == ()
    assert await rig.ids() == ["a", "b"]
    assert (await rig.sessions.get("s")).title == "first"


async def test_deleting_a_session_with_waiting_work(rig: Waiting) -> None:
    """L22: work that waits when its session is deleted is told as refused, not forgotten."""
    await rig.waiting("b")
    assert await rig.sessions.delete("s")
    assert await rig.sessions.load("s") is None
    (refused,) = await rig.sessions.flush()
    assert refused.code == SessionDeletedError.code


async def test_waiting_work_of_a_former_life(rig: Waiting) -> None:
    """G9: work on a deleted session isn't shown as the new one of its id, and is told as refused."""
    await rig.waiting("b")
    await rig.others.delete(KEY, DeleteQuery(at=START))
    await rig.storage.inner.commit(creation("s", user("new"), reuse_deleted=True))
    loaded = await rig.sessions.get("s")
    assert (_ids(loaded), loaded.revision) == (["new"], 3)
    (refused,) = await rig.sessions.flush()
    assert refused.code == SessionDeletedError.code
    assert _ids(await rig.sessions.load("s")) == ["new"]


async def test_a_tolerant_save_of_nothing(rig: Waiting) -> None:
    """A copy without changes is durable already, whatever storage does."""
    session = await rig.saved(user("a"))
    with rig.storage.fail("commit", times=None):
        assert await rig.sessions.save_best_effort(session)


async def test_many_tolerant_saves_while_storage_is_down(rig: Waiting) -> None:
    """Saving again and again while storage is down keeps all of it, once."""
    session = await rig.waiting("0")
    with rig.storage.fail("commit", times=None):
        for number in range(1, 10):
            session.add_message(user(str(number)))
            assert not await rig.sessions.save_best_effort(session)
        assert _ids(await rig.sessions.load("s")) == ["a", *map(str, range(10))]
    assert await rig.sessions.flush() == ()
    assert await rig.ids() == ["a", *map(str, range(10))]


async def test_cancelled_retries_end(rig: Waiting) -> None:
    """Closing ends the background task."""
    await rig.waiting("b")
    await rig.pauses.begun.acquire()
    await rig.sessions.aclose()
    assert rig.tolerant._retries is not None
    assert rig.tolerant._retries.done()
    assert len(asyncio.all_tasks()) <= 2
