"""Beginnings, forks and ends of sessions; their ledgers and records."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    MessageNotFoundError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionExistsError,
    SessionNotFoundError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage


async def planted(sessions: SessionRepository) -> None:
    """A root, a child of it, and a child of that; and a session beside them."""
    root = await saved(sessions, id="root")
    child = root.new_child("child")
    await sessions.save(child)
    await sessions.save(child.new_child("leaf"))
    await saved(sessions, user("a"), id="beside")


async def alive(sessions: SessionRepository) -> set[str]:
    """The ids of all living sessions."""
    return {head.id async for head in sessions.iter_sessions()}


class LifecycleConformance(RepositoryCase):
    """Create, fork, delete, clean up, count and keep records."""

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

    # --- beside the messages

    async def test_counting_tokens(self, sessions: SessionRepository) -> None:
        """L98: records add up, once each, for a session, its tree, and the namespace."""
        await planted(sessions)
        record = TokenUsageRecord(id="u", input_tokens=3, output_tokens=4)
        for _ in range(2):
            await sessions.append_token_usage_record("child", record)
        await sessions.append_token_usage_record("leaf", TokenUsageRecord(input_tokens=10))
        totals = await sessions.token_usage("child")
        assert (totals.calls, totals.input_tokens, totals.total_tokens) == (1, 3, 7)
        assert (await sessions.token_usage("root", include_children=True)).calls == 2
        assert (await sessions.token_usage()).input_tokens == 13
        with pytest.raises(SessionNotFoundError):
            await sessions.token_usage("unknown")
        with pytest.raises(SessionNotFoundError):
            await sessions.append_token_usage_record("unknown", record)
        with pytest.raises(InputError):
            await sessions.append_token_usage_record("root", TokenUsageRecord(input_tokens=-1))

    async def test_keeping_records(self, sessions: SessionRepository) -> None:
        """Records are put, compared, scanned both ways and deleted, under a session or a shared name."""
        await saved(sessions, user("a"))
        records = sessions.records
        versions = {key: await records.put("k", key, key.encode(), session="s") for key in ("b", "a", "c")}
        assert await records.put("k", "a", b"2", session="s", if_version=versions["a"]) > max(versions.values())
        with pytest.raises(PreconditionFailedError):
            await records.put("k", "a", b"3", session="s", if_absent=True)
        assert [r.key async for r in records.scan("k", session="s")] == ["a", "b", "c"]
        assert [r.value async for r in records.scan("k", session="s", reverse=True, limit=2)] == [b"c", b"b"]
        await records.delete("k", "b", session="s")
        assert await records.get("k", "b", session="s") is None
        await records.put("k", "a", b"shared", shared="user:7")
        record = await records.get("k", "a", shared="user:7")
        assert record is not None
        assert record.value == b"shared"
        with pytest.raises(InputError):
            await records.get("k", "a")
        await sessions.delete("s")
        assert [r async for r in records.scan("k", session="s")] == []
        with pytest.raises(SessionDeletedError):
            await records.put("k", "a", b"", session="s")

    async def test_long_scans(self, sessions: SessionRepository) -> None:
        """A scan goes on over as many pages as there are."""
        for number in range(1_005):
            await sessions.records.put("k", f"{number:05}", b"", shared="app")
        keys = [record.key async for record in sessions.records.scan("k", shared="app")]
        assert keys == [f"{number:05}" for number in range(1_005)]

    async def test_a_check(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """A store that only this library wrote is found in order."""
        await planted(sessions)
        clock.move(timedelta(days=1))
        report = await sessions.check()
        assert report.ok, report.problems
        assert report.sessions == 4
        stats = await sessions.stats()
        assert (stats["sessions"], stats["locks"]) == (4, 0)
