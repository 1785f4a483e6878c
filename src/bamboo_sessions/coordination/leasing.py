"""Gets, keeps and gives back run leases: the waiting between storage's atomic changes of them.

Whoever waits has a ticket in storage, so that the queue is fair over processes. It is woken when anything was
committed or leased, reads the leases, and writes only if it may take over or its ticket has to be refreshed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.errors import BambooSessionsError
from bamboo_sessions.domain.lease import Claim, LeaseState, acquire, acquire_or_wait, busy, may_take, renew, withdraw
from bamboo_sessions.domain.limits import LEASE_TICKET_SECONDS
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import LeaseChange

_log: Final = logging.getLogger("bamboo_sessions")

_REFRESH_SECONDS: Final = LEASE_TICKET_SECONDS / 3
_GIVING_BACK_SECONDS_MAX: Final = 5.0
"""How long the end of a run waits for its lease to be given back; after that it goes on without, in the background."""
_ALMOST: Final = timedelta(milliseconds=1)
"""How far behind its expiry a lease is looked at again: times have microseconds, timers haven't."""


class Leasing:
    """Changes of run leases, over a locked store."""

    def __init__(self, store: LockedSessionStore) -> None:
        self._store = store
        self._storage = store.storage
        self._signal = store.signal

    async def take(self, key: SessionKey, claim: Claim) -> LeaseState:
        """The lease now, or `SessionBusyError`."""
        state = await self._change(key, lambda leases, now: acquire(leases, claim, now))
        if state.claim_id != claim.id:
            raise busy(key.session_id, state, self._store.clock.now())
        return state

    async def wait(self, key: SessionKey, claim: Claim, timeout_seconds: float | None) -> LeaseState:
        """The lease in the order of arrival; `SessionBusyError` if that takes longer than `timeout_seconds`."""
        loop = asyncio.get_running_loop()
        give_up_at = None if timeout_seconds is None else loop.time() + timeout_seconds
        while True:
            refresh_at = loop.time() + _REFRESH_SECONDS
            state = await self._change(key, lambda leases, now: acquire_or_wait(key.session_id, leases, claim, now))
            if state.claim_id == claim.id:
                return state
            until = refresh_at if give_up_at is None else min(refresh_at, give_up_at)
            await self._wait_for_turn(key, claim, until)
            if give_up_at is not None and loop.time() >= give_up_at:
                return await self.take(key, claim)

    async def _wait_for_turn(self, key: SessionKey, claim: Claim, until: float) -> None:
        """Wait until the claim may take the lease, or the event loop's time is `until`."""
        loop = asyncio.get_running_loop()
        while True:
            moment = self._signal.now()
            state = await self._storage.read_lease(key)
            now = self._store.clock.now()
            if state is None or may_take(state, claim.id, now):  # None: it was deleted, as the next change tells
                return
            left = until - loop.time()
            if left <= 0:
                return
            if state.is_held(now) and state.expires_at is not None:
                left = min(left, (state.expires_at - now + _ALMOST).total_seconds())
            await self._signal.changed_since(moment, timeout_seconds=left)

    async def renew(self, key: SessionKey, claim: Claim) -> LeaseState:
        """Hold on; the claim has lost the lease if its id isn't in the result."""
        return await self._change(key, lambda leases, now: renew(leases, claim, now))

    async def give_back(
        self, key: SessionKey, claim: Claim, *, first: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Let go of whatever the claim has; never fails, never hangs, and is done also if the caller is cancelled.

        What can't be given back now runs out by itself. `first` is done before, in the same time.
        """
        try:
            async with asyncio.timeout(_GIVING_BACK_SECONDS_MAX):
                await self._store.run_to_end(self._withdraw(key, claim, first))
        except TimeoutError:
            _log.warning("session %r: its run lease is still being given back", key.session_id)

    async def _withdraw(self, key: SessionKey, claim: Claim, first: Callable[[], Awaitable[object]] | None) -> None:
        try:
            if first is not None:
                await first()
            await self._change(key, lambda leases, _: withdraw(leases, claim.id))
        except BambooSessionsError as exc:  # deleted meanwhile, or storage is down
            _log.info("session %r: the run lease was not given back: %s", key.session_id, exc)

    async def _change(self, key: SessionKey, change: LeaseChange) -> LeaseState:
        state = await self._storage.change_lease(key, change, self._store.clock.now())
        self._signal.notify()
        return state
