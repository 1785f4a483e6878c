"""Which store a command works on, and how a command gets at it: one event loop, one open repository."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from bamboo_sessions.repository import SessionRepository, StoreAdmin
    from bamboo_sessions.storage.port import SessionStorage

T = TypeVar("T")

_NO_STORE: Final = (
    "Check --url, or $BAMBOO_SESSIONS_URL. `append --create`, `import` and `migrate` make a store where there is none."
)


def default_file() -> Path:
    """The SQLite file that is used when no URL is given."""
    from platformdirs import user_data_path

    return user_data_path("bamboo-sessions", appauthor=False) / "sessions.db"


class Store:
    """The store that the global options name. They may come in any order, so its parts can be set.

    Args:
        url: As given, or `None` for the file in the user's data folder.
        namespace: The tenant.
    """

    def __init__(self, url: str | None = None, namespace: str = "default") -> None:
        self.url = url
        self.namespace = namespace

    @property
    def location(self) -> str:
        """Where it is, for display."""
        return self.url if self.url is not None else str(default_file())

    @property
    def place(self) -> str:
        """Where sessions were looked for, for display: the store, and the namespace if it isn't the usual one."""
        return self.location + ("" if self.namespace == "default" else f", namespace {self.namespace!r}")

    def storage(self) -> SessionStorage:
        """The storage, not opened yet. Raises `InputError` if the URL can't be understood."""
        from bamboo_sessions.storage.open import storage_for

        if self.url is not None:
            return storage_for(self.url)
        from bamboo_sessions.storage.sqlite import SqliteStorage

        return SqliteStorage(default_file(), create_parents=True)

    def _storage_if_there(self) -> SessionStorage:
        """The storage, if it needn't be made. The one in the user's data folder is empty until somebody makes it."""
        storage = self.storage()
        path: Path | None = getattr(storage, "path", None)
        if path is None or path.exists():
            return storage
        if self.url is None:
            from bamboo_sessions.storage.memory import MemoryStorage

            return MemoryStorage()
        from bamboo_sessions.cli.failures import NOT_FOUND, CommandFailedError

        raise CommandFailedError(f"There is no store at {path}.", hint=_NO_STORE, exit_code=NOT_FOUND)

    def run(self, work: Callable[[SessionRepository], Awaitable[T]], *, creates: bool = False) -> T:
        """Do `work` with the open repository; it is closed afterwards, also after Ctrl-C.

        A file that isn't there is made only by commands that create sessions (`creates`). All others refuse a URL
        where nothing is: it may be mistyped, and an empty store would hide that.
        """
        from bamboo_sessions.repository import SessionRepository

        storage = self.storage() if creates else self._storage_if_there()

        async def session() -> T:
            async with SessionRepository.open(storage, namespace=self.namespace) as sessions:
                return await work(sessions)

        return asyncio.run(session())

    def run_as_owner(self, work: Callable[[StoreAdmin], Awaitable[T]], *, creates: bool = False) -> T:
        """As `run`, for what concerns all namespaces."""
        from bamboo_sessions.repository import StoreAdmin

        storage = self.storage() if creates else self._storage_if_there()

        async def session() -> T:
            async with StoreAdmin.open(storage) as store:
                return await work(store)

        return asyncio.run(session())
