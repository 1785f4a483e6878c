"""The table of calls that are cancelled: every public coroutine of a repository, in every situation that differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from bamboo_sessions import (
    InputError,
    PendingQuestion,
    RecordScope,
    RecordWrite,
    Session,
    SessionExistsError,
    SessionRepository,
    StoreAdmin,
    TokenUsageRecord,
)
from bamboo_sessions.domain.lease import Claim
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import user
from tests.cancellation.world import World


class Call(msgspec.Struct, frozen=True):
    """A call to be cancelled.

    Args:
        name: The name of the public method.
        make: Makes the call.
        given: What is done before.
        situation: Tells the calls of one method apart.
        refused_again: What the second call raises if the first one was committed.
        repeats: Whether calling twice does more than calling once.
        saves: Whether it makes changes of a working copy durable, which must not come back over newer ones.
    """

    name: str
    make: Callable[[World], Coroutine[Any, Any, object]]
    given: Callable[[World], Awaitable[object]] | None = None
    situation: str = ""
    refused_again: type[Exception] | None = None
    repeats: bool = False
    saves: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.situation}".strip()


SYNCHRONOUS: Final = {"in_namespace", "cache", "storage", "persistence", "namespace", "records"}
"""Public names of a repository that nobody awaits."""


async def _block(entered: AbstractAsyncContextManager[Session]) -> None:
    async with entered as session:
        session.model = "mine"
        session.metadata["mine"] = 1


async def _run(world: World) -> None:
    async with world.repo.lease("chat") as run:
        run.session.model = "mine"
        await run.save()


async def _all(iterator: Any) -> list[object]:  # noqa: ANN401 - any async iterator
    return [each async for each in iterator]


async def _leased(world: World) -> None:
    claim = Claim("claim", "somebody", timedelta(seconds=30))
    await world.others._bound.tiers.leasing.take(SessionKey("default", "chat"), claim)


async def _copy(world: World) -> None:
    await world.take_copy()


async def _old_copy(world: World) -> None:
    await world.take_copy()
    await world.others.append("chat", user("theirs"))


async def _lost_answer(world: World) -> None:
    await world.take_copy()
    world.storage.fail("commit", after=True)


async def _busy(world: World) -> None:
    await world.take_copy()
    await world.hold_lock()


async def _down(world: World) -> None:
    await world.take_copy()
    world.storage.fail("commit")


async def _waiting(world: World) -> None:
    await _down(world)
    await world.repo.save_best_effort(world.copy)


async def _waiting_and_busy(world: World) -> None:
    await _waiting(world)
    await world.hold_lock()


async def _cached(world: World) -> None:
    await world.repo.load("chat")


async def _cached_and_old(world: World) -> None:
    await world.repo.load("chat")
    await world.others.append("chat", user("theirs"))


async def _lock(world: World) -> None:
    await world.hold_lock()


async def _by_hand(world: World) -> None:
    world.repo.cache.insert(Session("chat", updated_at=START))


def _set_model(session: Session) -> None:
    session.model = "mine"


def _new() -> Session:
    session = Session("new", created_at=START)
    session.add_message(user("first"))
    return session


async def _make_new(world: World) -> None:
    world.copy = _new()


async def _make_again(world: World) -> None:
    world.copy = Session("gone", created_at=START)


async def _open_again(world: World) -> None:
    await world.repo.aclose()


async def _backup(store: SessionRepository | StoreAdmin) -> bool:
    """Whether a backup was made; a store in memory refuses."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the thread may be removing its half copy, too
        try:
            return (await store.backup(Path(folder) / "copy.db")).ok
        except InputError:
            return False


QUESTION: Final = PendingQuestion("c4", "ask", "when?", id="q3", asked_at=START)
RECORD: Final = TokenUsageRecord(id="usage", at=START, model="m1", provider="p", input_tokens=3)

READS: Final = (
    Call("load", lambda w: w.repo.load("chat")),
    Call("load", lambda w: w.repo.load("chat"), _cached_and_old, "what others changed"),
    Call("load", lambda w: w.repo.load("chat"), _lock, "while it is being written"),
    Call("load", lambda w: w.repo.load("chat", fresh=True), _cached, "fresh"),
    Call("load", lambda w: w.repo.load("chat"), _waiting, "with waiting work"),
    Call("load_best_effort", lambda w: w.repo.load_best_effort("chat")),
    Call("load_merged", lambda w: w.repo.load_merged("chat"), _by_hand),
    Call("load_merged", lambda w: w.repo.load_merged("chat"), _waiting, "with waiting work"),
    Call("load_or_create", lambda w: w.repo.load_or_create("new")),
    Call("load_runtime_session", lambda w: w.repo.load_runtime_session("chat")),
    Call("get", lambda w: w.repo.get("chat")),
    Call("history", lambda w: w.repo.history("chat", limit=2, at_revision=1)),
    Call("model_view", lambda w: w.repo.model_view("chat", limit=2)),
    Call("list_sessions", lambda w: w.repo.list_sessions(total=True)),
    Call("iter_sessions", lambda w: _all(w.repo.iter_sessions(page_size=1))),
    Call("token_usage", lambda w: w.repo.token_usage("chat", include_children=True)),
    Call("changes", lambda w: _all(w.repo.changes(live=False))),
    Call("feed_position", lambda w: w.repo.feed_position()),
    Call("find_message", lambda w: w.repo.find_message("last")),
    Call("lease_of", lambda w: w.repo.lease_of("chat")),
    Call("search", lambda w: w.repo.search("one")),
    Call("stats", lambda w: w.repo.stats()),
    Call("backup", lambda w: _backup(w.repo)),
    Call("StoreAdmin.backup", lambda w: _backup(StoreAdmin(w.repo.storage))),
    Call("StoreAdmin.stats", lambda w: StoreAdmin(w.repo.storage).stats()),
    Call("StoreAdmin.namespaces", lambda w: _all(StoreAdmin(w.repo.storage).namespaces())),
    Call("records.get", lambda w: w.repo.records.get("kind", "key", session="chat")),
    Call("records.get_many", lambda w: w.repo.records.get_many("kind", ["key"], session="chat")),
    Call("records.scan", lambda w: _all(w.repo.records.scan("kind", session="chat"))),
)

SAVES: Final = (
    Call("save", lambda w: w.repo.save(w.copy), _copy, saves=True),
    Call("save", lambda w: w.repo.save(w.copy), _old_copy, "an old copy", saves=True),
    Call("save", lambda w: w.repo.save(w.copy), _lost_answer, "whose answer is lost", saves=True),
    Call("save", lambda w: w.repo.save(w.copy), _busy, "while it is being written", saves=True),
    Call("save", lambda w: w.repo.save(w.copy), _waiting, "of which work waits", saves=True),
    Call(
        "save",
        lambda w: w.repo.save(w.copy, records=[RecordWrite("kind", "key", b"2")]),
        _copy,
        "with records",
        repeats=True,
        saves=True,
    ),
    Call("save_runtime_session", lambda w: w.repo.save_runtime_session(w.copy), _copy, saves=True),
    Call("checkpoint", lambda w: w.repo.checkpoint(w.copy), _old_copy, saves=True),
    Call("checkpoint_runtime_session", lambda w: w.repo.checkpoint_runtime_session(w.copy), _copy, saves=True),
    Call("save_best_effort", lambda w: w.repo.save_best_effort(w.copy), _copy, saves=True),
    Call("save_best_effort", lambda w: w.repo.save_best_effort(w.copy), _down, "while storage is down", saves=True),
    Call("flush", lambda w: w.repo.flush(), _waiting, saves=True),
    Call("flush", lambda w: w.repo.flush(), _waiting_and_busy, "while it is being written", saves=True),
    Call("create", lambda w: w.repo.create(w.copy), _make_new, refused_again=SessionExistsError),
    Call("create", lambda w: w.repo.create(w.copy), _make_again, "a deleted one", refused_again=SessionExistsError),
)

CHANGES: Final = (
    Call("append", lambda w: w.repo.append("chat", user("one"), user("two"))),
    Call("append", lambda w: w.repo.append("new", user("one"), create=True), None, "and create"),
    Call("update", lambda w: w.repo.update("chat", _set_model)),
    Call("update", lambda w: w.repo.update("chat", _set_model), _cached_and_old, "what others changed"),
    Call("update", lambda w: w.repo.update("chat", _set_model), _lock, "while it is being written"),
    Call("edit", lambda w: _block(w.repo.edit("chat"))),
    Call("edit", lambda w: _block(w.repo.edit("chat")), _lock, "while it is being written"),
    Call("lease", _run),
    Call("lease", _run, _lock, "while it is being written"),
    Call("release_lease", lambda w: w.repo.release_lease("chat", token=1), _leased),
    Call("StoreAdmin.prune_changes", lambda w: StoreAdmin(w.repo.storage).prune_changes(older_than=timedelta(days=1))),
    Call("StoreAdmin.purge_versions", lambda w: StoreAdmin(w.repo.storage).purge_versions(older_than=timedelta(0))),
    Call("StoreAdmin.start_epoch", lambda w: StoreAdmin(w.repo.storage).start_epoch()),
    Call("rename", lambda w: w.repo.rename("chat", "New")),
    Call("rename", lambda w: w.repo.rename("chat", "New"), _cached_and_old, "what others changed"),
    Call("rename", lambda w: w.repo.rename("chat", "New"), _lock, "while it is being written"),
    Call("apply_generated_title", lambda w: w.repo.apply_generated_title("chat", "New", force=True)),
    Call("pin", lambda w: w.repo.pin("chat")),
    Call("archive", lambda w: w.repo.archive("chat")),
    Call("set_value", lambda w: w.repo.set_value("chat", "key", 2)),
    Call("remove_value", lambda w: w.repo.remove_value("chat", "set")),
    Call("set_owner", lambda w: w.repo.set_owner("chat", "ann")),
    Call("ask", lambda w: w.repo.ask("chat", QUESTION)),
    Call("answer", lambda w: w.repo.answer("chat", "q1", "yes")),
    Call("answer", lambda w: w.repo.answer("chat", "q1", "yes"), _lock, "while it is being written"),
    Call("truncate", lambda w: w.repo.truncate("chat", after_message_id="call")),
    Call("clear", lambda w: w.repo.clear("chat")),
    Call("remove_last", lambda w: w.repo.remove_last("chat"), repeats=True),
    Call("replace_history", lambda w: w.repo.replace_history("chat", [user("only")])),
    Call("append_token_usage_record", lambda w: w.repo.append_token_usage_record("chat", RECORD)),
    Call("fork", lambda w: w.repo.fork("chat", new_id="fork"), refused_again=SessionExistsError),
    Call(
        "save_as_fork",
        lambda w: w.repo.save_as_fork(w.copy, new_id="fork"),
        _copy,
        refused_again=SessionExistsError,
    ),
    Call("delete", lambda w: w.repo.delete("chat")),
    Call("delete", lambda w: w.repo.delete("chat"), _waiting, "of which work waits"),
    Call("delete", lambda w: w.repo.delete("chat"), _lock, "while it is being written"),
    Call("cleanup", lambda w: w.repo.cleanup("all")),
    Call("check", lambda w: w.repo.check(repair=True)),
    Call("StoreAdmin.check", lambda w: StoreAdmin(w.repo.storage).check(repair=True)),
    Call("records.put", lambda w: w.repo.records.put("kind", "key", b"2", session="chat"), repeats=True),
    Call(
        "records.write",
        lambda w: w.repo.records.write(
            [RecordWrite("kind", "key", b"2"), RecordWrite("kind", "key", b"2", scope=RecordScope("shared", "all"))],
            session="chat",
        ),
        repeats=True,
    ),
    Call("records.delete", lambda w: w.repo.records.delete("kind", "key", shared="all")),
)

LIVES: Final = (
    Call("open", lambda w: w.repo.__aenter__(), _open_again),
    Call("aclose", lambda w: w.repo.aclose()),
    Call("aclose", lambda w: w.repo.aclose(), _waiting, "with waiting work"),
)

CALLS: Final = (*READS, *SAVES, *CHANGES)
