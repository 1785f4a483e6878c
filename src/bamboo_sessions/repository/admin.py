"""`StoreAdmin`: what concerns all namespaces of a store at once, and so belongs to the store's owner (L130).

No handle of a namespace gives one away: whoever opened the store makes it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from bamboo_sessions.coordination.cache import SessionCache
from bamboo_sessions.coordination.locked_store import LockedSessionStore
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.limits import AGE_DAYS_MAX, COMMIT_ID_HOURS_MIN, FEED_PRUNE_ROWS_MAX, PURGED_VERSIONS_MAX
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.repository.bound import Bound, tiers_of
from bamboo_sessions.repository.checking import checked
from bamboo_sessions.repository.opening import Opening
from bamboo_sessions.storage.open import Durability, storage_for
from bamboo_sessions.storage.port import Progress, SessionStorage


class StoreAdmin:
    """The handle of a store's owner. Sessions are written and read through a `SessionRepository`, which is a tenant's.

    Usually made by `StoreAdmin.open(url)`; both kinds of handle may have one store open at the same time. By hand it
    takes a storage that is open, as a server does that has opened one for its tenants; who opened it closes it.

    Args:
        storage: The durable tier.
        clock: Where times come from.
    """

    def __init__(self, storage: SessionStorage, *, clock: Clock = SYSTEM_CLOCK) -> None:
        cache = SessionCache()
        self._tiers = tiers_of(cache, storage, LockedSessionStore(storage, cache, clock=clock))
        self._storage = storage
        self._clock = clock

    @classmethod
    def open(
        cls, url: str | Path | SessionStorage, *, durability: Durability = "full", clock: Clock = SYSTEM_CLOCK
    ) -> Opening[StoreAdmin]:
        """Open a store: `async with StoreAdmin.open(url) as store:`, or `await` it and `aclose` it.

        Arguments and errors are those of `SessionRepository.open`.
        """
        return Opening(cls(storage_for(url, durability=durability, clock=clock), clock=clock))

    async def namespaces(self) -> AsyncIterator[str]:
        """All namespaces that have, or had, a session, in the order of code points."""
        name = await self._storage.next_namespace(None)
        while name is not None:
            yield name
            name = await self._storage.next_namespace(name)

    async def check(self, *, repair: bool = False) -> CheckReport:
        """Look for what can't be right in the whole store: `SessionRepository.check` for each namespace, and more.

        Only here what belongs to no namespace is looked at and mended: rows that nobody owns, the index of searches.

        Args:
            repair: See `SessionRepository.check`.
        """
        parts = [Bound(self._tiers, name) async for name in self.namespaces()]
        return await checked(self._storage, None, parts, repair=repair)

    async def backup(self, path: str | os.PathLike[str], *, on_progress: Progress | None = None) -> CheckReport:
        """Copy the whole store, as it is at one moment, into a new file, and check the copy.

        Writers and readers go on meanwhile. The copy is a store like any other: open it to read it, or put it in the
        place of the original. Until it is complete it is called `….partial`; a cancelled call removes that.

        Args:
            path: The new file; nothing is overwritten.
            on_progress: Called on the event loop, with the bytes that are written and those that there will be.

        Returns:
            What a check of the copy found. `ok` is false if the store is damaged; the copy is kept all the same.

        Raises:
            InputError: There is something of that name, or its folder isn't there; or the engine keeps no files, as
                `memory://`. StorageError: The copy can't be written; nothing is left of it.
        """
        return await self._storage.backup(Path(path), on_progress=on_progress)

    async def stats(self) -> dict[str, int]:
        """Counters of the store: sessions, messages, bytes and so on, of all namespaces."""
        return dict(await self._storage.stats())

    async def prune_changes(self, *, older_than: timedelta) -> int:
        """Forget the oldest commits of the feed, of all namespaces; how many. Sessions aren't touched.

        In short transactions, so that writers hardly wait; a cancelled call has forgotten a part. Forgets up to the
        first commit that isn't older.

        Args:
            older_than: 24 hours at least: as long, commit ids settle unknown outcomes (G4).

        Raises:
            InputError: `older_than` is less, or more than a hundred years. StorageError.
        """
        if not _is_age(older_than) or older_than < timedelta(hours=COMMIT_ID_HOURS_MIN):
            message = f"The feed is kept for {COMMIT_ID_HOURS_MIN} hours at least; older_than is {older_than!r}."
            raise InputError(message, hint=f"Use timedelta(hours={COMMIT_ID_HOURS_MIN}) or more; nothing was pruned.")
        total = 0
        while True:
            pruned = await self._storage.prune_changes(older_than, limit=FEED_PRUNE_ROWS_MAX)
            total += pruned
            if pruned < FEED_PRUNE_ROWS_MAX:
                return total

    async def purge_versions(self, *, older_than: timedelta) -> int:
        """Forget what messages said that were removed or edited longer ago, in all namespaces; how many versions.

        Living messages aren't touched. That the others were there is remembered: writing one of them again is a
        duplicate (G4). What can't be read or forked any more are revisions that had one of them
        (`MessageNotFoundError`). In short transactions, so that writers hardly wait; cancelled, it has purged a part.

        Args:
            older_than: Since when a version is removed, at least; not negative.

        Raises:
            InputError: `older_than` is no timedelta, negative, or more than a hundred years. StorageError.
        """
        if not _is_age(older_than):
            message = f"older_than is {older_than!r}, which is no age."
            raise InputError(message, hint="Use a timedelta, such as timedelta(days=30); nothing was purged.")
        before = self._clock.now() - older_than
        total = 0
        while purged := await self._storage.purge_versions(before, PURGED_VERSIONS_MAX):
            total += purged
        return total

    async def start_epoch(self) -> str:
        """Refuse all feed positions that were given before, for ever; the position behind the newest commit.

        For restored stores: positions of lost commits are refused anyway, this refuses those of kept ones, too, so that
        all who subscribe read anew.
        """
        return await self._storage.start_epoch()

    async def aclose(self) -> None:
        """Let the store go."""
        await self._tiers.aclose()

    async def __aenter__(self) -> Self:
        """Open the storage if it isn't."""
        await self._tiers.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()


def _is_age(older_than: object) -> bool:
    """Whether it is an age that clocks can count back by."""
    return isinstance(older_than, timedelta) and timedelta() <= older_than <= timedelta(days=AGE_DAYS_MAX)
