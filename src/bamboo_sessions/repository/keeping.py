"""Keeping a copy of a store."""

from __future__ import annotations

import os
from pathlib import Path

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.repository.bound import Handle
from bamboo_sessions.storage.port import Progress


async def backup(self: Handle, path: str | os.PathLike[str], *, on_progress: Progress | None = None) -> CheckReport:
    """As `StoreAdmin.backup`, for a store that has no other namespace.

    Raises:
        InputError: Others keep sessions in this store, too; or as `StoreAdmin.backup`. StorageError.
    """
    storage, name = self._bound.storage, None
    while (name := await storage.next_namespace(name)) is not None:
        if name != self._bound.namespace:
            message = f"The store has sessions of other namespaces than {self._bound.namespace!r}."
            raise InputError(
                message, hint="StoreAdmin.open(url) gives the owner's handle, which backs up the whole store."
            )
    return await storage.backup(Path(path), on_progress=on_progress)
