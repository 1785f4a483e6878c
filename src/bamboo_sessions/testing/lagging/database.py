"""The database behind lagging storages, and its notifications."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.storage.memory import MemoryStorage
from bamboo_sessions.storage.memory.session import StoredSession
from bamboo_sessions.storage.port import News
from bamboo_sessions.testing.lagging.feed import LaggingFeed

if TYPE_CHECKING:
    from bamboo_sessions.testing.lagging.storage import LaggingStorage

_LOST: Final = 0.1
"""How often a notification doesn't come."""

_TWICE: Final = 0.1
"""How often one comes twice."""


class Notification(NamedTuple):
    """What a host is told: what changed, the session's revision by then, and whether it lives."""

    news: News
    revision: int = 0
    lives: bool = True


class Engine(MemoryStorage):
    """The engine in memory, which tells revisions with its news."""

    def notification(self, news: News) -> Notification:
        """What hosts are told of this."""
        stored = self._contents.sessions[news.key] if news.key is not None else None
        if stored is None:
            return Notification(news)
        if isinstance(stored, StoredSession):
            return Notification(news, stored.head.revision)
        return Notification(news, stored.revision, lives=False)

    def use_feed(self, feed: LaggingFeed) -> None:
        """Log commits in this feed."""
        self._contents.feed = feed


class LaggingDatabase:
    """What all hosts share.

    Args:
        seed: Decides which notifications are late, lost or doubled.
        delay_seconds_max: How late a notification may be; `None`: it waits for `deliver`.
        feed_delay_seconds_max: How late a commit may be seen in the feed; `None`: it waits for `deliver`; 0: at once,
            in the order of the commits.
        clock: The database's own time.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        delay_seconds_max: float | None = 0.005,
        feed_delay_seconds_max: float | None = 0.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.chance = random.Random(f"lagging {seed}")
        self.engine = Engine(clock=clock)
        self.feed = LaggingFeed(self.chance, feed_delay_seconds_max)
        self.engine.use_feed(self.feed)
        self.origin: LaggingStorage | None = None
        """The host whose call the database works on."""
        self._delay_seconds_max = delay_seconds_max
        self._hosts: list[LaggingStorage] = []
        self._waiting: list[Callable[[], None]] = []
        self.engine.listen(self._notify)

    def connect(self) -> LaggingStorage:
        """The storage of another host."""
        from bamboo_sessions.testing.lagging.storage import LaggingStorage

        host = LaggingStorage(self)
        self._hosts.append(host)
        return host

    def deliver(self) -> None:
        """Let all notifications arrive that wait for it, and all commits be seen in the feed."""
        self.feed.show_all()
        waiting, self._waiting = self._waiting, []
        for arrive in waiting:
            arrive()

    def _notify(self, news: News) -> None:
        notification = self.engine.notification(news)
        for host in self._hosts:
            if host is self.origin:
                host.hear(notification)
            else:
                self._send(host, notification)

    def _send(self, host: LaggingStorage, notification: Notification) -> None:
        connection = host.connection

        def arrive() -> None:
            if host.connection == connection:  # what is under way when a connection is lost is lost with it
                host.hear(notification)

        if self._delay_seconds_max is None:
            self._waiting.append(arrive)
            return
        fate = self.chance.random()
        if fate < _LOST:
            self._later(host.lose_connection)
            return
        self._later(arrive)
        if fate > 1 - _TWICE:
            self._later(arrive)

    def _later(self, arrive: Callable[[], None]) -> None:
        delay = self.chance.random() * (self._delay_seconds_max or 0)
        asyncio.get_running_loop().call_later(delay, arrive)
