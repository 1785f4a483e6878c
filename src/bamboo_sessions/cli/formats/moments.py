"""Times in conversations of others: ISO text, or seconds, milliseconds or microseconds since 1970, by three names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from bamboo_sessions.domain.clock import utc
from bamboo_sessions.domain.errors import InputError

CREATED_AT: Final = "created_at"
KEYS: Final = (CREATED_AT, "timestamp", "create_time")
_MILLISECONDS_FROM: Final = 1e11
_MICROSECONDS_FROM: Final = 1e14
"""Numbers from here on can't be seconds, or milliseconds, of an age that has agents."""


def moment_in(item: dict[str, Any]) -> datetime | None:
    """The time that `item` says it was made at; a text without a zone is UTC. `None`: none that can be understood."""
    for key in KEYS:
        value = item.get(key)
        try:
            if isinstance(value, str):
                moment = datetime.fromisoformat(value)
                return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC), what=key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return utc(datetime.fromtimestamp(_seconds(value), UTC), what=key)
        except (ValueError, OverflowError, OSError, InputError):
            continue
    return None


def _seconds(value: float) -> float:
    if value >= _MICROSECONDS_FROM:
        return value / 1e6
    return value / 1e3 if value >= _MILLISECONDS_FROM else value


def has_moment(item: dict[str, Any]) -> bool:
    """Whether `item` has a key for a time, whatever is in it."""
    return not item.keys().isdisjoint(KEYS)


def text_of(moment: datetime) -> str:
    """A time as it is written."""
    return moment.isoformat().replace("+00:00", "Z")
