"""`LaggingStorage`: one host's way to a lagging database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.storage.commit import SessionKey, State
from bamboo_sessions.storage.port import Hear, News
from bamboo_sessions.storage.query import FeedPage, Window, WindowQuery
from bamboo_sessions.testing.faults import FaultyStorage
from bamboo_sessions.testing.lagging.database import LaggingDatabase, Notification

T = TypeVar("T")
S = TypeVar("S", bound=SessionHead | Snapshot | Tombstone | Window | None)

_STEPS_MAX: Final = 3
"""Turns of other tasks on the way to the database, and on the way back."""

_NEWS: Final = News(None, has_commit=True)


class LaggingStorage(FaultyStorage):
    """Made by `LaggingDatabase.connect`; see the package for what goes wrong."""

    def __init__(self, database: LaggingDatabase) -> None:
        super().__init__(database.engine)
        self.is_exact = False  # type: ignore[misc] # not that of the engine behind
        self.database = database
        self._heard: dict[SessionKey, tuple[int, bool]] = {}
        self.connection = 0
        """How often the connection was lost."""
        self._listeners: dict[object, Hear] = {}

    # --- what this host has heard

    def still_newest(self, key: SessionKey, revision: int, token: int | None) -> int | None:
        """As far as this host has heard; it knows nothing of sessions that it hasn't read, written or been told of."""
        if self._due("still_newest"):
            return None
        return self.connection if self._heard.get(key) == (revision, True) else None

    def listen(self, hear: Hear) -> Callable[[], None]:
        """Tell of notifications."""
        listener = object()
        self._listeners[listener] = hear

        def stop() -> None:
            self._listeners.pop(listener, None)

        return stop

    def hear(self, notification: Notification) -> None:
        """A notification arrives."""
        if notification.news.key is not None:
            self._know(notification.news.key, notification.revision, lives=notification.lives)
        self._tell(notification.news)

    def lose_connection(self) -> None:
        """The host notices that it was deaf for a while: it knows nothing any more, and anything may have happened."""
        self.connection += 1
        self._heard.clear()
        self._tell(_NEWS)

    def _know(self, key: SessionKey, revision: int, *, lives: bool) -> None:
        if revision >= self._heard.get(key, (0, True))[0]:
            self._heard[key] = (revision, lives)

    def _tell(self, news: News) -> None:
        for hear in list(self._listeners.values()):
            hear(news)

    # --- calls: what is read and written is known, unless the connection was lost meanwhile

    async def read(self, key: SessionKey) -> State:
        """Pass on, and know the session."""
        return await self._knowing(key, super().read(key))

    async def read_newer(self, key: SessionKey, known: Snapshot) -> State:
        """Pass on, and know the session."""
        return await self._knowing(key, super().read_newer(key, known))

    async def read_head(self, key: SessionKey) -> SessionHead | Tombstone | None:
        """Pass on, and know the session."""
        return await self._knowing(key, super().read_head(key))

    async def read_window(self, key: SessionKey, query: WindowQuery) -> Window | Tombstone | None:
        """Pass on, and know the session, unless it was a window of an older revision."""
        window = super().read_window(key, query)
        return await (self._knowing(key, window) if query.at_revision is None else window)

    async def read_changes(self, namespace: str, after: str | None, limit: int) -> FeedPage:
        """Pass on, and know the sessions that are told of (L55)."""
        connection = self.connection
        page = await super().read_changes(namespace, after, limit)
        for change in page.changes if connection == self.connection else ():
            self._know(SessionKey(namespace, change.session_id), change.revision, lives="deleted" not in change.kinds)
        return page

    async def _knowing(self, key: SessionKey, call: Awaitable[S]) -> S:
        connection = self.connection
        state = await call
        if state is not None and connection == self.connection:
            self._know(key, state.revision, lives=not isinstance(state, Tombstone))
        return state

    async def _do(self, call: str, work: Callable[[], Awaitable[T]]) -> T:
        await self._travel()
        try:
            return await super()._do(call, lambda: self._at_the_database(work))
        finally:
            await self._travel()

    async def _travel(self) -> None:
        for _ in range(self.database.chance.randint(0, _STEPS_MAX)):
            await asyncio.sleep(0)

    async def _at_the_database(self, work: Callable[[], Awaitable[T]]) -> T:
        """The engine works in one step, so nobody else's call is under way meanwhile."""
        self.database.origin = self
        try:
            return await work()
        finally:
            self.database.origin = None
