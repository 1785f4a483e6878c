"""The synchronous repository as programs use it: from many threads, interrupted, forked, closed."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import TracebackType

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions import (
    InputError,
    LeaseLostError,
    Message,
    PositionExpiredError,
    Session,
    SessionBusyError,
    SessionRepository,
    StorageError,
    SyncSessionRepository,
    SyncStoreAdmin,
)
from bamboo_sessions.repository.bound import open_edits
from bamboo_sessions.sync import Portal, ThreadPortal
from bamboo_sessions.sync.blocks import Block, same

THREADS = 8


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file of the test's own."""
    return f"sqlite:///{tmp_path}/agents.db"


@pytest.fixture
def sessions(url: str) -> Iterator[SyncSessionRepository]:
    """A repository on it."""
    with SyncSessionRepository.open(url) as sessions:
        yield sessions


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Other threads."""
    with ThreadPoolExecutor(THREADS) as threads:
        yield threads


def at_last(condition: Callable[[], bool]) -> None:
    """Until it holds; each look is a call of the repository, which lets others run."""
    while not condition():
        pass


def waiting(sessions: SyncSessionRepository) -> int:
    """How many wait for a lease on the session `s`."""
    info = sessions.lease_of("s")
    return info.waiting if info is not None else 0


# --- many threads


def test_threads_lose_nothing(sessions: SyncSessionRepository, threads: ThreadPoolExecutor) -> None:
    """G2: eight threads save old copies, append, update and rename at once; all that was acknowledged is there."""

    def work(number: int) -> list[str]:
        session = sessions.load_or_create("s")
        added = [Message.user(f"{number}.{kind}") for kind in "abc"]
        for message in added[:2]:
            session.add_message(message)
            sessions.save(session)
        sessions.append("s", added[2])
        sessions.update("s", lambda session: session.metadata.update({str(number): number}))
        sessions.rename("s", f"title {number}")
        return [message.id for message in added]

    sessions.create(Session("s"))
    ids = [id for added in threads.map(work, range(40)) for id in added]
    session = sessions.get("s")
    assert sorted(message.id for message in session.messages) == sorted(ids)
    assert set(session.metadata) == {str(number) for number in range(40)}


def test_one_run_at_a_time(sessions: SyncSessionRepository, threads: ThreadPoolExecutor) -> None:
    """Threads that wait for a lease run one after another, each on a fresh copy."""
    sessions.create(Session("s"))

    def run(number: int) -> None:
        with sessions.lease("s", on_busy="wait") as lease:
            count = len(lease.session.messages)
            lease.session.add_message(Message.user(str(count)))
            lease.save()

    list(threads.map(run, range(THREADS * 2)))
    assert [message.text for message in sessions.get("s").messages] == [str(n) for n in range(THREADS * 2)]


def test_an_edit_belongs_to_its_thread(sessions: SyncSessionRepository, threads: ThreadPoolExecutor) -> None:
    """Other calls on the session are refused inside the block, from its thread only; afterwards none is."""
    sessions.create(Session("s"))
    with sessions.edit("s") as session:
        session.metadata["a"] = 1
        with pytest.raises(SessionBusyError):
            sessions.append("s", Message.user("inside"))
        threads.submit(sessions.append, "s", Message.user("outside")).result()
    sessions.append("s", Message.user("after"))
    assert [message.text for message in sessions.get("s").messages] == ["outside", "after"]
    assert sessions.get("s").metadata == {"a": 1}
    assert open_edits.get() == ()


def test_an_edit_that_raises_writes_nothing(sessions: SyncSessionRepository) -> None:
    """The block's error comes out, and the session is as it was."""
    sessions.create(Session("s"))
    with pytest.raises(KeyError), sessions.edit("s") as session:
        session.metadata["new"] = session.metadata["unknown"]
    assert sessions.get("s").revision == 1
    assert open_edits.get() == ()


def test_the_loss_of_a_lease_is_an_event(url: str, sessions: SyncSessionRepository) -> None:
    """Threads can wait for it, for so long or for ever; what is written afterwards is refused (G12)."""
    sessions.create(Session("s"))
    with sessions.lease("s", holder="me") as lease:
        assert (lease.holder, lease.is_lost, lease.lost.is_set(), lease.lost.wait(0)) == ("me", False, False, False)
        sessions.release_lease("s", token=lease.token)
        with sessions.lease("s"):
            with pytest.raises(LeaseLostError):
                lease.renew()
            assert lease.lost.wait()
            assert "lost" in repr(lease)
            with pytest.raises(LeaseLostError):
                lease.append(Message.user("late"))


# --- iterators


def test_iterators_can_be_left_early(sessions: SyncSessionRepository) -> None:
    """A listing of many pages gives each session once; leaving one early leaves nothing behind."""
    for number in range(130):
        sessions.create(Session(f"{number:03}"))
    assert sorted(head.id for head in sessions.iter_sessions(page_size=7)) == [f"{n:03}" for n in range(130)]
    for head in sessions.iter_sessions():
        assert head.message_count == 0
        break
    with closing(sessions.changes()) as changes:
        assert next(changes).revision == 1
    assert list(changes) == []


def test_errors_of_iterators_come_in_their_place(sessions: SyncSessionRepository) -> None:
    """A wrong position is refused at once, a wrong filter when the iteration begins."""
    with pytest.raises(InputError):
        sessions.changes(after="nonsense")
    with pytest.raises(InputError):
        next(iter(sessions.iter_sessions(page_size=0)))


def test_the_feed_is_followed(url: str, sessions: SyncSessionRepository, threads: ThreadPoolExecutor) -> None:
    """G11: a thread that follows is woken by what another writes, and gets what was there before in order."""
    sessions.create(Session("s"))
    changes = sessions.changes()
    assert next(changes).kinds == ("created",)
    told = threads.submit(next, changes)
    appended = sessions.append("s", Message.user("news"))
    assert told.result().revision == appended.revision
    with SyncStoreAdmin.open(url) as store:
        store.start_epoch()
    with pytest.raises(PositionExpiredError):
        list(sessions.changes(after=told.result().position, live=False))


# --- what would wait for itself


def test_a_call_inside_a_call_is_refused(sessions: SyncSessionRepository) -> None:
    """A function that `update` runs can't use the repository; the update ends with that, and nothing is written."""
    sessions.create(Session("s"))
    with pytest.raises(InputError, match="would wait for itself"):
        sessions.update("s", lambda _: sessions.load("s"))
    assert sessions.get("s").revision == 1


def test_a_guarded_function_is_refused_on_any_thread() -> None:
    """Wherever storage runs it: inside a transaction that is on storage's own thread."""
    portal = ThreadPortal.started()
    guarded = portal.guarded(lambda: portal.call(checkpoint()))
    with pytest.raises(InputError):
        guarded()
    portal.call(checkpoint())
    portal.close(checkpoint, None)


def test_an_exit_inside_a_call_is_the_caller_s(sessions: SyncSessionRepository) -> None:
    """What a function raises comes out of the call, `SystemExit` included; the loop goes on."""
    sessions.create(Session("s"))

    def leave(session: Session) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        sessions.update("s", leave)
    assert sessions.get("s").revision == 1


def test_inside_a_running_loop(url: str) -> None:
    """A program that has an event loop may use it, too, as notebooks do; the loop stands still meanwhile."""

    async def main() -> int:
        with SyncSessionRepository.open(url) as sessions:
            return sessions.append("s", Message.user("hi"), create=True).revision

    assert asyncio.run(main()) == 1


def test_on_somebody_else_s_loop(url: str) -> None:
    """Threads of a program with a loop share its repository; the loop's own thread is refused, not blocked."""

    async def main() -> int:
        async with SessionRepository.open(url) as repository:
            sessions = SyncSessionRepository(repository, Portal())
            await asyncio.to_thread(sessions.append, "s", Message.user("hi"), create=True)
            with pytest.raises(InputError):
                sessions.get("s")
            return len((await repository.get("s")).messages)

    assert asyncio.run(main()) == 1


# --- interruptions


def interrupting(threads: ThreadPoolExecutor, when: Callable[[], bool]) -> None:
    """Send Ctrl-C to this thread when it holds."""
    main = threading.main_thread().ident
    assert main is not None

    def send() -> None:
        at_last(when)
        signal.pthread_kill(main, signal.SIGINT)

    threads.submit(send)


@pytest.mark.skipif(os.name == "nt", reason="signals of one thread are POSIX")
def test_ctrl_c_ends_a_call(sessions: SyncSessionRepository, threads: ThreadPoolExecutor) -> None:
    """Who waits for a lease and is interrupted waits no more when the interruption comes out, and can go on."""
    sessions.create(Session("s"))
    with sessions.lease("s"):
        interrupting(threads, lambda: waiting(sessions) == 1)
        with pytest.raises(KeyboardInterrupt), sessions.lease("s", on_busy="wait"):
            pass
        assert waiting(sessions) == 0
    with sessions.lease("s") as lease:
        assert lease.save().changed is False


class Stubborn:
    """A block that begins although its beginning is cancelled."""

    def __init__(self) -> None:
        self.is_waiting = threading.Event()
        self.is_open = False

    async def __aenter__(self) -> None:
        self.is_open = True
        self.is_waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False


@pytest.mark.skipif(os.name == "nt", reason="signals of one thread are POSIX")
def test_a_block_that_began_while_interrupted_ends(threads: ThreadPoolExecutor) -> None:
    """A lease that was given at the moment of the interruption is given back."""
    portal, block = ThreadPortal.started(), Stubborn()
    interrupting(threads, block.is_waiting.is_set)
    with pytest.raises(KeyboardInterrupt), Block(portal, block, same):
        pytest.fail("the block was run")
    assert not block.is_open
    portal.close(checkpoint, None)


# --- beginnings and ends


def threads_of_ours() -> list[threading.Thread]:
    """The loops' threads."""
    return [thread for thread in threading.enumerate() if thread.name == "bamboo-sessions"]


def test_what_can_t_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    """A wrong URL and a path that is no database raise from `open`."""
    with pytest.raises(InputError):
        SyncSessionRepository.open("nonsense://")
    with pytest.raises(StorageError):
        SyncSessionRepository.open(f"sqlite:///{tmp_path}")
    assert threads_of_ours() == []


def test_closing(url: str) -> None:
    """It tells what isn't durable, can be repeated, and refuses calls afterwards; blocks of `with` may close again."""
    with SyncSessionRepository.open(url) as sessions:
        view = sessions.in_namespace("other")
        iterator = sessions.iter_sessions()
        assert view.close() == ()
        assert sessions.close() == sessions.aclose() == ()
    for call in (sessions.stats, view.stats, lambda: next(iterator)):
        with pytest.raises(StorageError, match="is closed"):
            call()
    assert threads_of_ours() == []


def test_closing_ends_the_calls_of_others(url: str, threads: ThreadPoolExecutor) -> None:
    """Who waits for a lease, for the feed, or for the loss of a lease is told that the repository was closed."""
    sessions = SyncSessionRepository.open(url)
    sessions.create(Session("s"))

    def wait_for_the_lease() -> None:
        with sessions.lease("s", on_busy="wait"):
            pass

    changes = sessions.changes()
    next(changes)
    with sessions.lease("s") as lease:
        calls: list[Future[object]] = [
            threads.submit(wait_for_the_lease),
            threads.submit(next, changes),
            threads.submit(lease.lost.wait),
        ]
        at_last(lambda: waiting(sessions) == 1)
    calls += [threads.submit(sessions.close) for _ in range(3)]
    for call in calls[1:3]:
        with pytest.raises(StorageError):
            call.result()
    assert [call.result() for call in calls[3:]] == [(), (), ()]
    assert threads_of_ours() == []


def test_views_and_records(sessions: SyncSessionRepository) -> None:
    """Another namespace, and the records, are reached as ever."""
    other = sessions.in_namespace("other")
    other.create(Session("s", namespace="other"))
    assert (other.namespace, sessions.load("s")) == ("other", None)
    for key in "abc":
        sessions.records.put("kind", key, key.encode(), shared="scope")
    assert list(sessions.records.scan("kind", shared="scope", keys_only=True)) == ["a", "b", "c"]
    assert [record.value for record in sessions.records.scan("kind", shared="scope", reverse=True)] == [
        b"c",
        b"b",
        b"a",
    ]


def test_context_variables_are_seen(sessions: SyncSessionRepository) -> None:
    """What a caller has set, such as a trace, is set in what its calls run."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")
    sessions.create(Session("s"))
    assert sessions.update("s", lambda session: session.metadata.update(seen=variable.get())).metadata == {
        "seen": "mine"
    }


# --- programs


def run(program: str, url: str) -> str:
    """What a program prints; it has to end well, and without a warning."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_program_may_forget_to_close(url: str) -> None:
    """What is open at the end of a program is closed then: nothing hangs, nothing is lost, nothing is complained of."""
    program = """
import sys
from bamboo_sessions import Message, SyncSessionRepository
sessions = SyncSessionRepository.open(sys.argv[1])
print(sessions.append("s", Message.user("hi"), create=True).revision)
"""
    assert run(program, url) == "1\n"
    assert [path.name for path in Path(url.removeprefix("sqlite:///")).parent.glob("*-wal")] == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/agents.db"])
def test_a_forked_child_is_told(url: str, tmp_path: Path) -> None:
    """Its calls raise at once, closing does nothing, and it ends; the parent goes on."""
    program = """
import os, sys, warnings
from bamboo_sessions import Message, StorageError, SyncSessionRepository
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
with SyncSessionRepository.open(sys.argv[1]) as sessions:
    sessions.append("s", Message.user("hi"), create=True)
    child = os.fork()
    if child == 0:
        try:
            sessions.load("s")
        except StorageError as error:
            print(error, error.hint, flush=True)
        sys.exit(0)
    print(os.waitpid(child, 0)[1], sessions.append("s", Message.user("again")).revision)
"""
    told, went_on = run(program, url.format(tmp_path)).splitlines()
    assert "forked" in told
    assert "in each process" in told
    assert went_on == "0 2"
