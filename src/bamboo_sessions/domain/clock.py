"""Time: the one place that asks the machine what time it is.

Everything else gets a `Clock` handed in, so that tests can move time. Stored times are whole microseconds UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Final, Protocol

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.limits import TIME_YEAR_MAX, TIME_YEAR_MIN

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
TIME_MIN: Final = datetime(TIME_YEAR_MIN, 1, 1, tzinfo=UTC)
TIME_MAX: Final = datetime(TIME_YEAR_MAX + 1, 1, 1, tzinfo=UTC)


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


def utc(moment: object, *, what: str, error: type[InputError] = InputError) -> datetime:
    """`moment` in UTC, as a plain `datetime`: an aware one, seconds since 1970, or ISO 8601 with a zone.

    Raises `error`, which names `what`, if it has no time zone, or can't be stored.
    """
    given = moment
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        moment = _from_seconds(moment)
    elif isinstance(moment, str):
        moment = _from_text(moment)
    if type(moment) is datetime and moment.tzinfo is UTC and TIME_MIN <= moment < TIME_MAX and not moment.fold:
        return moment
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        message = f"{what} must be a datetime with a time zone, not {given!r}."
        raise error(message, hint="Use datetime.now(timezone.utc), or set tzinfo.")
    if not TIME_MIN <= moment < TIME_MAX:
        shown = given.isoformat() if isinstance(given, datetime) else repr(given)
        is_number = isinstance(given, int | float)
        hint = "Divide milliseconds by 1000." if is_number else "Leave out a time that isn't known."
        message = f"{what} must be in the years {TIME_YEAR_MIN} to {TIME_YEAR_MAX} (UTC), not {shown}."
        raise error(message, hint=hint)
    at = moment.astimezone(UTC)
    if type(at) is not datetime:
        at = datetime.combine(at.date(), at.time(), UTC)
    return at.replace(fold=0)


def _from_seconds(seconds: float) -> datetime | None:
    """The time so many seconds after 1970; one that is out of range if no `datetime` can hold it."""
    if isnan(seconds):
        return None
    try:
        return EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return TIME_MAX


def _from_text(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
