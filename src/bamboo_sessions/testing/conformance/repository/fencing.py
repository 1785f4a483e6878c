"""Fences: no zombie writes through its lease, in whatever way, and none of its work is lost silently (G12)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bamboo_sessions.domain.errors import (
    LeaseLostError,
    SessionDeletedError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.limits import CONFLICTS_BEFORE_TRANSACTION
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.working_copy import link_of
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.repository.run_lease import RunLease
from bamboo_sessions.storage.commit import Commit, Committed, RecordWrite
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.kit import appending, call, user
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage

TTL = timedelta(seconds=30)


async def take_over(others: SessionRepository, clock: ManualClock) -> int:
    """Somebody else runs the session `s` from now on, for its holder didn't renew; the new token."""
    clock.move(TTL)
    async with others.lease("s", holder="the next") as lease:
        return lease.token


class FencingConformance(RepositoryCase):
    """What is fenced, what isn't, and what becomes of refused work."""

    async def test_a_zombie_is_refused(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """G12: once somebody took over, nothing gets in through the old lease: no save, no copy, no append, no edit."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            clean = lease.session.copy()
            removing = lease.session.copy()
            del removing.messages[0]
            lease.session.add_message(user("b"))
            newer = await take_over(others, storage_clock)
            attempts = (
                lease.save(),
                lease.checkpoint(),
                lease.save_best_effort(),
                lease.append(user("c")),
                lease.save(records=[RecordWrite("k", "a", b"")]),
                sessions.save(lease.session),
                sessions.save(lease.session.copy()),
                sessions.checkpoint(lease.session),
                others.save(lease.session),
                sessions.save(removing),
                sessions.save(clean),
                lease.renew(),
            )
            for attempt in attempts:
                with pytest.raises(LeaseLostError) as lost:
                    await attempt
                assert (lost.value.session_id, lost.value.token, lost.value.newer_token) == ("s", 1, newer)
            assert lease.is_lost
            session = await others.get("s")
            assert (ids_of(session), session.revision) == (["a"], 1)
            await others.append("s", user("d"))
            with pytest.raises(LeaseLostError):  # nothing to write, but something to merge
                await sessions.save(clean)

    async def test_a_zombie_is_told_who_runs(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """The refusal names the holder of the newer lease."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            storage_clock.move(TTL)
            async with others.lease("s", holder="the next"):
                with pytest.raises(LeaseLostError, match="the next") as lost:
                    await lease.append(user("b"))
                assert lost.value.holder == "the next"

    async def test_a_zombie_in_a_storm_is_refused(
        self,
        sessions: SessionRepository,
        others: SessionRepository,
        storage_clock: ManualClock,
        faults: FaultyStorage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """G12: a save that is merged inside the write transaction, after many conflicts, is fenced there, too."""
        await saved(sessions, user("a"))
        commit = faults.commit
        attempts: list[Commit] = []

        async def in_the_storm(wanted: Commit) -> Committed:
            attempts.append(wanted)
            await faults.inner.commit(appending("s", user(f"noise {len(attempts)}")))
            try:
                return await commit(wanted)
            finally:
                if len(attempts) == CONFLICTS_BEFORE_TRANSACTION:
                    await take_over(others, storage_clock)

        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            monkeypatch.setattr(faults, "commit", in_the_storm)
            with pytest.raises(LeaseLostError):
                await lease.save()
        assert faults.calls["transact"] == 1
        assert "b" not in ids_of(await others.load("s"))

    async def test_an_expired_lease_may_write_while_nobody_took_over(
        self, sessions: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """Time alone refuses nothing: a run that was only slow goes on, and holds the session again by renewing."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            storage_clock.move(10 * TTL)
            assert await sessions.lease_of("s") is None
            lease.session.add_message(user("b"))
            await lease.save()
            await lease.renew()
            assert await sessions.lease_of("s") is not None
            assert not lease.is_lost

    async def test_people_are_not_fenced(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """What people do under a lease merges into the run, and the run into it."""
        await saved(sessions, user("a"))
        stranger = await others.get("s")
        async with sessions.lease("s") as lease:
            await others.rename("s", "By a person")
            await others.append("s", user("b"))
            stranger.add_message(user("c"))
            await others.save(stranger)
            lease.session.add_message(user("d"))
            report = await lease.save()
            assert report.merged == ("b", "c")
        session = await sessions.get("s")
        assert (ids_of(session), session.title) == (["a", "b", "c", "d"], "By a person")

    async def test_a_zombie_s_work_can_be_kept(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """A fork has what the lost run saw, wrote, edited and asked, and nothing that came after."""
        await saved(sessions, user("a"), user("x"), model="m")
        async with sessions.lease("s") as lease:
            lease.session.messages[0] = user("edited", id="a")
            del lease.session.messages[1]
            lease.session.add_message(call("c", "1"))
            lease.session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q", asked_at=START))
            await take_over(others, storage_clock)
            await others.append("s", user("newer"))
            with pytest.raises(LeaseLostError):
                await lease.save()
            fork = await lease.save_as_fork(new_id="kept")
            assert (fork.id, fork.model, link_of(fork).fence, fork.revision) == ("kept", "m", None, 1)
            assert [message.text for message in fork.messages] == ["edited", ""]
            assert [question.id for question in fork.questions] == ["q"]
            assert fork.forked_from is not None
            assert (fork.forked_from.session_id, fork.forked_from.revision) == ("s", 1)
        assert ids_of(await others.load("s")) == ["a", "x", "newer"]
        fork.add_message(user("on"))
        await sessions.save(fork)

    async def test_a_refused_retry_is_told(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """G12: work of a tolerant save that meets a newer lease when storage is back is told by `flush`."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await lease.save_best_effort()
            await take_over(others, storage_clock)
            (work,) = await sessions.flush()
            assert (work.code, work.session_id, ids_of(work.session)) == ("lease_lost", "s", ["a", "b"])
        assert ids_of(await others.load("s")) == ["a"]
        assert ids_of(await sessions.save_as_fork(work.session)) == ["a", "b"]

    async def test_waiting_work_becomes_durable_before_the_lease_ends(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """At the end of the block what waits is tried before the lease is given back; so it is before the next one."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await lease.save_best_effort()
        assert ids_of(await others.load("s")) == ["a", "b"]
        assert await sessions.flush() == ()

    async def test_waiting_work_becomes_durable_before_the_next_lease(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """Work that waited beyond the end of its block isn't refused because this very process runs on."""
        await saved(sessions, user("a"))
        with faults.fail("commit", StorageUnavailableError, times=None):
            async with sessions.lease("s") as lease:
                lease.session.add_message(user("b"))
                assert not await lease.save_best_effort()
        async with sessions.lease("s") as lease:
            assert ids_of(lease.session) == ["a", "b"]
        assert await sessions.flush() == ()

    async def test_a_run_s_waiting_work_is_refused_by_itself(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """What waits was written through the lease and stays so; whoever loads it meanwhile isn't fenced by that."""
        await saved(sessions, user("a"))
        stranger = await sessions.get("s")
        stranger.add_message(user("x"))
        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await lease.save_best_effort()
                loaded = await sessions.get("s")
                assert (ids_of(loaded), link_of(loaded).fence) == (["a", "b"], None)
                assert not await sessions.save_best_effort(stranger)
                loaded.model = "mine"
            await take_over(others, storage_clock)
            await sessions.save(loaded)
            assert ids_of(loaded) == ["a", "x"]
            (work,) = await sessions.flush()
            assert (work.code, ids_of(work.session)) == ("lease_lost", ["a", "b"])
        stored = await others.get("s")
        assert (ids_of(stored), stored.model) == (["a", "x"], "mine")

    async def test_work_of_two_leases_is_never_mixed(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """Waiting work of an older lease isn't united with a newer one's: that would carry it past the fence."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as old:
            old.session.add_message(user("old"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await old.save_best_effort()
                storage_clock.move(TTL)
                async with sessions.lease("s") as new:
                    assert ids_of(new.session) == ["a"]
                    new.session.add_message(user("new"))
                    assert not await new.save_best_effort()
                    with pytest.raises(LeaseLostError):
                        await old.save_best_effort()
                    faults.heal()
                    (work,) = await sessions.flush()
                    assert (work.code, ids_of(work.session)) == ("lease_lost", ["a", "old"])
        assert ids_of(await others.load("s")) == ["a", "new"]

    async def test_a_next_life_is_closed_to_a_lease_of_the_former(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """A lease of a deleted session writes nothing into the session that was made anew (G9)."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            await others.delete("s", force=True)
            await others.create(Session("s"))
            lease.session.add_message(user("b"))
            for attempt in (lease.save(), lease.append(user("c"))):
                with pytest.raises(SessionDeletedError):
                    await attempt
            with pytest.raises(LeaseLostError) as lost:
                await lease.renew()
            assert lost.value.newer_token is None
        async with others.lease("s") as next_lease:
            assert next_lease.token == 2

    async def test_L97_an_answer_is_consumed_under_the_lease_of_the_run_that_took_it_up(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """A run that lost its lease consumes nothing; the run that took over finds the answer still there."""
        await saved(sessions, call("c", "1"))
        async with sessions.lease("s") as lease:
            lease.session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q", asked_at=START))
            await lease.save()
        await others.answer("s", "q", "yes")
        async with sessions.lease("s") as zombie:
            assert zombie.session.consume_question("q").answer == "yes"
            storage_clock.move(TTL)
            async with others.lease("s") as lease:
                with pytest.raises(LeaseLostError):
                    await zombie.save()
                assert lease.session.questions[0].state == "answered"
                lease.session.consume_question("q")
                await lease.save()
        assert (await sessions.get("s")).questions[0].state == "consumed"

    async def test_questions_of_a_run_that_died(self, sessions: SessionRepository, storage_clock: ManualClock) -> None:
        """An open question of a run that never got to suspend is found, and withdrawn by a repair; others are not."""
        await saved(sessions, call("c", "1"))
        async with sessions.lease("s") as lease:
            await _ask(lease, "q1", "suspended")
        assert await _orphans(sessions) == []  # it ended in order, and waits for a person
        async with sessions.lease("s") as lease:
            await _ask(lease, "q2", "running")
            assert await _orphans(sessions) == []  # it runs
            storage_clock.move(TTL)
            assert await _orphans(sessions) == ["Question 'q2' was asked by a run that died (lease 2)."]
            report = await sessions.check(repair=True)
            assert [p.repaired for p in report.problems if p.kind == "orphan_question"] == [True]
        states = {question.id: question.state for question in (await sessions.get("s")).questions}
        assert states == {"q1": "open", "q2": "withdrawn"}

    async def test_a_repair_leaves_a_run_alone_that_begins_meanwhile(
        self,
        sessions: SessionRepository,
        others: SessionRepository,
        storage_clock: ManualClock,
        faults: FaultyStorage,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whoever takes over between the look and the repair may take the question up: it stays open."""
        await saved(sessions, call("c", "1"))
        async with sessions.lease("s") as lease:
            await _ask(lease, "q", "running")
        commit = faults.commit

        async def too_late(wanted: Commit) -> Committed:
            await take_over(others, storage_clock)
            return await commit(wanted)

        monkeypatch.setattr(faults, "commit", too_late)
        report = await sessions.check(repair=True)
        assert [p.repaired for p in report.problems if p.kind == "orphan_question"] == [False]
        assert (await others.get("s")).has_question


async def _ask(lease: RunLease, question_id: str, run_state: str) -> None:
    question = PendingQuestion("1", "ask", "Go?", id=question_id, asked_at=START)
    lease.session.set_pending_question(question)
    lease.session.run_state = run_state
    await lease.save()


async def _orphans(sessions: SessionRepository) -> list[str]:
    report = await sessions.check()
    return [problem.detail for problem in report.problems if problem.kind == "orphan_question"]
