"""The storage that fails on purpose makes exactly the faults that it lists."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from pathlib import Path

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import (
    BambooSessionsError,
    InputError,
    MemoryStorage,
    SchemaVersionError,
    SessionStorage,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.lease import LeaseState, LeaseWish
from bamboo_sessions.domain.search_query import parse
from bamboo_sessions.storage.commit import RecordScope
from bamboo_sessions.storage.ownership import OwnerChange
from bamboo_sessions.storage.query import DeleteQuery, ListQuery, RecordQuery, WindowQuery
from bamboo_sessions.storage.search_query import SearchQuery
from bamboo_sessions.testing import FaultyStorage
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.histories import History
from bamboo_sessions.testing.conformance.kit import KEY, appending, creation, ids_in, recording, snapshot_of, user
from bamboo_sessions.testing.faults import CALLS, READS, WRITES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage() -> FaultyStorage:
    """A storage with one session."""
    storage = FaultyStorage(MemoryStorage())
    await storage.commit(creation("s", user("a")))
    return storage


async def test_every_call_of_the_port_is_passed_on(storage: FaultyStorage) -> None:
    """Without faults each call reaches the storage behind it and is counted; none of the port is forgotten."""
    inner = await snapshot_of(storage.inner)
    scope = RecordScope("shared", "app")
    storage.calls.clear()
    await storage.open()
    assert storage.still_newest(KEY, 1, None) == storage.inner.still_newest(KEY, 1, None) is not None
    assert await storage.read(KEY) == inner
    assert await storage.read_newer(KEY, inner) is inner
    assert await storage.read_head(KEY) == inner.head
    assert await storage.read_window(KEY, WindowQuery(5)) == await storage.inner.read_window(KEY, WindowQuery(5))
    assert (await storage.list_heads(ListQuery("default"))).heads == (inner.head,)
    assert await storage.find_commit(KEY, "unknown") is None
    assert await storage.settle(KEY, "unknown") is None
    assert await storage.usage_totals("default", None, include_children=False) is not None
    assert await storage.get_record("default", scope, "k", "a") is None
    assert await storage.get_records("default", scope, "k", ["a"]) == ()
    assert await storage.scan_records("default", scope, RecordQuery("k")) == ()
    assert await storage.scan_record_keys("default", scope, RecordQuery("k")) == ()
    assert await storage.find_message("default", "a") == ("s", user("a"))
    assert await storage.feed_position() == await storage.inner.feed_position()
    assert await storage.read_changes("default", None, 9) == await storage.inner.read_changes("default", None, 9)
    assert await storage.start_epoch() != await MemoryStorage().feed_position()
    assert await storage.prune_changes(timedelta(days=1), limit=9) == 0
    assert await storage.purge_versions(START, 9) == 0
    assert not (await storage.search(SearchQuery(namespace="default", text=parse("nowhere")))).hits
    assert (await storage.commit(appending("s", user("b")))).revision == 2
    assert await storage.transact(KEY, lambda _: None) is None
    assert [head.owner for head in await storage.set_owner(KEY, OwnerChange("ann", START, "change"))] == ["ann"]
    assert (await storage.change_lease(KEY, LeaseWish("release", token=1))).state == LeaseState()
    assert await storage.read_lease(KEY) is not None
    assert await storage.write_records(recording(scope=scope)) == ()
    assert (await storage.next_namespace(None), (await storage.check()).ok) == ("default", True)
    assert (await storage.stats())["sessions"] == 1
    with pytest.raises(InputError, match="MemoryStorage makes no backups"):
        await storage.backup(Path("copy.db"))
    assert await storage.delete_tree(KEY, DeleteQuery(at=START)) == ("s",)
    await storage.aclose()
    assert set(storage.calls) == CALLS
    port = {name for name, _ in inspect.getmembers(SessionStorage, inspect.isfunction) if name[0] != "_"}
    assert port - {"save_session", "load_session", "delete_session", "listen", "check_position"} == CALLS


async def test_an_error_before_the_call(storage: FaultyStorage) -> None:
    """The call never happens, and the caller may know so."""
    storage.fail("commit")
    with pytest.raises(StorageUnavailableError) as failed:
        await storage.commit(appending("s", user("b")))
    assert not failed.value.outcome_unknown
    assert await ids_in(storage) == ["a"]


async def test_an_error_after_the_call(storage: FaultyStorage) -> None:
    """The commit is there, and the caller can't know."""
    storage.fail("commit", after=True)
    with pytest.raises(StorageUnavailableError) as failed:
        await storage.commit(appending("s", user("b")))
    assert failed.value.outcome_unknown
    assert await ids_in(storage) == ["a", "b"]


async def test_a_lost_request(storage: FaultyStorage) -> None:
    """Nothing happened, and the caller can't know."""
    storage.fail("commit", StorageTimeoutError, unknown=True)
    with pytest.raises(StorageTimeoutError) as failed:
        await storage.commit(appending("s", user("b")))
    assert failed.value.outcome_unknown
    assert await ids_in(storage) == ["a"]


@pytest.mark.parametrize(
    "error", [StorageUnavailableError, StorageTimeoutError, StorageCorruptError, StorageFullError, SchemaVersionError]
)
async def test_any_class_of_storage_error(storage: FaultyStorage, error: type[StorageError]) -> None:
    """Each class can be named, or the very error handed in; a failing read leaves no outcome unknown."""
    storage.fail("read", error)
    with pytest.raises(error) as failed:
        await storage.read(KEY)
    assert not failed.value.outcome_unknown
    storage.fail("read", failed.value)
    with pytest.raises(error) as again:
        await storage.read(KEY)
    assert again.value is failed.value


async def test_the_nth_call_and_so_many(storage: FaultyStorage) -> None:
    """A fault strikes from the k-th call from now on, so often, and only the call that it names."""
    fault = storage.fail("read", nth=2, times=2)
    outcomes = []
    for _ in range(5):
        await storage.read_head(KEY)
        outcomes.append(await _works(storage))
    assert (outcomes, fault.hits, fault.is_over) == ([True, False, False, True, True], 2, True)


async def _works(storage: FaultyStorage) -> bool:
    try:
        await storage.read(KEY)
    except StorageError:
        return False
    return True


async def test_switched_on_for_a_block(storage: FaultyStorage) -> None:
    """`with` switches a fault off at the end; `None` names every call."""
    with storage.fail(None, times=None) as fault:
        assert not await _works(storage)
        assert not await _works(storage)
        assert storage.still_newest(KEY, 1, None) is None
    assert await _works(storage)
    assert fault.hits == 3


@pytest.mark.parametrize("after", [False, True])
async def test_a_stall(storage: FaultyStorage, after: bool) -> None:
    """A call hangs until it is released, before or after it happened, while others go on."""
    stall = storage.stall("commit", after=after)
    hanging = asyncio.create_task(storage.commit(appending("s", user("b"))))
    await stall.reached.wait()
    assert await ids_in(storage) == (["a", "b"] if after else ["a"])
    await storage.commit(appending("s", user("c")))
    assert not hanging.done()
    stall.release()
    assert (await hanging).revision == (2 if after else 3)


async def test_a_call_can_hang_and_then_fail(storage: FaultyStorage) -> None:
    """A stall and an error on one call come one after the other."""
    stall = storage.stall("commit")
    storage.fail("commit", after=True)
    hanging = asyncio.create_task(storage.commit(appending("s", user("b"))))
    await stall.reached.wait()
    stall.release()
    with pytest.raises(StorageUnavailableError):
        await hanging
    assert await ids_in(storage) == ["a", "b"]


async def test_healing_ends_everything(storage: FaultyStorage) -> None:
    """`heal` stops all faults and lets go what hangs."""
    storage.stall("read")
    storage.fail("read", times=None, nth=2)
    storage.at_random(1, chance=1.0)
    hanging = asyncio.create_task(storage.read(KEY))
    await checkpoint()
    storage.heal()
    await asyncio.gather(hanging, return_exceptions=True)
    assert all([await _works(storage) for _ in range(20)])


async def test_random_faults_come_from_a_seed() -> None:
    """The same seed makes the same faults; acknowledged commits are there, failed ones whole or not at all."""
    histories = []
    for seed in (1, 1, 2):
        storage = FaultyStorage(MemoryStorage())
        await storage.commit(creation())
        storage.at_random(seed, chance=0.4, errors=(StorageUnavailableError, StorageTimeoutError))
        outcomes: list[str] = []
        for number in range(60):
            try:
                await storage.commit(appending("s", user(f"{number}x"), user(f"{number}y")))
                outcomes.append("done")
            except BambooSessionsError as exc:
                outcomes.append(f"{exc.code} {exc.outcome_unknown}")
        storage.heal()
        ids = await ids_in(storage)
        for number, outcome in enumerate(outcomes):
            there = f"{number}x" in ids
            assert there == (f"{number}y" in ids)
            assert there or outcome != "done"
            assert not there or outcome != "storage_unavailable False"
        histories.append(outcomes)
    assert histories[0] == histories[1] != histories[2]
    assert len(set(histories[0])) > 2


async def test_random_faults_leave_other_calls_alone(storage: FaultyStorage) -> None:
    """Only the calls named are struck."""
    storage.at_random(1, chance=1.0, calls=("commit",))
    assert all([await _works(storage) for _ in range(20)])


async def test_histories_run_over_it(storage: FaultyStorage) -> None:
    """Whole sessions, written plainly, go through it as well."""
    await History(storage, seed=1, session_id="t").run(5)
    session = await storage.load_session("t")
    assert session is not None
    with storage.fail("transact"), pytest.raises(StorageUnavailableError):
        await storage.save_session(session)


def test_mistakes_are_told() -> None:
    """A call that doesn't exist, or a synchronous one that should hang, is a mistake."""
    storage = FaultyStorage(MemoryStorage())
    with pytest.raises(ValueError, match="no call of a storage"):
        storage.fail("comit")
    with pytest.raises(ValueError, match="synchronous"):
        storage.stall("still_newest")
    with pytest.raises(ValueError, match="no call of a storage"):
        storage.at_random(1, chance=0.5, calls=("comit",))
    assert not READS & WRITES
