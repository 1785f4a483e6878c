"""Times and ages as people type them: `2026-11-22`, `3d`, `12h`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final

import click

from bamboo_sessions.domain.clock import SYSTEM_CLOCK

_AGE: Final = re.compile(r"(\d{1,6})\s*(min|h|d|w)")
_UNITS: Final = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _age_in(text: str) -> timedelta | None:
    found = _AGE.fullmatch(text.strip())
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


class Age(click.ParamType[timedelta]):
    """How long: `30min`, `12h`, `3d`, `2w`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        """The age."""
        if isinstance(value, timedelta):
            return value
        if (age := _age_in(value)) is None:
            self.fail(f"{value!r} is no age: write 30min, 12h, 3d or 2w", param, ctx)
        return age


class Moment(click.ParamType[datetime]):
    """A time: `2026-11-22`, `2026-11-22T09:30` (local unless it names a zone), or how long ago: `12h`, `3d`, `2w`."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401
        """The time with its zone."""
        if isinstance(value, datetime):
            return value
        try:
            if (age := _age_in(value)) is not None:
                return SYSTEM_CLOCK.now() - age
            return datetime.fromisoformat(value.strip()).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write 2026-11-22, 2026-11-22T09:30, or 3d for three days ago", param, ctx)
