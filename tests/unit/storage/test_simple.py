"""A storage out of three calls: what it takes over, what it waits for, and what it does when the calls fail."""

from __future__ import annotations

import asyncio

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import (
    InputError,
    Message,
    PreconditionFailedError,
    RecordScope,
    RecordWrite,
    Session,
    SessionDeletedError,
    SessionRepository,
    SimpleStorage,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    creation,
    head_of,
    ids_in,
    key_of,
    recording,
    snapshot_of,
    user,
    users,
)

pytestmark = pytest.mark.anyio

DELETE = DeleteQuery(at=START)


class Wrapped:
    """Copies in a dictionary, with calls that can hang or fail."""

    def __init__(self) -> None:
        self.kept: dict[str, Session] = {}
        self.error: Exception | None = None
        self.hangs: set[str] = set()
        self.reached = asyncio.Event()
        self.released = asyncio.Event()
        self.loads = 0

    async def _call(self, call: str, session_id: str) -> None:
        if f"{call} {session_id}" in self.hangs:
            self.reached.set()
            await self.released.wait()
        if self.error is not None:
            raise self.error

    async def save_session(self, session: Session) -> None:
        """Keep a copy."""
        await self._call("save", session.id)
        self.kept[session.id] = session.copy()

    async def load_session(self, session_id: str) -> Session | None:
        """A copy of what was kept."""
        self.loads += 1
        await self._call("load", session_id)
        kept = self.kept.get(session_id)
        return kept.copy() if kept else None

    async def delete_session(self, session_id: str) -> None:
        """Forget it."""
        await self._call("delete", session_id)
        self.kept.pop(session_id, None)


@pytest.fixture
def wrapped() -> Wrapped:
    """Somebody else's three calls."""
    return Wrapped()


@pytest.fixture
def storage(wrapped: Wrapped) -> SimpleStorage:
    """The storage around them."""
    return SimpleStorage(wrapped)


async def test_what_was_kept_is_taken_over(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """A session that the wrapped object has is read with its counters and messages, once."""
    session = Session("s", "m", title="T")
    for message in users("a", "b"):
        session.add_message(message)
    wrapped.kept["s"] = session
    state = await snapshot_of(storage)
    assert (state.head.title, state.revision, len(state.messages)) == ("T", 1, 2)
    await storage.commit(appending("s", *users("b", "c")))
    assert await ids_in(storage) == ["a", "b", "c"]
    assert wrapped.loads == 1
    assert [message.id for message in wrapped.kept["s"].messages] == ["a", "b", "c"]


async def test_a_restart_goes_on(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """What was committed is there for the next storage around the same object, revision included."""
    await storage.commit(creation("s", user("a"), head=head_of(title="T", metadata_version=2)))
    await storage.commit(appending("s", user("b")))
    before = await snapshot_of(storage)
    again = await snapshot_of(SimpleStorage(wrapped))
    assert again.head == before.head
    assert list(again.messages) == list(before.messages)


async def test_a_refused_commit_reaches_nobody(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """What is refused, or changes nothing, isn't handed to the wrapped object."""
    await storage.commit(creation("s", user("a")))
    wrapped.error = AssertionError("must not be called")
    with pytest.raises(SessionDeletedError):
        await storage.commit(appending("s", user("b"), incarnation=7))
    assert not (await storage.commit(appending("s", user("a")))).changed


@pytest.mark.parametrize("call", ["save", "delete"])
async def test_G8_foreign_errors_become_ours(wrapped: Wrapped, storage: SimpleStorage, call: str) -> None:
    """An error of the wrapped object is a `StorageUnavailableError` with its cause; readers see no change."""
    await storage.commit(creation("s", user("a")))
    before = await snapshot_of(storage)
    wrapped.error = OSError("disk on fire")
    writing = storage.commit(appending("s", user("b"))) if call == "save" else storage.delete_tree(KEY, DELETE)
    with pytest.raises(StorageUnavailableError, match="disk on fire") as raised:
        await writing
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.outcome_unknown
    wrapped.error = None
    assert await snapshot_of(storage) == before


async def test_G8_a_failed_load_is_not_absence(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """An error while taking a session over is raised, our own kinds as they are, and the next read tries again."""
    wrapped.kept["s"] = Session("s", "m")
    errors: list[tuple[Exception, type[StorageError]]] = [
        (OSError("no"), StorageUnavailableError),
        (StorageCorruptError("torn"), StorageCorruptError),
    ]
    for error, expected in errors:
        wrapped.error = error
        with pytest.raises(expected):
            await storage.read(KEY)
        with pytest.raises(expected):
            await storage.commit(creation())
    wrapped.error = None
    assert (await snapshot_of(storage)).head.model == "m"


async def test_one_namespace(storage: SimpleStorage) -> None:
    """Another namespace than the one it keeps is refused clearly."""
    with pytest.raises(InputError, match="keeps the namespace 'default'"):
        await storage.read(SessionKey("other", "s"))


async def test_the_same_session_takes_turns(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """While one commit is being kept, others of the session wait, and those of other sessions don't."""
    await storage.commit(creation())
    await storage.commit(creation("t"))
    wrapped.hangs.add("save s")
    first = asyncio.create_task(storage.commit(appending("s", user("a"))))
    await wrapped.reached.wait()
    second = asyncio.create_task(storage.commit(appending("s", user("b"))))
    await storage.commit(appending("t", user("c")))
    assert await ids_in(storage) == []
    assert not second.done()
    wrapped.released.set()
    assert [(await first).revision, (await second).revision] == [2, 3]
    assert await ids_in(storage) == ["a", "b"]


async def _children(storage: SimpleStorage) -> None:
    await storage.commit(creation("root"))
    head = head_of("child", parent_session_id="root", root_session_id="root")
    await storage.commit(creation("child", head=head))


@pytest.mark.parametrize("what", ["birth", "append", "records"])
async def test_L110_nothing_slips_into_a_tree_that_goes(wrapped: Wrapped, storage: SimpleStorage, what: str) -> None:
    """A child that is born, or written to, while its tree is deleted goes with it or is refused, everywhere."""
    await _children(storage)
    if what == "birth":
        head = head_of("new", parent_session_id="child", root_session_id="root")
        writing = creation("new", head=head)
    else:
        writing = appending("child", user("a"))
    wrapped.hangs.add(f"save {writing.key.session_id}")
    committing = asyncio.create_task(storage.commit(writing))
    await wrapped.reached.wait()
    deleting = asyncio.create_task(storage.delete_tree(key_of("root"), DELETE))
    for _ in range(5):
        await checkpoint()
    wrapped.released.set()
    outcomes = await asyncio.gather(committing, deleting, return_exceptions=True)
    assert isinstance(outcomes[1], tuple)
    for session_id in ("root", "child", "new"):
        assert not isinstance(await storage.read(key_of(session_id)), Snapshot)
    assert wrapped.kept == {}


async def test_L110_a_child_of_a_tree_that_goes_is_refused(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """A birth that comes while the wrapped object is forgetting the tree waits, and is refused."""
    await _children(storage)
    wrapped.hangs.add("delete root")
    deleting = asyncio.create_task(storage.delete_tree(key_of("root"), DELETE))
    await wrapped.reached.wait()
    head = head_of("new", parent_session_id="root", root_session_id="root")
    birth = asyncio.create_task(storage.commit(creation("new", head=head)))
    for _ in range(5):
        await checkpoint()
    assert not birth.done()
    wrapped.released.set()
    assert sorted(await deleting) == ["child", "root"]
    with pytest.raises(SessionDeletedError):
        await birth
    assert wrapped.kept == {}


async def test_G9_a_deletion_that_failed_can_be_repeated(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """If the wrapped object fails while it forgets a tree, the tree still lives here, and deleting again ends it."""
    await _children(storage)
    wrapped.error = OSError("no")
    with pytest.raises(StorageUnavailableError):
        await storage.delete_tree(key_of("root"), DELETE)
    assert isinstance(await storage.read(key_of("root")), Snapshot)
    wrapped.error = None
    assert len(await storage.delete_tree(key_of("root"), DELETE)) == 2
    assert wrapped.kept == {}
    assert isinstance(await storage.read(key_of("child")), Tombstone)


async def test_conditions_hold_for_the_wrapped_object_too(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """A tree that a condition spares is forgotten nowhere."""
    await _children(storage)
    await storage.commit(appending("child", user("a")))
    assert await storage.delete_tree(key_of("root"), DeleteQuery(at=START, only_empty=True)) == ()
    assert sorted(wrapped.kept) == ["child", "root"]


async def test_plans_that_create_children(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """A plan whose commit needs a living parent runs again once that is held fast."""
    await _children(storage)
    runs: list[object] = []
    head = head_of("new", parent_session_id="child", root_session_id="root")
    commit = creation("new", head=head)

    def plan(state: object) -> object:
        runs.append(state)
        return commit

    committed = await storage.transact(key_of("new"), plan)  # type: ignore[arg-type]
    assert committed is not None
    assert (committed.revision, runs) == (1, [None, None])


async def test_no_lock_is_left(storage: SimpleStorage) -> None:
    """G13: the locks shrink to those in use."""
    for number in range(100):
        await storage.commit(creation(str(number)))
    assert len(storage._locks) == 0


async def test_the_repository_on_three_calls(wrapped: Wrapped) -> None:
    """A repository works on them, and what it saved is there for the next one."""
    async with SessionRepository.open(SimpleStorage(wrapped)) as sessions:
        await sessions.append("s", Message.user("a"), create=True)
        await sessions.rename("s", "T")
    async with SessionRepository.open(SimpleStorage(wrapped)) as sessions:
        session = await sessions.get("s")
        assert (session.title, session.metadata_version, len(session.messages)) == ("T", 1, 1)


async def test_L120_the_place_of_a_child_that_was_kept_follows_from_its_ancestors(
    wrapped: Wrapped, storage: SimpleStorage
) -> None:
    """A child is taken over together with its ancestors, whatever root and depth were kept with it."""
    wrapped.kept = {
        "root": Session("root", pinned=True),
        "child": Session("child", parent_session_id="root"),
        "leaf": Session("leaf", parent_session_id="child"),
    }
    head = (await snapshot_of(storage, "leaf")).head
    assert (head.root_session_id, head.spawn_depth) == ("root", 2)
    assert await storage.delete_tree(key_of("leaf"), DeleteQuery(at=START, keep_pinned=True)) == ()
    await storage.commit(creation("new", head=head_of("new", parent_session_id="leaf")))
    head = (await snapshot_of(storage, "new")).head
    assert (head.root_session_id, head.spawn_depth) == ("root", 3)


async def test_L120_a_circle_that_was_kept_stops_nobody(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """Sessions that an older program kept below one another are taken over, and can be deleted."""
    wrapped.kept = {
        "a": Session("a", parent_session_id="b"),
        "b": Session("b", parent_session_id="a"),
        "own": Session("own", parent_session_id="own"),
    }
    assert set(await storage.delete_tree(key_of("a"), DELETE)) == {"a", "b"}
    assert await storage.delete_tree(key_of("own"), DELETE) == ("own",)
    assert wrapped.kept == {}


async def test_L121_a_commit_and_a_write_of_shared_records_take_turns(wrapped: Wrapped, storage: SimpleStorage) -> None:
    """What a commit was checked against stays so while the wrapped object keeps the session."""
    shared = RecordScope("shared", "app")
    write = RecordWrite("k", "a", b"1", if_absent=True, scope=shared)
    wrapped.hangs.add("save s")
    committing = asyncio.ensure_future(storage.commit(creation("s", records=(write,))))
    await wrapped.reached.wait()
    writing = asyncio.ensure_future(storage.write_records(recording(write, scope=shared)))
    await checkpoint()
    wrapped.released.set()
    await committing
    with pytest.raises(PreconditionFailedError):
        await writing
