"""Who lives in the world of a seed: the larger the seed, the more kinds of clients there may be."""

from __future__ import annotations

from typing import Final

from tests.simulation.clients import WHO, Who
from tests.simulation.janitors import janitor
from tests.simulation.runners import brancher, runner
from tests.simulation.subscribers import subscriber
from tests.simulation.world import CHAT, LIFE, LOG

RUNS_FROM: Final = 2**32
"""From this seed on there are runs under leases, subscribers, pauses and outages."""

UPKEEP_FROM: Final = 2**33
"""From this seed on the feed is pruned, epochs end, and runs go on in forks. What smaller seeds found is kept so."""

_RUNS: Final[Who] = (
    (runner, (CHAT, CHAT, LIFE), 8),
    (subscriber, (LOG,), 5),
)
_UPKEEP: Final[Who] = (
    (brancher, (CHAT, CHAT, LIFE, LOG), 8),
    (subscriber, (LOG,), 4),
    (janitor, (LOG,), 5),
)


def population(seed: int) -> Who:
    """The kinds of clients, and how often each is there."""
    return (*WHO, *(_RUNS if seed >= RUNS_FROM else ()), *(_UPKEEP if seed >= UPKEEP_FROM else ()))
