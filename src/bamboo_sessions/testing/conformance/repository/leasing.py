"""Run leases: one agent run at a time, and no zombie writes through its lease (G12)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions.domain.errors import (
    InputError,
    LeaseLostError,
    SessionBusyError,
    SessionDeletedError,
    SessionNotFoundError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.limits import CONFLICTS_BEFORE_TRANSACTION
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.repository.run_lease import RunLease
from bamboo_sessions.storage.commit import Commit, Committed, RecordWrite
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.kit import appending, call, user
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage

TTL = timedelta(seconds=30)


async def waiting(sessions: SessionRepository, how_many: int) -> None:
    """Until so many wait for the session `s`."""
    while True:
        lease = await sessions.lease_of("s")
        if lease is not None and lease.waiting == how_many:
            return
        await checkpoint()


async def take_over(others: SessionRepository, clock: ManualClock) -> int:
    """Somebody else runs the session `s` from now on, for its holder didn't renew; the new token."""
    clock.move(TTL)
    async with others.lease("s", holder="the next") as lease:
        return lease.token


class LeasingConformance(RepositoryCase):
    """Taking, keeping, losing and giving back; what is fenced, and what isn't."""

    async def test_a_run(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A lease gives a fresh copy, which is saved as usual; it is seen by others, and free afterwards."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))
        async with sessions.lease("s", holder="me") as lease:
            assert ids_of(lease.session) == ["a", "b"]
            info = await others.lease_of("s")
            assert info is not None
            assert (info.holder, info.token, info.expires_at, info.waiting) == ("me", lease.token, START + TTL, 0)
            lease.session.add_message(user("c"))
            assert (await lease.save()).revision == 3
            lease.session.add_message(user("d"))
            await lease.checkpoint()
            assert (await lease.append(user("e"))).revision == 5
            assert await lease.save_best_effort()
            assert not lease.is_lost
        assert await others.lease_of("s") is None
        assert ids_of(await others.load("s")) == ["a", "b", "c", "d", "e"]
        assert await others.lease_of("unknown") is None

    async def test_a_lease_commits_nothing(self, sessions: SessionRepository) -> None:
        """Taking, renewing and giving back make no revision."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            assert await lease.renew() == START + TTL
        assert (await sessions.get("s")).revision == 1

    async def test_a_busy_session_rejects(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """The second run is told who holds the session, and until when."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", holder="me"):
            with pytest.raises(SessionBusyError, match="me") as busy:
                async with others.lease("s"):
                    pass
            assert (busy.value.session_id, busy.value.holder, busy.value.until) == ("s", "me", START + TTL)
        async with others.lease("s") as lease:
            assert lease.token == 2

    async def test_a_busy_session_forks(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """The second run goes on in a fork of what is committed, with a lease on that; a free session isn't forked."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", on_busy="fork") as lease:
            assert lease.session.id == "s"
            async with others.lease("s", on_busy="fork") as other:
                assert other.session.forked_from is not None
                assert other.session.forked_from.session_id == "s"
                other.session.add_message(user("b"))
                await other.save()
                assert await sessions.lease_of(other.session.id) is not None
        assert ids_of(await sessions.load("s")) == ["a"]
        assert ids_of(await sessions.load(other.session.id)) == ["a", "b"]

    async def test_waiting_in_order(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Those who wait run one after another, in the order of arrival, whichever repository they came through."""
        await saved(sessions, user("a"))
        order: list[int] = []

        async def run(number: int) -> None:
            async with (sessions, others)[number % 2].lease("s", on_busy="wait") as lease:
                order.append(number)
                lease.session.add_message(user(str(number)))
                await lease.save()

        async with sessions.lease("s"):
            runs = []
            for number in range(5):
                runs.append(asyncio.create_task(run(number)))
                await waiting(sessions, number + 1)
            with pytest.raises(SessionBusyError):
                async with sessions.lease("s"):
                    pass
        await asyncio.gather(*runs)
        assert order == [0, 1, 2, 3, 4]
        assert ids_of(await sessions.load("s")) == ["a", "0", "1", "2", "3", "4"]
        assert (await sessions.get("s")).revision == 6

    async def test_waiting_has_an_end(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """After the time-out the run is refused, and nobody stands in the queue any more."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", holder="me"):
            for timeout in (0, 0.01):
                with pytest.raises(SessionBusyError) as busy:
                    async with others.lease("s", on_busy="wait", timeout=timeout):
                        pass
                assert busy.value.holder == "me"
            await waiting(sessions, 0)

    async def test_a_cancelled_waiter_blocks_nobody(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """Cancelling the waiting gives the place up; the next one gets the lease."""
        await saved(sessions, user("a"))
        async with sessions.lease("s"):
            first = asyncio.create_task(_run(others))
            await waiting(sessions, 1)
            second = asyncio.create_task(_run(others))
            await waiting(sessions, 2)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await waiting(sessions, 1)
        assert await second == 2

    async def test_waiting_for_a_session_that_is_deleted(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """Who waits is told so at once."""
        await saved(sessions, user("a"))
        async with sessions.lease("s"):
            waiter = asyncio.create_task(_run(others))
            await waiting(sessions, 1)
            await sessions.delete("s", force=True)
            others.persistence.signal.notify()
            with pytest.raises(SessionDeletedError):
                await waiter

    async def test_an_expired_lease_is_taken_over_by_a_waiter(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """Who waits gets on as soon as the lease has run out, without a word from its holder."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            waiter = asyncio.create_task(_run(others))
            await waiting(sessions, 1)
            clock.move(TTL)
            others.persistence.signal.notify()
            assert await waiter == lease.token + 1

    async def test_a_zombie_is_refused(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """G12: once somebody took over, nothing gets in through the old lease: no save, no copy, no append, no edit."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            clean = lease.session.copy()
            removing = lease.session.copy()
            del removing.messages[0]
            lease.session.add_message(user("b"))
            newer = await take_over(others, clock)
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

    async def test_a_zombie_is_told_who_runs(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """The refusal names the holder of the newer lease."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            clock.move(TTL)
            async with others.lease("s", holder="the next"):
                with pytest.raises(LeaseLostError, match="the next") as lost:
                    await lease.append(user("b"))
                assert lost.value.holder == "the next"

    async def test_a_zombie_in_a_storm_is_refused(
        self,
        sessions: SessionRepository,
        others: SessionRepository,
        clock: ManualClock,
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
                    await take_over(others, clock)

        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            monkeypatch.setattr(faults, "commit", in_the_storm)
            with pytest.raises(LeaseLostError):
                await lease.save()
        assert faults.calls["transact"] == 1
        assert "b" not in ids_of(await others.load("s"))

    async def test_an_expired_lease_may_write_while_nobody_took_over(
        self, sessions: SessionRepository, clock: ManualClock
    ) -> None:
        """Time alone refuses nothing: a run that was only slow goes on, and holds the session again by renewing."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            clock.move(10 * TTL)
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
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """A fork has what the lost run saw, wrote, edited and asked, and nothing that came after."""
        await saved(sessions, user("a"), user("x"), model="m")
        async with sessions.lease("s") as lease:
            lease.session.messages[0] = user("edited", id="a")
            del lease.session.messages[1]
            lease.session.add_message(call("c", "1"))
            lease.session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q", asked_at=START))
            await take_over(others, clock)
            await others.append("s", user("newer"))
            with pytest.raises(LeaseLostError):
                await lease.save()
            fork = await lease.save_as_fork(new_id="kept")
            assert (fork.id, fork.model, fork.fence, fork.revision) == ("kept", "m", None, 1)
            assert [message.text for message in fork.messages] == ["edited", ""]
            assert [question.id for question in fork.questions] == ["q"]
            assert fork.forked_from is not None
            assert (fork.forked_from.session_id, fork.forked_from.revision) == ("s", 1)
        assert ids_of(await others.load("s")) == ["a", "x", "newer"]
        fork.add_message(user("on"))
        await sessions.save(fork)

    async def test_a_refused_retry_is_told(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """G12: work of a tolerant save that meets a newer lease when storage is back is told by `flush`."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await lease.save_best_effort()
            await take_over(others, clock)
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

    async def test_a_copy_with_a_run_s_waiting_work_is_fenced(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """What waits was written through the lease; loading it, or saving another copy with it, carries it nowhere."""
        await saved(sessions, user("a"))
        stranger = await sessions.get("s")
        stranger.add_message(user("x"))
        async with sessions.lease("s") as lease:
            lease.session.add_message(user("b"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await lease.save_best_effort()
                loaded = await sessions.get("s")
                assert (ids_of(loaded), loaded.fence) == (["a", "b"], lease.token)
                assert not await sessions.save_best_effort(stranger)
            await take_over(others, clock)
            with pytest.raises(LeaseLostError):
                await sessions.save(loaded)
            (work,) = await sessions.flush()
            assert (work.code, ids_of(work.session)) == ("lease_lost", ["a", "b", "x"])
        assert ids_of(await others.load("s")) == ["a"]

    async def test_work_of_two_leases_is_never_mixed(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """Waiting work of an older lease isn't united with a newer one's: that would carry it past the fence."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as old:
            old.session.add_message(user("old"))
            with faults.fail("commit", StorageUnavailableError, times=None):
                assert not await old.save_best_effort()
                clock.move(TTL)
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

    async def test_a_block_that_raises_gives_back(self, sessions: SessionRepository) -> None:
        """An error in the block ends the lease and is raised."""
        await saved(sessions, user("a"))
        with pytest.raises(ZeroDivisionError):
            async with sessions.lease("s"):
                raise ZeroDivisionError
        assert await sessions.lease_of("s") is None

    async def test_a_cancelled_block_gives_back(self, sessions: SessionRepository) -> None:
        """Cancelling a run ends its lease, also if it is cancelled again while that is given back."""
        await saved(sessions, user("a"))
        entered = asyncio.Event()

        async def run() -> None:
            async with sessions.lease("s"):
                entered.set()
                await asyncio.Event().wait()

        for again in (False, True):
            task = asyncio.create_task(run())
            await entered.wait()
            entered.clear()
            task.cancel()
            if again:
                await checkpoint()
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while await sessions.lease_of("s") is not None:
                await checkpoint()

    async def test_a_cancelled_beginning_gives_back(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """Whoever is cancelled while the lease is taken, or while the session is loaded, holds nothing."""
        await saved(sessions, user("a"))
        for name in ("change_lease", "read_newer"):
            stall = faults.stall(name, after=True)
            task = asyncio.create_task(_run(sessions))
            await stall.reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            stall.release()
            while await sessions.lease_of("s") is not None:
                await checkpoint()
        assert await _run(sessions)

    async def test_a_lease_whose_answer_was_lost(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """If nobody knows whether it was taken, it is given back; so is one whose session then can't be read."""
        await saved(sessions, user("a"))
        for name in ("change_lease", "read_newer"):
            with faults.fail(name, StorageUnavailableError, after=True), pytest.raises(StorageUnavailableError):
                await _run(sessions)
            assert await sessions.lease_of("s") is None
        assert await _run(sessions) == 3

    async def test_storage_that_fails_at_the_end(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """A lease that can't be given back runs out by itself; the block ends as if nothing was."""
        await saved(sessions, user("a"))
        async with sessions.lease("s"):
            faults.fail("change_lease", StorageUnavailableError)
        assert await sessions.lease_of("s") is not None

    async def test_renewing_in_the_background(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """A lease holds on by itself, many times over its own time."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", ttl=0.1) as lease:
            for _ in range(3):
                before = lease.expires_at
                clock.move(timedelta(seconds=0.09))
                while lease.expires_at == before:
                    await checkpoint()
                info = await sessions.lease_of("s")
                assert info is not None
                assert info.expires_at == clock.now() + timedelta(seconds=0.1)

    async def test_a_lost_lease_is_told(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """The renewal in the background notices, and whoever waits for it is woken."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", ttl=0.1) as lease:
            while not lease.is_lost:
                clock.move(timedelta(seconds=1))
                with suppress(SessionBusyError):  # it has just been renewed
                    async with others.lease("s", ttl=3600):
                        await lease.lost.wait()
            with pytest.raises(LeaseLostError):
                await lease.save()

    async def test_renewal_survives_storage_errors(
        self, sessions: SessionRepository, clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """Errors that may pass are tried again; a lease that ran out meanwhile is told as lost."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", ttl=0.1) as lease:
            with faults.fail("change_lease", StorageUnavailableError, times=None) as fault:
                while fault.hits < 3:
                    await checkpoint()
                assert not lease.is_lost
                before = lease.expires_at
                clock.move(timedelta(seconds=0.05))
            while lease.expires_at == before:
                await checkpoint()
            with faults.fail("change_lease", StorageUnavailableError, times=None):
                clock.move(timedelta(seconds=1))
                await lease.lost.wait()

    async def test_a_lease_on_nothing(self, sessions: SessionRepository) -> None:
        """Without a session there is no lease, unless it is to be made; a deleted one stays deleted (G9)."""
        with pytest.raises(SessionNotFoundError):
            await _run(sessions)
        async with sessions.lease("s", create=True, model="m") as lease:
            assert (lease.session.revision, lease.session.model) == (1, "m")
        async with sessions.lease("s", create=True, model="other") as lease:
            assert (lease.session.revision, lease.session.model) == (1, "m")
        await sessions.delete("s")
        for create in (False, True):
            with pytest.raises(SessionDeletedError):
                async with sessions.lease("s", create=create):
                    pass

    async def test_many_make_one_session(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Of many who lease a new session at once all get their turn, and it is made once."""

        async def run(number: int) -> int:
            async with (sessions, others)[number % 2].lease("s", create=True, on_busy="wait") as lease:
                return lease.token

        assert sorted(await asyncio.gather(*map(run, range(6)))) == [1, 2, 3, 4, 5, 6]
        assert (await sessions.get("s")).revision == 1

    async def test_arguments_of_a_lease(self, sessions: SessionRepository) -> None:
        """Times out of range, unknown policies and names that aren't any are refused at once."""
        for arguments in (
            {"ttl": 0},
            {"ttl": float("nan")},
            {"ttl": 10**6},
            {"ttl": timedelta(days=2)},
            {"ttl": "1"},
            {"on_busy": "merge"},
            {"holder": ""},
        ):
            with pytest.raises(InputError):
                sessions.lease("s", **arguments)

    async def test_a_leased_session_is_not_deleted(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """Deleting is refused while somebody runs the session, unless forced; the run's saves are refused then."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", holder="me") as lease:
            with pytest.raises(SessionBusyError, match="me"):
                await others.delete("s")
            assert await others.delete("s", force=True)
            lease.session.add_message(user("b"))
            for attempt in (lease.save(), lease.append(user("c")), lease.renew()):
                with pytest.raises(SessionDeletedError):
                    await attempt
            assert lease.is_lost
            assert ids_of(await lease.save_as_fork()) == ["a", "b"]

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

    async def test_clean_ups_spare_leased_sessions(self, sessions: SessionRepository) -> None:
        """A tree that somebody runs is left, and told among what could not be deleted."""
        await saved(sessions, user("a"))
        await saved(sessions, user("b"), id="t")
        async with sessions.lease("s"):
            report = await sessions.cleanup("all")
        assert report.deleted == ("t",)
        assert [failure.session_id for failure in report.failed] == ["s"]

    async def test_L97_an_answer_is_consumed_under_the_lease_of_the_run_that_took_it_up(
        self, sessions: SessionRepository, others: SessionRepository, clock: ManualClock
    ) -> None:
        """A run that lost its lease consumes nothing; the run that took over finds the answer still there."""
        await saved(sessions, call("c", "1"))
        async with sessions.lease("s") as lease:
            lease.session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q", asked_at=START))
            await lease.save()
        await others.answer("s", "q", "yes")
        async with sessions.lease("s") as zombie:
            assert zombie.session.consume_question("q").answer == "yes"
            clock.move(TTL)
            async with others.lease("s") as lease:
                with pytest.raises(LeaseLostError):
                    await zombie.save()
                assert lease.session.questions[0].state == "answered"
                lease.session.consume_question("q")
                await lease.save()
        assert (await sessions.get("s")).questions[0].state == "consumed"

    async def test_questions_of_a_run_that_died(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """An open question of a run that never got to suspend is found, and withdrawn by a repair; others are not."""
        await saved(sessions, call("c", "1"))
        async with sessions.lease("s") as lease:
            await _ask(lease, "q1", "suspended")
        assert await _orphans(sessions) == []  # it ended in order, and waits for a person
        async with sessions.lease("s") as lease:
            await _ask(lease, "q2", "running")
            assert await _orphans(sessions) == []  # it runs
            clock.move(TTL)
            assert await _orphans(sessions) == ["Question 'q2' was asked by a run that died (lease 2)."]
            report = await sessions.check(repair=True)
            assert [p.repaired for p in report.problems if p.kind == "orphan_question"] == [True]
        states = {question.id: question.state for question in (await sessions.get("s")).questions}
        assert states == {"q1": "open", "q2": "withdrawn"}


async def _run(sessions: SessionRepository) -> int:
    async with sessions.lease("s", on_busy="wait") as lease:
        return lease.token


async def _ask(lease: RunLease, question_id: str, run_state: str) -> None:
    question = PendingQuestion("1", "ask", "Go?", id=question_id, asked_at=START)
    lease.session.set_pending_question(question)
    lease.session.run_state = run_state
    await lease.save()


async def _orphans(sessions: SessionRepository) -> list[str]:
    report = await sessions.check()
    return [problem.detail for problem in report.problems if problem.kind == "orphan_question"]
