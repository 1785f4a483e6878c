"""Gets, keeps and gives back run leases: the waiting between storage's atomic changes of them.

Whoever waits has a ticket in storage, so that the queue is fair over processes. It is woken when anything was
committed or leased on its session, reads the leases, and writes only if it may take over or its ticket has to be
refreshed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NamedTuple

from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.errors import BambooSessionsError
from bamboo_sessions.domain.lease import Claim, LeaseState, LeaseWish, busy, crowded, may_take
from bamboo_sessions.domain.limits import LEASE_TICKET_SECONDS
from bamboo_sessions.storage.commit import SessionKey

_log: Final = logging.getLogger("bamboo_sessions")

_REFRESH_SECONDS: Final = LEASE_TICKET_SECONDS / 3
_GIVING_BACK_SECONDS_MAX: Final = 5.0
"""How long the end of a run waits for its lease to be given back; after that it goes on without, in the background."""
_ALMOST: Final = timedelta(milliseconds=1)
"""How far behind its expiry a lease is looked at again: times have microseconds, timers haven't."""


class Held(NamedTuple):
    """A lease as storage gave it, and the event loop's time when it was asked for: its `ttl` counts from then."""

    state: LeaseState
    since: float


class Leasing:
    """Changes of run leases, over a locked store."""

    def __init__(self, store: LockedSessionStore) -> None:
        self._store = store
        self._storage = store.storage
        self._signal = store.signal

    async def take(self, key: SessionKey, claim: Claim) -> Held:
        """The lease now, or `SessionBusyError`."""
        since = asyncio.get_running_loop().time()
        state, now = await self._storage.change_lease(key, LeaseWish("acquire", claim))
        if state.claim_id != claim.id:
            raise busy(key.session_id, state, now)
        return Held(state, since)

    async def wait(self, key: SessionKey, claim: Claim, timeout_seconds: float | None) -> Held:
        """The lease in the order of arrival; `SessionBusyError` if that takes longer than `timeout_seconds`."""
        loop = asyncio.get_running_loop()
        give_up_at = None if timeout_seconds is None else loop.time() + timeout_seconds
        while True:
            since = loop.time()
            state, _ = await self._storage.change_lease(key, LeaseWish("wait", claim))
            if state.claim_id == claim.id:
                return Held(state, since)
            if not state.has(claim.id):
                raise crowded(key.session_id, state)
            refresh_at = since + _REFRESH_SECONDS
            until = refresh_at if give_up_at is None else min(refresh_at, give_up_at)
            await self._wait_for_turn(key, claim, until)
            if give_up_at is not None and loop.time() >= give_up_at:
                return await self.take(key, claim)

    async def _wait_for_turn(self, key: SessionKey, claim: Claim, until: float) -> None:
        """Wait until the claim may take the lease, or the event loop's time is `until`.

        The lease's end is reckoned by the time that storage gives with it, never by this host's clock (L136).
        """
        loop = asyncio.get_running_loop()
        with self._signal.session(key) as watch:
            while True:
                view = await self._storage.read_lease(key)
                if view is None or may_take(view.state, claim.id, view.now):  # None: deleted, as the next change tells
                    return
                left = until - loop.time()
                if left <= 0:
                    return
                if view.state.is_held(view.now) and view.state.expires_at is not None:
                    left = min(left, (view.state.expires_at - view.now + _ALMOST).total_seconds())
                await watch.wait(timeout_seconds=left)

    async def renew(self, key: SessionKey, claim: Claim) -> Held:
        """Hold on; the claim has lost the lease if its id isn't in the result."""
        since = asyncio.get_running_loop().time()
        state, _ = await self._storage.change_lease(key, LeaseWish("renew", claim))
        return Held(state, since)

    async def release(self, key: SessionKey, token: int) -> LeaseState:
        """End the lease with this token, whoever has it; what the leases are then."""
        self._store.tasks.check_usable()
        return (await self._storage.change_lease(key, LeaseWish("release", token=token))).state

    async def give_back(
        self, key: SessionKey, claim: Claim, *, first: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Let go of whatever the claim has; never fails, never hangs, and is done also if the caller is cancelled.

        What can't be given back now runs out by itself. `first` is done before, in the same time.
        """
        try:
            async with asyncio.timeout(_GIVING_BACK_SECONDS_MAX):
                await self._store.tasks.run(self._withdraw(key, claim, first))
        except TimeoutError:
            _log.warning("session %r: its run lease is still being given back", key.session_id)

    async def _withdraw(self, key: SessionKey, claim: Claim, first: Callable[[], Awaitable[object]] | None) -> None:
        try:
            if first is not None:
                await first()
            await self._storage.change_lease(key, LeaseWish("withdraw", claim))
        except BambooSessionsError as exc:  # deleted meanwhile, or storage is down
            _log.info("session %r: the run lease was not given back: %s", key.session_id, exc)
