"""The twin of `StoreAdmin`. Written by `python -m tests.sync.generate`; don't edit it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.limits import PAGE_DEFAULT
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.repository.admin import StoreAdmin
from bamboo_sessions.storage.open import Durability
from bamboo_sessions.storage.port import Progress, SessionStorage
from bamboo_sessions.sync.blocks import iterated
from bamboo_sessions.sync.handles import SyncHandle


class SyncStoreAdmin(SyncHandle[StoreAdmin]):
    """`StoreAdmin` for programs without an event loop: the handle of a store's owner, with the same calls.

    What is said of `SyncSessionRepository` holds for it, too.
    """

    @classmethod
    def open(
        cls, url: str | Path | SessionStorage, *, durability: Durability = "full", clock: Clock = SYSTEM_CLOCK
    ) -> SyncStoreAdmin:
        """Open a store: `with SyncStoreAdmin.open(url) as store:`, or `close` it in the end.

        Arguments and errors are those of `SyncSessionRepository.open`.
        """
        return cls._opened(StoreAdmin.open(url, durability=durability, clock=clock))

    def namespaces(self) -> Iterator[str]:
        """All namespaces that have, or had, a session, in the order of code points."""
        return iterated(self._portal, self._inner.namespaces(), ahead=PAGE_DEFAULT)

    def check(self, *, repair: bool = False) -> CheckReport:
        """Look for what can't be right in the whole store: `SyncSessionRepository.check` for each namespace, and more.

        Only here what belongs to no namespace is looked at and mended: rows that nobody owns, the index of searches.

        Args:
            repair: See `SyncSessionRepository.check`.
        """
        return self._portal.call(self._inner.check(repair=repair))

    def backup(self, path: str | os.PathLike[str], *, on_progress: Progress | None = None) -> CheckReport:
        """Copy the whole store, as it is at one moment, into a new file, and check the copy.

        Writers and readers go on meanwhile. The copy is a store like any other: open it to read it, or put it in the
        place of the original. Until it is complete it is called `….partial`; an interrupted call removes that.

        Args:
            path: The new file; nothing is overwritten.
            on_progress: Called on the event loop, with the bytes that are written and those that there will be.

        Returns:
            What a check of the copy found. `ok` is false if the store is damaged; the copy is kept all the same.

        Raises:
            InputError: There is something of that name, or its folder isn't there; or the engine keeps no files, as
                `memory://`. StorageError: The copy can't be written; nothing is left of it.
        """
        return self._portal.call(
            self._inner.backup(path, on_progress=on_progress and self._portal.guarded(on_progress))
        )

    def stats(self) -> dict[str, int]:
        """Counters of the store: sessions, messages, bytes and so on, of all namespaces."""
        return self._portal.call(self._inner.stats())

    def prune_changes(self, *, older_than: timedelta) -> int:
        """Forget the oldest commits of the feed, of all namespaces; how many. Sessions aren't touched.

        In short transactions, so that writers hardly wait; an interrupted call has forgotten a part. Forgets up to the
        first commit that isn't older.

        Args:
            older_than: 24 hours at least: as long, commit ids settle unknown outcomes (G4).

        Raises:
            InputError: `older_than` is less, or more than a hundred years. StorageError.
        """
        return self._portal.call(self._inner.prune_changes(older_than=older_than))

    def purge_versions(self, *, older_than: timedelta) -> int:
        """Forget what messages said that were removed or edited longer ago, in all namespaces; how many versions.

        Living messages aren't touched. That the others were there is remembered: writing one of them again is a
        duplicate (G4). What can't be read or forked any more are revisions that had one of them
        (`MessageNotFoundError`). In short transactions, so that writers hardly wait; interrupted, it has purged a part.

        Args:
            older_than: Since when a version is removed, at least; not negative.

        Raises:
            InputError: `older_than` is no timedelta, negative, or more than a hundred years. StorageError.
        """
        return self._portal.call(self._inner.purge_versions(older_than=older_than))

    def start_epoch(self) -> str:
        """Refuse all feed positions that were given before, for ever; the position behind the newest commit.

        For restored stores: positions of lost commits are refused anyway, this refuses those of kept ones, too, so that
        all who subscribe read anew.
        """
        return self._portal.call(self._inner.start_epoch())
