"""Run leases in storage: one atomic change that is no commit, and fences inside the commit (G12)."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from bamboo_sessions.domain.errors import LeaseLostError, SessionBusyError, SessionDeletedError, SessionNotFoundError
from bamboo_sessions.domain.lease import Claim, LeaseState, LeaseWish, applied
from bamboo_sessions.storage.commit import Commit, SessionKey
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.freshness import listening
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    SECOND,
    appending,
    change,
    creation,
    head_of,
    ids_in,
    key_of,
    snapshot_of,
    user,
)

TTL = timedelta(seconds=10)


def claim(name: str) -> Claim:
    """A claim whose id and holder are its name."""
    return Claim(name, f"holder {name}", TTL)


async def take(storage: SessionStorage, name: str, session_id: str = "s") -> LeaseState:
    """Ask for the lease."""
    return (await storage.change_lease(key_of(session_id), LeaseWish("acquire", claim(name)))).state


async def leases_of(storage: SessionStorage, key: SessionKey = KEY) -> LeaseState:
    """The leases of a living session."""
    view = await storage.read_lease(key)
    assert view is not None
    return view.state


class LeasesConformance(Conformance):
    """`change_lease`, `read_lease`, and what they mean for commits and deletions."""

    async def test_a_lease_is_kept_as_it_was_made(self, storage: SessionStorage) -> None:
        """What a change gives back is what is read afterwards: token, holder, times and queue."""
        await storage.commit(creation())
        assert await leases_of(storage) == LeaseState()
        taken = await storage.change_lease(KEY, LeaseWish("acquire", claim("a")))
        assert (taken.state.token, taken.state.claim_id, taken.state.holder) == (1, "a", "holder a")
        assert (taken.state.expires_at, taken.state.ttl) == (taken.now + TTL, TTL)
        made, now = await storage.change_lease(KEY, LeaseWish("wait", claim("b")))
        assert now >= taken.now
        assert [ticket.claim_id for ticket in made.waiting] == ["b"]
        assert await leases_of(storage) == made
        free = (await storage.change_lease(KEY, LeaseWish("withdraw", claim("a")))).state
        assert (free.claim_id, free.token, len(free.waiting)) == (None, 1, 1)
        assert await leases_of(storage) == free

    async def test_the_wishes_are_met_as_the_arithmetic_says(
        self, storage: SessionStorage, storage_clock: ManualClock
    ) -> None:
        """Whatever is wished for, the engine's leases are those of `applied`; the time is the engine's."""
        await storage.commit(creation())
        chance, expected = random.Random(7), LeaseState()
        for _ in range(200):
            storage_clock.move(chance.choice((0, 1, 2, 5, -4)) * SECOND)
            action = chance.choice(("acquire", "wait", "renew", "withdraw", "release"))
            by = None if action == "release" else claim(chance.choice("abc"))
            wish = LeaseWish(action, by, expected.token if by is None else 0)  # type: ignore[arg-type]
            expected = applied(expected, wish, storage_clock.now())
            assert await storage.change_lease(KEY, wish) == (expected, storage_clock.now())
        assert await storage.read_lease(KEY) == (expected, storage_clock.now())
        assert expected.token > 10

    async def test_a_lease_is_no_commit(self, storage: SessionStorage) -> None:
        """Taking, renewing and giving back leave revision, time and log as they are; waiters notice all the same."""
        await storage.commit(creation())
        before, changes = await snapshot_of(storage), (await storage.stats())["changes"]
        for wish in (LeaseWish("acquire", claim("a")), LeaseWish("withdraw", claim("a"))):
            with listening(storage) as ear:
                await storage.change_lease(KEY, wish)
            assert ear.has_heard(KEY, has_commit=False)
            assert not ear.has_heard(KEY)
        await storage.change_lease(KEY, LeaseWish("renew", claim("a")))
        assert await snapshot_of(storage) == before
        assert (await storage.stats())["changes"] == changes

    async def test_a_wish_that_changes_nothing(self, storage: SessionStorage) -> None:
        """Nobody is woken then."""
        await storage.commit(creation())
        await take(storage, "a")
        with listening(storage) as ear:
            for wish in (
                LeaseWish("acquire", claim("b")),
                LeaseWish("renew", claim("b")),
                LeaseWish("withdraw", claim("b")),
                LeaseWish("release", token=7),
            ):
                await storage.change_lease(KEY, wish)
        assert ear.news == []

    async def test_only_living_sessions_are_leased(self, storage: SessionStorage) -> None:
        """There is no lease where there is no session, or none any more."""
        assert await storage.read_lease(KEY) is None
        with pytest.raises(SessionNotFoundError):
            await take(storage, "a")
        await storage.commit(creation())
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        assert await storage.read_lease(KEY) is None
        with pytest.raises(SessionDeletedError):
            await take(storage, "a")

    async def test_one_of_many_gets_the_lease(self, storage: SessionStorage) -> None:
        """Of many who ask at once exactly one gets it, and there is one token."""
        await storage.commit(creation())
        states = await asyncio.gather(*(take(storage, str(number)) for number in range(20)))
        assert {state.token for state in states} == {1}
        assert len({state.claim_id for state in states}) == 1

    async def test_an_older_token_is_refused(self, storage: SessionStorage, storage_clock: ManualClock) -> None:
        """G12: a commit is accepted while its token is the newest, also after expiry; later it is refused whole."""
        await storage.commit(creation())
        await take(storage, "a")
        storage_clock.move(3 * TTL)
        await storage.commit(appending("s", user("a"), fence=1))
        await take(storage, "b")
        for commit in (
            appending("s", user("b"), fence=1),
            change(await snapshot_of(storage), head=head_of(title="b"), fence=1),
            change(await snapshot_of(storage), removals=("a",), fence=1),
            appending("s", user("b"), fence=1, expected=1),
        ):
            with pytest.raises(LeaseLostError) as lost:
                await storage.commit(commit)
            assert (lost.value.session_id, lost.value.token, lost.value.newer_token) == ("s", 1, 2)
        await storage.commit(appending("s", user("c"), fence=2))
        await storage.commit(appending("s", user("d")))
        assert await ids_in(storage) == ["a", "c", "d"]

    async def test_a_fence_inside_a_transaction(self, storage: SessionStorage) -> None:
        """G12: a plan that runs inside the write transaction is fenced like any other commit."""
        await storage.commit(creation())
        await take(storage, "a")
        await storage.change_lease(KEY, LeaseWish("withdraw", claim("a")))
        await take(storage, "b")
        with pytest.raises(LeaseLostError):
            await storage.transact(KEY, lambda _: appending("s", user("a"), fence=1))
        await storage.transact(KEY, lambda _: appending("s", user("b"), fence=2))
        assert await ids_in(storage) == ["b"]

    async def test_a_commit_that_was_accepted_stays_so(self, storage: SessionStorage) -> None:
        """Asking again for a commit of then tells its outcome, also after the lease was lost (G4)."""
        await storage.commit(creation())
        await take(storage, "a")
        commit = appending("s", user("a"), fence=1)
        first = await storage.commit(commit)
        await storage.change_lease(KEY, LeaseWish("withdraw", claim("a")))
        await take(storage, "b")
        again = await storage.commit(commit)
        assert (again.revision, again.replayed) == (first.revision, True)

    async def test_tokens_outlive_deletion(self, storage: SessionStorage) -> None:
        """The next life of an id counts on; the lease itself ends with the life that it was of."""
        await storage.commit(creation())
        await take(storage, "a")
        await storage.delete_tree(KEY, DeleteQuery(at=START, force=True))
        await storage.commit(creation(reuse_deleted=True))
        assert await leases_of(storage) == LeaseState(token=1)
        assert (await take(storage, "b")).token == 2
        with pytest.raises(LeaseLostError):
            await storage.commit(appending("s", user("a"), fence=1))

    async def test_a_head_leaves_the_token_alone(self, storage: SessionStorage) -> None:
        """Commits of all kinds keep the token, those that rewrite the head, too."""
        await storage.commit(creation())
        await take(storage, "a")
        await storage.commit(change(await snapshot_of(storage), head=head_of(title="b")))
        await storage.commit(appending("s", user("a")))
        state = await leases_of(storage)
        assert (state.token, state.claim_id) == (1, "a")

    async def test_a_leased_tree_is_not_deleted(self, storage: SessionStorage, storage_clock: ManualClock) -> None:
        """A held session anywhere below keeps the whole tree, until the lease has run out; unless it is forced."""
        for name in ("root", "child"):
            await storage.commit(_below_root(name))
        await take(storage, "a", session_id="child")
        until = storage_clock.now() + TTL
        storage_clock.move(TTL - SECOND)
        with pytest.raises(SessionBusyError) as refused:
            await storage.delete_tree(key_of("root"), DeleteQuery(at=START + 9 * TTL))
        assert (refused.value.session_id, refused.value.holder) == ("child", "holder a")
        assert refused.value.until == until
        assert {(await snapshot_of(storage, name)).revision for name in ("root", "child")} == {1}
        assert len(await storage.delete_tree(key_of("root"), DeleteQuery(at=START, force=True))) == 2
        await storage.commit(creation())
        await take(storage, "a")
        storage_clock.move(TTL)
        assert await storage.delete_tree(KEY, DeleteQuery(at=START)) == ("s",)

    async def test_leases_of_equal_ids(self, storage: SessionStorage, other_namespace: str) -> None:
        """Another namespace's session of the same id is leased, and deleted, on its own."""
        twin = key_of("s", other_namespace)
        await storage.commit(creation())
        await storage.commit(creation(key=twin, head=head_of(namespace=other_namespace)))
        await take(storage, "a")
        assert await leases_of(storage, twin) == LeaseState()
        assert await storage.delete_tree(twin, DeleteQuery(at=START)) == ("s",)

    async def test_a_lease_is_durable(self, storage: SessionStorage, second: SessionStorage) -> None:
        """Another storage on the same data sees the lease at once, and can't take it."""
        await storage.commit(creation())
        await take(storage, "a")
        assert (await take(second, "b")).claim_id == "a"
        with listening(storage) as ear:
            await second.change_lease(KEY, LeaseWish("release", token=1))
            taken = await take(second, "b")
            await ear.until(KEY, has_commit=False)
        assert await leases_of(storage) == taken
        with pytest.raises(LeaseLostError):
            await storage.commit(appending("s", user("a"), fence=1))


def _below_root(session_id: str) -> Commit:
    parent = None if session_id == "root" else "root"
    return creation(session_id, head=head_of(session_id, root_session_id="root", parent_session_id=parent))
