"""What became of calls, by their commit ids, for as long as somebody may ask again (G4)."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from bamboo_sessions.domain.limits import COMMIT_ID_HOURS_MIN

K = TypeVar("K")
V = TypeVar("V")

_KEPT: Final = timedelta(hours=COMMIT_ID_HOURS_MIN)


class Remembered(Generic[K, V]):
    """A dictionary that forgets what is too old: whenever something is added, and when the feed is pruned."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, tuple[datetime, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """What became of it; `None` if it isn't known."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def add(self, key: K, value: V, now: datetime) -> None:
        """Remember what became of it, unless that is known."""
        self._entries.setdefault(key, (now, value))
        self.forget(now)

    def forget(self, now: datetime, older_than: timedelta = _KEPT) -> None:
        """Forget the oldest; also those of a clock that was ahead."""
        while self._entries and abs(now - next(iter(self._entries.values()))[0]) > older_than:
            self._entries.popitem(last=False)
