"""Wakes those who wait: for a change of one session, or for a commit in one namespace.

Storage tells what it hears (`SessionStorage.listen`); this passes it on to those whom it concerns, and listens only
while there are any. Nothing is carried but "look again": what there is to see is read from storage, so a wake-up too
many costs a read. Whoever waits begins before it reads, so that nothing falls in between (L56).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.port import News, SessionStorage

Topic = SessionKey | str
"""What somebody waits for: a change of a session or its run lease, or a commit in a namespace."""


class Watch:
    """`with signal.session(key) as watch:` look, wait, look again. From `with` on no change is missed."""

    def __init__(self, signal: CommitSignal, topic: Topic) -> None:
        self._signal = signal
        self._topic = topic
        self._is_due = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._signal.begin(self, self._topic)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._signal.end(self, self._topic)

    async def wait(self, *, timeout_seconds: float | None = None) -> bool:
        """Wait until something may have changed since the beginning, or since the last wait ended.

        Args:
            timeout_seconds: `None` waits for ever.

        Returns:
            `False` if that took too long.

        Raises:
            StorageError: The repository was closed.
        """
        self._signal.check_open()
        if not self._is_due:
            self._future = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._future
            except TimeoutError:
                return False
            finally:
                self._future = None
        self._is_due = False
        self._signal.check_open()
        return True

    def wake(self) -> None:
        """Let it look again."""
        self._is_due = True
        if self._future is not None and not self._future.done() and not self.is_stranded:
            self._future.set_result(None)

    @property
    def is_stranded(self) -> bool:
        """Whether the event loop that it waits in was closed, so that it will never end by itself."""
        return self._loop is not None and self._loop.is_closed()


class CommitSignal:
    """Passes on what storage hears to those who wait for it.

    Args:
        storage: Whose news.
    """

    def __init__(self, storage: SessionStorage) -> None:
        self._storage = storage
        self._watches: dict[Topic, dict[Watch, None]] = {}
        self._stop: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = True

    def session(self, key: SessionKey) -> Watch:
        """For whoever waits for a change of this session, a change of its run lease included."""
        return Watch(self, key)

    def feed(self, namespace: str) -> Watch:
        """For whoever waits for a commit in this namespace."""
        return Watch(self, namespace)

    def open(self) -> None:
        """Let waiting begin again after `close`."""
        self._is_open = True

    def close(self) -> None:
        """End all waiting, now and later, with a `StorageError`: nobody would be told of anything any more."""
        self._is_open = False
        self._wake_all()

    def check_open(self) -> None:
        """Raise `StorageError` after `close`."""
        if not self._is_open:
            message = "The repository was closed while somebody waited for changes."
            raise StorageError(message, hint="Open it, and go on.")

    @property
    def is_waiting(self) -> bool:
        """Whether anybody waits."""
        return bool(self._watches)

    # --- for watches

    def begin(self, watch: Watch, topic: Topic) -> None:
        """Wake `watch` from now on when something happens to `topic`."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # one event loop after another; the one before can't hear any more
            self._leave_behind()
            self._rest()
        self._watches.setdefault(topic, {})[watch] = None
        if self._stop is None:
            self._loop = loop
            self._stop = self._storage.listen(self._hear)

    def end(self, watch: Watch, topic: Topic) -> None:
        """Wake it no more."""
        watches = self._watches.get(topic, {})
        watches.pop(watch, None)
        if not watches:
            self._watches.pop(topic, None)
        if not self._watches:
            self._rest()

    def _hear(self, news: News) -> None:
        if news.key is None:
            self._wake_all()
            return
        for topic in (news.key, news.key.namespace) if news.has_commit else (news.key,):
            for watch in list(self._watches.get(topic, ())):
                watch.wake()

    def _wake_all(self) -> None:
        for watches in list(self._watches.values()):
            for watch in list(watches):
                watch.wake()

    def _leave_behind(self) -> None:
        """Forget those who wait in a closed event loop: they would keep the others from being told."""
        for topic, watches in list(self._watches.items()):
            for watch in list(watches):
                if watch.is_stranded:
                    self.end(watch, topic)

    def _rest(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
