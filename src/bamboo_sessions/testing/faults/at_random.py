"""Faults by chance: the same seed draws the same ones."""

from __future__ import annotations

import random
from typing import Final

from bamboo_sessions.domain.errors import StorageError
from bamboo_sessions.testing.faults.calls import SYNCHRONOUS, WRITES, checked
from bamboo_sessions.testing.faults.fault import Fault, Pause

_PAUSE_STEPS_MAX: Final = 5


class AtRandom:
    """Draws faults from a seeded source."""

    def __init__(
        self,
        source: random.Random,
        chance: float,
        calls: frozenset[str],
        errors: tuple[type[StorageError], ...],
    ) -> None:
        for call in calls:
            checked(call)
        self._source = source
        self._chance = chance
        self._calls = calls
        self._errors = errors

    def draw(self, call: str) -> list[Fault]:
        """The faults that strike this call: at most one."""
        if call not in self._calls or self._source.random() >= self._chance:
            return []
        after = self._source.random() < 0.5
        if call not in SYNCHRONOUS and self._source.random() < 0.3:
            return [Pause(self._source.randint(1, _PAUSE_STEPS_MAX), after=after)]
        lost = call in WRITES and not after and self._source.random() < 0.3
        error = self._source.choice(self._errors)
        return [Fault(call, error, nth=1, times=1, after=after, unknown=True if lost else None)]
