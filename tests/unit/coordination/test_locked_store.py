"""The locked store when storage fails, callers are cancelled, and others are faster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import (
    Message,
    MessageIdConflictError,
    Session,
    SessionDeletedError,
    StorageCorruptError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.plan import UNCHANGED, Planned
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.history import NO_MESSAGES
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.working_copy import is_clean, link_of
from bamboo_sessions.storage.commit import Commit, State
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import appending, change, creation, head_of, user, users
from tests.unit.coordination.kit import KEY, Rig

pytestmark = pytest.mark.anyio


@pytest.fixture
def rig() -> Rig:
    """A store over a storage that can fail."""
    return Rig()


def _titled(head: SessionHead) -> Commit:
    return change(Snapshot(head, NO_MESSAGES), head=head_of(title="T"))


# --- unknown outcomes


async def test_G4_a_lost_answer_is_settled_by_the_commit_id(rig: Rig) -> None:
    """A commit that happened although it raised is found, and the save goes on as if nothing had been."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    rig.storage.fail("commit", StorageTimeoutError, after=True)
    report = await rig.store.merge_save(session)
    assert (report.revision, report.changed, is_clean(session)) == (2, True, True)
    assert [message.id for message in (await rig.loaded()).messages] == await rig.ids() == ["a", "b"]


async def test_G4_a_lost_request_is_raised(rig: Rig) -> None:
    """A commit that may have happened and didn't is an error, and saving again makes it."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    rig.storage.fail("commit", StorageTimeoutError, unknown=True)
    with pytest.raises(StorageTimeoutError):
        await rig.store.merge_save(session)
    assert await rig.ids() == ["a"]
    await rig.store.merge_save(session)
    assert await rig.ids() == ["a", "b"]


async def test_G4_a_lost_answer_to_an_append(rig: Rig) -> None:
    """A blind commit is settled likewise, and readers see it."""
    await rig.saved(user("a"))
    rig.storage.fail("commit", StorageTimeoutError, after=True)
    committed = await rig.store.append(appending("s", user("b")))
    assert committed.revision == 2
    assert [message.id for message in (await rig.loaded()).messages] == ["a", "b"]


async def test_L21_a_commit_that_nobody_can_settle(rig: Rig) -> None:
    """If storage can't tell either, the first error stands, and the next read shows what is really there."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    rig.storage.fail("commit", StorageTimeoutError, after=True)
    rig.storage.fail("find_commit")
    with pytest.raises(StorageTimeoutError):
        await rig.store.merge_save(session)
    assert [message.id for message in (await rig.loaded()).messages] == ["a", "b"]
    assert len(rig.store._locks) == 0


# --- failures


@pytest.mark.parametrize("error", [StorageUnavailableError, StorageCorruptError, MessageIdConflictError])
async def test_L20_a_failed_save_publishes_nothing(rig: Rig, error: type[Exception]) -> None:
    """After a save that failed, whatever the reason, readers see what is committed and the lock is free."""
    session = await rig.saved(user("a"))
    session.add_message(user("mine", id="b"))
    if error is MessageIdConflictError:
        await rig.others.append(appending("s", user("theirs", id="b")))
    else:
        rig.storage.fail("commit", error)  # type: ignore[arg-type]
    with pytest.raises(error):
        await rig.store.merge_save(session)
    shown = [message.text for message in (await rig.loaded()).messages]
    assert shown == (["a", "theirs"] if error is MessageIdConflictError else ["a"])
    assert [message.text for message in session.messages] == ["a", "mine"]
    assert len(rig.store._locks) == 0


async def test_L04_a_merge_that_cannot_read_writes_nothing(rig: Rig) -> None:
    """If what others committed can't be read, nothing is written over it."""
    session = await rig.saved(user("a"))
    await rig.others.append(appending("s", user("b")))
    session.add_message(user("c"))
    with rig.storage.fail("read_newer", StorageCorruptError), pytest.raises(StorageCorruptError):
        await rig.store.merge_save(session)
    assert await rig.ids() == ["a", "b"]
    await rig.store.merge_save(session)
    assert await rig.ids() == ["a", "b", "c"]


# --- cancelled callers


async def _save(rig: Rig, session: Session) -> None:
    await rig.store.merge_save(session)


async def _append(rig: Rig, session: Session) -> None:
    await rig.store.append(appending("s", user("b")))


async def _rename(rig: Rig, session: Session) -> None:
    await rig.store.write_head(KEY, _titled)


async def _delete(rig: Rig, session: Session) -> None:
    await rig.store.delete(KEY, DeleteQuery(at=START))


Write = Callable[[Rig, Session], Awaitable[None]]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("write", "call"), [(_save, "commit"), (_append, "commit"), (_rename, "commit"), (_delete, "delete_tree")]
)
async def test_G10_a_cancelled_caller_leaves_a_whole_commit(rig: Rig, write: Write, call: str, after: bool) -> None:
    """Cancelling a caller only stops its waiting: the write ends whole, the lock is free, the cache agrees."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    stall = rig.storage.stall(call, after=after)
    task = asyncio.ensure_future(write(rig, session))
    await stall.reached.wait()
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    stall.release()
    await rig.store.tasks.finish()
    assert len(rig.store._locks) == 0
    stored = await rig.storage.inner.read(KEY)
    assert stored is not None
    assert stored.revision == 2
    assert await rig.store.load(KEY) == stored
    if write is _save:
        assert (session.revision, is_clean(session)) == (2, True)


@pytest.mark.parametrize("steps", range(6))
async def test_L100_cancelled_at_any_step(rig: Rig, steps: int) -> None:
    """A save that is cancelled at any moment is whole or nothing, and the copy can be saved again."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    session.add_message(user("c"))
    task = asyncio.create_task(rig.store.merge_save(session))
    for _ in range(steps):
        await checkpoint()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    session.add_message(user("d"))
    await rig.store.tasks.finish()
    assert len(rig.store._locks) == 0
    assert await rig.ids() in (["a"], ["a", "b", "c"], ["a", "b", "c", "d"])
    await rig.store.merge_save(session)
    assert await rig.ids() == ["a", "b", "c", "d"]


async def test_L38_cancelled_while_waiting_for_the_lock(rig: Rig) -> None:
    """A save that is cancelled before its turn does nothing, and later ones get theirs."""
    session = await rig.saved(user("a"))
    copy, late = await rig.loaded(), await rig.loaded()
    session.add_message(user("b"))
    copy.add_message(user("c"))
    late.add_message(user("d"))
    stall = rig.storage.stall("commit")
    first = asyncio.create_task(rig.store.merge_save(session))
    await stall.reached.wait()
    second = asyncio.create_task(rig.store.merge_save(copy))
    third = asyncio.create_task(rig.store.merge_save(late))
    await checkpoint()
    second.cancel()
    await checkpoint()
    stall.release()
    await asyncio.gather(first, third)
    assert await rig.ids() == ["a", "b", "d"]
    assert len(rig.store._locks) == 0


async def test_closing_waits_for_what_is_under_way(rig: Rig) -> None:
    """`aclose` returns when every commit that began has ended."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    stall = rig.storage.stall("commit")
    saving = asyncio.create_task(rig.store.merge_save(session))
    await stall.reached.wait()
    closing = asyncio.create_task(rig.store.tasks.finish())
    await checkpoint()
    assert not closing.done()
    stall.release()
    await closing
    assert await rig.ids() == ["a", "b"]
    await saving


# --- others are faster


async def test_conflicts_are_merged_again(rig: Rig) -> None:
    """Whoever loses the race reads what is new, merges again, and gets in."""
    session = await rig.saved(user("a"))
    session.add_message(user("mine"))
    await rig.others.append(appending("s", user("theirs")))
    report = await rig.store.merge_save(session)
    assert report.merged == ("theirs",)
    assert await rig.ids() == ["a", "theirs", "mine"]
    assert (rig.store.writes.conflicts, rig.store.writes.transactions) == (1, 0)


async def test_L108_a_busy_session_starves_nobody(rig: Rig) -> None:
    """After three conflicts the merge runs inside storage's transaction, where nobody can be faster."""
    session = await rig.saved(user("a"))
    session.add_message(user("mine"))
    number = 0

    async def be_faster(_: float) -> None:
        nonlocal number
        number += 1
        await rig.others.append(appending("s", user(f"theirs{number}")))

    rig.store._committer._backoff = Backoff(0.001, 0.02, sleep=be_faster)
    await be_faster(0)
    # The append of the others comes between reading and committing: at each pause, and the cache can't tell.
    with rig.storage.fail("still_newest", times=None):
        stalls = [rig.storage.stall("commit", nth=nth) for nth in (1, 2, 3)]
        saving = asyncio.create_task(rig.store.merge_save(session))
        for stall in stalls:
            await stall.reached.wait()
            await be_faster(0)
            stall.release()
        report = await saving
    assert report.changed
    assert (rig.store.writes.conflicts, rig.store.writes.transactions) == (3, 1)
    ids = await rig.ids()
    assert ids[-1] == "mine"
    assert len(ids) == number + 2
    assert [message.id for message in session.messages] == ids


async def test_L08_a_deletion_that_was_faster(rig: Rig) -> None:
    """A save that finds the session deleted when its turn comes is refused."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    stall = rig.storage.stall("commit")
    saving = asyncio.create_task(rig.store.merge_save(session))
    await stall.reached.wait()
    await rig.others.delete(KEY, DeleteQuery(at=START))
    stall.release()
    with pytest.raises(SessionDeletedError):
        await saving
    assert await rig.store.load(KEY) == await rig.storage.inner.read(KEY)


async def test_a_plan_that_changes_nothing_has_seen_the_newest(rig: Rig) -> None:
    """A plan that finds nothing to do on an old state is asked again on the newest one."""
    session = await rig.saved(user("a"))
    await rig.others.write_head(KEY, _titled)
    seen: list[int] = []

    def plan(state: State) -> Planned:
        assert isinstance(state, Snapshot)
        seen.append(state.revision)
        return UNCHANGED

    revision = await rig.store.write(
        KEY, plan, start=link_of(session).base, then=lambda written: written.after.revision if written.after else 0
    )
    assert (seen, revision) == ([1, 2], 2)


# --- publishing


async def test_L15_publishing_follows_the_order_of_commits(rig: Rig) -> None:
    """An append whose answer comes after a later commit doesn't take the cache back."""
    await rig.saved(user("a"))
    stall = rig.storage.stall("commit", after=True)
    slow = asyncio.create_task(rig.store.append(appending("s", user("b"))))
    await stall.reached.wait()
    session = await rig.loaded()
    session.add_message(user("c"))
    await rig.store.merge_save(session)
    stall.release()
    await slow
    assert [message.id for message in (await rig.loaded()).messages] == await rig.ids() == ["a", "b", "c"]


async def test_L16_a_slow_load_hides_no_newer_write(rig: Rig) -> None:
    """A load that was answered before a write and ends after it doesn't fill the cache with the old state."""
    await rig.saved(user("a"))
    rig.cache.evict(KEY)
    stall = rig.storage.stall("read", after=True)
    loading = asyncio.create_task(rig.store.load(KEY))
    await stall.reached.wait()
    await rig.store.append(appending("s", user("b")))
    stall.release()
    await loading
    assert [message.id for message in (await rig.loaded()).messages] == ["a", "b"]


async def test_L16_many_loads_read_once(rig: Rig) -> None:
    """Loads that miss at once wait for one another, look again, and read storage once."""
    await rig.saved(user("a"))
    rig.cache.evict(KEY)
    rig.storage.calls.clear()
    stall = rig.storage.stall("read")
    loads = [asyncio.create_task(rig.store.load(KEY)) for _ in range(20)]
    await stall.reached.wait()
    await checkpoint()
    stall.release()
    await asyncio.gather(*loads)
    assert (rig.storage.calls["read"], rig.storage.calls["read_newer"]) == (1, 0)


async def test_L16_a_hit_takes_no_lock(rig: Rig) -> None:
    """While a save is under way, a cached load answers at once with what is committed."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    stall = rig.storage.stall("commit")
    saving = asyncio.create_task(rig.store.merge_save(session))
    await stall.reached.wait()
    assert [message.id for message in (await rig.loaded()).messages] == ["a"]
    stall.release()
    await saving


async def test_L19_a_head_is_never_published_as_a_session(rig: Rig) -> None:
    """A change that read no messages leaves the cached transcript whole, or makes no entry at all."""
    await rig.saved(user("a"))
    for evicted in (False, True):
        if evicted:
            rig.cache.evict(KEY)
        await rig.store.write_head(KEY, _titled)
        assert [message.id for message in (await rig.loaded()).messages] == ["a"]


async def test_L106_commits_of_others_cost_one_look(rig: Rig) -> None:
    """A commit to another session lets a cached one be looked at once, not read."""
    await rig.saved(user("a"))
    await rig.store.load(KEY)
    for number in range(3):
        await rig.others.append(appending("t", user(str(number)), initial_head=head_of("t")))
        rig.storage.calls.clear()
        await rig.store.load(KEY)
        await rig.store.load(KEY)
        assert (rig.storage.calls["still_newest"], rig.storage.calls["read_newer"]) == (2, 0)


async def test_freshness_that_cannot_be_told(rig: Rig) -> None:
    """If storage can't say whether anybody wrote, the session is read, and is current."""
    await rig.saved(user("a"))
    await rig.others.append(appending("s", user("theirs")))
    with rig.storage.fail("still_newest", times=None):
        assert (await rig.loaded()).messages[-1].id == "theirs"


async def test_G13_a_thousand_sessions_leave_no_lock() -> None:
    """A thousand sessions touched once leave nothing but cache entries within the bound."""
    rig = Rig(bytes_max=100_000)
    for number in range(1_000):
        session = await rig.saved(user("a"), id=str(number))
        session.add_message(user("b"))
        await rig.store.merge_save(session)
    assert len(rig.store._locks) == 0
    assert not rig.store.tasks._tasks
    assert rig.cache.bytes <= 100_000
    assert rig.store.stats()["commits"] == 2_000


async def test_creations_after_a_deletion_are_read(rig: Rig) -> None:
    """L103: a re-created session is cached with the counters that storage gave it."""
    await rig.saved(user("a"))
    await rig.store.delete(KEY, DeleteQuery(at=START))
    await rig.store.write(KEY, lambda _: Planned(creation("s", *users("b"), reuse_deleted=True)), then=lambda _: None)
    state = await rig.store.load(KEY)
    assert state == await rig.storage.inner.read(KEY)
    assert isinstance(state, Snapshot)
    assert (state.revision, state.head.incarnation) == (3, 3)


async def test_a_cancelled_write_that_fails_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The failure of a write that nobody waits for any more goes to the log, not to nowhere."""
    session = await rig.saved(user("a"))
    session.add_message(Message.user("b"))
    stall = rig.storage.stall("commit")
    rig.storage.fail("commit", StorageCorruptError)
    task = asyncio.create_task(rig.store.merge_save(session))
    await stall.reached.wait()
    task.cancel()
    with caplog.at_level("INFO"):
        await asyncio.gather(task, return_exceptions=True)
        stall.release()
        await rig.store.tasks.finish()
    assert "a cancelled caller's write failed" in caplog.text
