"""Beginnings, forks and ends of sessions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    MessageNotFoundError,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, planted, saved
from bamboo_sessions.testing.faults import FaultyStorage


async def alive(sessions: SessionRepository) -> set[str]:
    """The ids of all living sessions."""
    return {head.id async for head in sessions.iter_sessions()}


class LifecycleConformance(RepositoryCase):
    """Create, fork, delete, clean up, check and close."""

    async def test_creating(self, sessions: SessionRepository) -> None:
        """`create` persists and gives the same copy back, once."""
        session = Session("s", "m")
        session.add_message(user("a"))
        assert await sessions.create(session) is session
        assert session.revision == 1
        with pytest.raises(SessionExistsError):
            await sessions.create(Session("s"))

    async def test_one_of_many_creators_succeeds(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L85: of many creations at once exactly one succeeds."""

        async def created(number: int) -> bool:
            try:
                await (sessions, others)[number % 2].create(Session("s", str(number)))
            except SessionExistsError:
                return False
            return True

        assert sum(await asyncio.gather(*map(created, range(10)))) == 1

    async def test_families(self, sessions: SessionRepository) -> None:
        """A child knows its parent and root, and needs them to live."""
        await planted(sessions)
        leaf = await sessions.get("leaf")
        assert (leaf.parent_session_id, leaf.root_session_id, leaf.spawn_depth) == ("child", "root", 2)
        assert {head.id async for head in sessions.iter_sessions(root="root")} == {"root", "child", "leaf"}
        assert {head.id async for head in sessions.iter_sessions(parent="root")} == {"child"}
        orphan = Session("root").new_child("orphan")
        await sessions.delete("root")
        with pytest.raises(SessionDeletedError):
            await sessions.save(orphan)

    async def test_L120_a_child_made_by_hand_gets_its_place(self, sessions: SessionRepository) -> None:
        """A child that names only its parent shows its real root, depth and owner once it is saved, and ever after."""
        await sessions.create(Session("root", owner="ann"))
        child = Session("child", parent_session_id="root")
        leaf = child.new_child("leaf")
        await sessions.save(child)
        await sessions.create(leaf)
        for session_id, copy, depth in (("child", child, 1), ("leaf", leaf, 2)):
            for seen in (copy, await sessions.get(session_id), await sessions.load(session_id, fresh=True)):
                assert seen is not None
                assert (seen.root_session_id, seen.spawn_depth, seen.owner) == ("root", depth, "ann")
        child.add_message(user("a"))
        await sessions.save(child)
        by_hand = Session("child", parent_session_id="root")
        by_hand.add_message(user("b"))
        await sessions.save(by_hand)
        assert ids_of(await sessions.get("child")) == ["a", "b"]
        assert (by_hand.root_session_id, by_hand.spawn_depth) == ("root", 1)

    async def test_L120_what_is_added_while_a_child_is_created(self, sessions: SessionRepository) -> None:
        """A copy that went on changing while it was created has its place, too."""
        await sessions.create(Session("root"))
        child = Session("child", parent_session_id="root")
        child.add_message(user("a"))
        saving = asyncio.ensure_future(sessions.save(child))
        child.add_message(user("b"))
        await saving
        await sessions.save(child)
        assert (child.root_session_id, child.spawn_depth) == ("root", 1)
        assert ids_of(await sessions.get("child")) == ["a", "b"]

    async def test_L120_a_clean_up_spares_a_pinned_child_made_by_hand(self, sessions: SessionRepository) -> None:
        """`cleanup(keep_pinned=True)` finds the pin, however the child was made."""
        await sessions.create(Session("root"))
        await sessions.create(Session("child", parent_session_id="root"))
        await sessions.pin("child")
        for mode in ("all", "children", "empty"):
            report = await sessions.cleanup(mode)
            assert report.deleted == ()
        assert await alive(sessions) == {"root", "child"}

    async def test_L120_no_session_is_below_itself(self, sessions: SessionRepository) -> None:
        """A session that names itself as its parent, or a root that isn't its parent's, is refused."""
        await planted(sessions)
        for session in (
            Session("new", parent_session_id="new"),
            Session("new", parent_session_id="child", root_session_id="beside"),
            Session("new", parent_session_id="child", spawn_depth=7),
            Session("new", root_session_id="root"),
        ):
            with pytest.raises(InputError):
                await sessions.create(session)
        assert await sessions.load("new") is None

    # --- forks

    async def test_forking(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A fork is an independent root with the history, and knows where it came from."""
        session = await saved(sessions, *users("a", "b", "c"), model="m")
        session.metadata["k"] = 1
        await sessions.save(session)
        await sessions.pin("s")
        await sessions.ask("s", PendingQuestion("1", "ask", "Go?"))
        fork = await sessions.fork("s", new_id="f")
        assert (ids_of(fork), fork.model, fork.metadata) == (["a", "b", "c"], "m", {"k": 1})
        assert (fork.root_session_id, fork.pinned, fork.has_question, fork.revision) == ("f", False, False, 1)
        assert fork.forked_from is not None
        assert (fork.forked_from.session_id, fork.forked_from.revision) == ("s", 4)
        await others.append("f", user("d"))
        assert ids_of(await sessions.load("s")) == ["a", "b", "c"]
        assert ids_of(await sessions.load("f")) == ["a", "b", "c", "d"]

    async def test_forking_the_past(self, sessions: SessionRepository) -> None:
        """A fork may take the messages of an older revision, up to one of them."""
        await saved(sessions, *users("a", "b", "c"))
        await sessions.clear("s")
        assert ids_of(await sessions.fork("s", at_revision=1)) == ["a", "b", "c"]
        assert ids_of(await sessions.fork("s", at_revision=1, at_message_id="b")) == ["a", "b"]
        assert ids_of(await sessions.fork("s")) == []
        with pytest.raises(MessageNotFoundError):
            await sessions.fork("s", at_message_id="b")
        for wrong in (0, 3):
            with pytest.raises(InputError):
                await sessions.fork("s", at_revision=wrong)

    async def test_forks_that_cannot_be(self, sessions: SessionRepository) -> None:
        """The source must live, the new id must be free."""
        await saved(sessions, user("a"))
        await saved(sessions, id="gone")
        await sessions.delete("gone")
        with pytest.raises(SessionNotFoundError):
            await sessions.fork("unknown")
        with pytest.raises(SessionDeletedError):
            await sessions.fork("gone")
        with pytest.raises(SessionExistsError):
            await sessions.fork("s", new_id="s")
        with pytest.raises(SessionDeletedError):
            await sessions.fork("s", new_id="gone")

    # --- ends

    async def test_deleting(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A tree goes as a whole, everywhere, and stays gone."""
        await planted(sessions)
        for id_ in ("root", "child", "leaf"):
            assert await others.load(id_) is not None
        assert await sessions.delete("root") is True
        assert await sessions.delete("root") is False
        assert await sessions.delete("unknown") is False
        for repository in (sessions, others):
            for id_ in ("root", "child", "leaf"):
                assert await repository.load(id_) is None
            assert await alive(repository) == {"beside"}

    async def test_deleting_while_a_run_saves(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L37: a deletion and a run's last saves at once end with the session deleted."""
        for attempt in range(5):
            id_ = f"s{attempt}"
            run = await saved(sessions, user("a"), id=id_)
            run.add_message(user("b"))
            await asyncio.gather(sessions.save(run), others.delete(id_), return_exceptions=True)
            assert await sessions.load(id_) is None
            assert await others.load(id_, fresh=True) is None

    async def test_cleaning_up_children(self, sessions: SessionRepository) -> None:
        """`children` deletes all that has a parent."""
        await planted(sessions)
        report = await sessions.cleanup("children")
        assert sorted(report.deleted) == ["child", "leaf"]
        assert await alive(sessions) == {"root", "beside"}

    async def test_cleaning_up_the_empty(self, sessions: SessionRepository) -> None:
        """`empty` deletes trees without any message, and branches of others."""
        await planted(sessions)
        await sessions.append("child", user("a"))
        report = await sessions.cleanup("empty")
        assert report.deleted == ("leaf",)
        assert report.failed == ()

    async def test_L39_pins_are_kept(self, sessions: SessionRepository) -> None:
        """A pinned grandchild saves its tree, unless pins don't count."""
        await planted(sessions)
        await sessions.pin("leaf")
        assert (await sessions.cleanup("all")).deleted == ("beside",)
        assert sorted((await sessions.cleanup("all", keep_pinned=False)).deleted) == ["child", "leaf", "root"]

    async def test_cleaning_up_the_old(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """`older_than`, as an age or a time, spares every tree in which something was updated since."""
        await planted(sessions)
        clock.move(timedelta(days=2))
        await sessions.append("leaf", user("a"))
        assert (await sessions.cleanup("all", older_than=timedelta(days=1))).deleted == ("beside",)
        assert (await sessions.cleanup("all", older_than=clock.now() - timedelta(days=1))).deleted == ()
        clock.move(timedelta(days=2))
        assert len((await sessions.cleanup("all", older_than=timedelta(days=1))).deleted) == 3
        with pytest.raises(InputError):
            await sessions.cleanup("some")  # type: ignore[arg-type]

    async def test_L40_a_cleanup_that_fails_half_way(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """What was deleted and what could not be are both told."""
        for id_ in "abc":
            await saved(sessions, id=id_)
        faults.fail("delete_tree", StorageUnavailableError, nth=2)
        report = await sessions.cleanup("all")
        assert report.deleted == ("a", "c")
        assert [failure.session_id for failure in report.failed] == ["b"]

    # --- checks, and what waits

    async def test_a_check(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """A store that only this library wrote is found in order."""
        await planted(sessions)
        clock.move(timedelta(days=1))
        report = await sessions.check()
        assert report.ok, report.problems
        assert report.sessions == 4
        assert (await sessions.stats())["sessions"] == 4
        assert sessions.persistence.stats()["locks"] == 0

    async def test_deleting_what_waits_to_be_created(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """L22: a session that loads show and storage never had is gone when it is deleted, and its work is told."""
        session = Session("s")
        session.add_message(user("a"))
        with faults.fail("commit", times=None):
            assert not await sessions.save_best_effort(session)
            with faults.fail("settle"), pytest.raises(StorageUnavailableError):
                await sessions.delete("s")
            assert ids_of(await sessions.load("s")) == ["a"]
            assert await sessions.delete("s")
            assert await sessions.load("s") is None
        assert [work.code for work in await sessions.flush()] == ["session_deleted"]
        assert await sessions.load("s") is None
        assert not await sessions.delete("s")

    async def test_a_child_waits_for_its_waiting_parent(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """L22: storage is back for the child and wasn't for its parent: that is no reason to refuse accepted work."""
        parent = Session("parent")
        child = parent.new_child("child")
        child.add_message(user("a"))
        with faults.fail("commit", times=None):
            assert not await sessions.save_best_effort(parent)
            assert not await sessions.save_best_effort(child)
        faults.fail("commit")
        await sessions.flush()
        assert await sessions.flush() == ()
        assert ids_of(await sessions.load("child", fresh=True)) == ["a"]

    async def test_what_is_closed_writes_nothing(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Once a repository was closed, its calls are refused, in one sentence, whether or not storage goes on."""
        await saved(sessions, user("a"))
        await sessions.records.put("k", "a", b"1", shared="app")
        async with others.lease("s") as lease:
            sessions.persistence.tasks.close()
            for call in (
                sessions.records.put("k", "a", b"2", shared="app"),
                sessions.records.delete("k", "a", shared="app"),
                sessions.release_lease("s", token=lease.token),
                sessions.append("s", user("b")),
            ):
                with pytest.raises(StorageError, match="closed"):
                    await call
            await lease.save()
        for read in (
            sessions.load("s"),
            sessions.history("s"),
            sessions.list_sessions(),
            sessions.search("a"),
            sessions.feed_position(),
            sessions.token_usage("s"),
            sessions.stats(),
            sessions.check(),
            anext(sessions.iter_sessions()),
            anext(sessions.changes()),
            sessions.lease("s").__aenter__(),
            sessions.edit("s").__aenter__(),
        ):
            with pytest.raises(StorageError, match=r"^The repository is closed\."):
                await read
        record = await others.records.get("k", "a", shared="app")
        assert record is not None
        assert record.value == b"1"
