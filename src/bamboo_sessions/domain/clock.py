"""Time: the one place that asks the machine what time it is.

Everything else gets a `Clock` handed in, so that tests can move time. Stored times are whole microseconds UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from bamboo_sessions.domain.errors import InputError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> datetime:
        """The present time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present time, aware, in UTC."""
        return datetime.now(UTC)


SYSTEM_CLOCK: Final = SystemClock()


def now() -> datetime:
    """The machine's present time: the default of fields that nobody set."""
    return datetime.now(UTC)


def to_micros(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC. Exact: no float is involved (L88)."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time of `micros` microseconds since 1970."""
    return EPOCH + micros * MICROSECOND


def utc(moment: datetime, *, what: str) -> datetime:
    """`moment` in UTC; raises `InputError` if it has no time zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        message = f"{what} must be a datetime with a time zone, not {moment!r}."
        raise InputError(message, hint="Use datetime.now(timezone.utc), or set tzinfo.")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        message = f"{what} is out of range: {moment!r}."
        raise InputError(message, hint="UTC begins with the year 1 and ends with the year 9999.") from exc
