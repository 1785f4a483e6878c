"""Run leases: one agent run at a time; taking, waiting, keeping and giving back (G12)."""

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
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import user
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


class LeasingConformance(RepositoryCase):
    """Who gets a lease, how long he keeps it, and that it is given back."""

    async def test_a_run(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """A lease gives a fresh copy, which is saved as usual; it is seen by others, and free afterwards."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))
        async with sessions.lease("s", holder="me") as lease:
            assert ids_of(lease.session) == ["a", "b"]
            info = await others.lease_of("s")
            assert info is not None
            assert (info.holder, info.token, info.expires_at, info.waiting) == (
                "me",
                lease.token,
                storage_clock.now() + TTL,
                0,
            )
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

    async def test_a_lease_commits_nothing(self, sessions: SessionRepository, storage_clock: ManualClock) -> None:
        """Taking, renewing and giving back make no revision."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            assert await lease.renew() == storage_clock.now() + TTL
        assert (await sessions.get("s")).revision == 1

    async def test_a_busy_session_rejects(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """The second run is told who holds the session, and until when."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", holder="me"):
            with pytest.raises(SessionBusyError, match="me") as busy:
                async with others.lease("s"):
                    pass
            assert (busy.value.session_id, busy.value.holder, busy.value.until) == (
                "s",
                "me",
                storage_clock.now() + TTL,
            )
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
            with pytest.raises(SessionDeletedError):
                await waiter

    async def test_an_expired_lease_is_taken_over_by_a_waiter(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """Who waits gets on as soon as the lease has run out, without a word from its holder."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            waiter = asyncio.create_task(_run(others))
            await waiting(sessions, 1)
            storage_clock.move(TTL)
            await sessions.append("s", user("b"))  # wakes it: its timer doesn't see a clock that is moved by hand
            assert await waiter == lease.token + 1

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

    async def test_renewing_in_the_background(self, sessions: SessionRepository, storage_clock: ManualClock) -> None:
        """A lease holds on by itself, many times over its own time."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", ttl=0.1) as lease:
            for _ in range(3):
                until = storage_clock.move(timedelta(seconds=0.09)) + timedelta(seconds=0.1)
                while lease.expires_at != until:
                    await checkpoint()
                info = await sessions.lease_of("s")
                assert info is not None
                assert info.expires_at == until

    async def test_a_lost_lease_is_told(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """The renewal in the background notices, and whoever waits for it is woken."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", ttl=0.1) as lease:
            while not lease.is_lost:
                storage_clock.move(timedelta(seconds=1))
                with suppress(SessionBusyError):  # it has just been renewed
                    async with others.lease("s", ttl=3600):
                        await lease.lost.wait()
            with pytest.raises(LeaseLostError):
                await lease.save()

    async def test_renewal_survives_storage_errors(
        self, sessions: SessionRepository, storage_clock: ManualClock, faults: FaultyStorage
    ) -> None:
        """A renewal that fails with an error that may pass loses nothing, and can be tried again."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            with faults.fail("change_lease", StorageUnavailableError, times=2):
                for _ in range(2):
                    with pytest.raises(StorageUnavailableError):
                        await lease.renew()
            assert not lease.is_lost
            storage_clock.move(TTL / 2)
            assert await lease.renew() == storage_clock.now() + TTL

    async def test_a_lease_that_could_not_be_renewed_is_told_as_lost(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """Once its time has passed without a renewal, the run is woken, although nobody took over."""
        await saved(sessions, user("a"))
        async with sessions.lease("s", ttl=0.1) as lease:
            with faults.fail("change_lease", StorageUnavailableError, times=None):
                await lease.lost.wait()

    async def test_L136_a_run_counts_on_no_clock_of_its_host(
        self, sessions: SessionRepository, faults: FaultyStorage, clock: ManualClock
    ) -> None:
        """However far ahead the host's clock jumps, an error that passes doesn't make a run give its lease up."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            clock.move(timedelta(days=3650))
            with faults.fail("change_lease", StorageUnavailableError), pytest.raises(StorageUnavailableError):
                await lease.renew()
            assert not lease.is_lost

    async def test_L128_a_clock_that_was_ahead_blocks_nobody(
        self, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """One renewal by a clock that was ten years ahead keeps neither the next run nor a deletion away."""
        await saved(sessions, user("a"))
        await saved(sessions, user("b"), id="t")
        async with sessions.lease("s") as lease, sessions.lease("t"):
            storage_clock.move(timedelta(days=3650))
            await lease.renew()
            storage_clock.move(timedelta(days=-3650))
            assert await others.lease_of("s") is None
            async with others.lease("s") as taken:
                assert taken.token == lease.token + 1
            assert await others.delete("s")
            with pytest.raises(SessionBusyError):
                await others.delete("t")

    async def test_releasing_the_lease_of_a_dead_run(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """The lease with that token ends at once, also when asked twice; the next run has the next token."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            await others.release_lease("s", token=lease.token)
            await others.release_lease("s", token=lease.token)
            assert await others.lease_of("s") is None
            async with others.lease("s", holder="me") as next_one:
                assert next_one.token == lease.token + 1
                with pytest.raises(LeaseLostError, match="me") as refused:
                    await sessions.release_lease("s", token=lease.token)
                assert refused.value.newer_token == next_one.token
                assert await others.lease_of("s") is not None
        assert (await sessions.get("s")).revision == 1

    async def test_releasing_what_there_is_not(self, sessions: SessionRepository) -> None:
        """A token that was never given, or is none, is refused; so is a session that doesn't live. Nothing changes."""
        await saved(sessions, user("a"))
        for token in (1, 0, -1, True, "1"):
            with pytest.raises(InputError):
                await sessions.release_lease("s", token=token)  # type: ignore[arg-type]
        with pytest.raises(SessionNotFoundError):
            await sessions.release_lease("unknown", token=1)
        await sessions.delete("s")
        with pytest.raises(SessionDeletedError):
            await sessions.release_lease("s", token=1)

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
            {"timeout": -1},
            {"timeout": float("nan")},
            {"timeout": "1"},
        ):
            with pytest.raises(InputError):
                sessions.lease("s", **arguments)

    async def test_a_block_is_entered_once(self, sessions: SessionRepository) -> None:
        """A block can't be entered again: two leases in one block, and only the later one would be given back."""
        await saved(sessions, user("a"))
        block = sessions.lease("s", on_busy="fork")
        async with block:
            with pytest.raises(InputError, match="entered already"):
                await block.__aenter__()
        assert await sessions.lease_of("s") is None
        assert [head.id for head in (await sessions.list_sessions()).sessions] == ["s"]

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

    async def test_clean_ups_spare_leased_sessions(self, sessions: SessionRepository) -> None:
        """A tree that somebody runs is left, and told among what could not be deleted."""
        await saved(sessions, user("a"))
        await saved(sessions, user("b"), id="t")
        async with sessions.lease("s"):
            report = await sessions.cleanup("all")
        assert report.deleted == ("t",)
        assert [failure.session_id for failure in report.failed] == ["s"]


async def _run(sessions: SessionRepository) -> int:
    async with sessions.lease("s", on_busy="wait") as lease:
        return lease.token
