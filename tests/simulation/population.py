"""Who lives in the world of a seed: the larger the seed, the more kinds of clients there may be."""

from __future__ import annotations

from typing import Final

from tests.simulation.clients import WHO, Who
from tests.simulation.editors import editor
from tests.simulation.janitors import janitor
from tests.simulation.recorders import recorder
from tests.simulation.retriers import retrier
from tests.simulation.runners import brancher, runner
from tests.simulation.subscribers import subscriber
from tests.simulation.world import CHAT, LIFE, LOG

RUNS_FROM: Final = 2**32
"""From this seed on there are runs under leases, subscribers, pauses and outages."""

UPKEEP_FROM: Final = 2**33
"""From this seed on the feed is pruned, epochs end, and runs go on in forks. What smaller seeds found is kept so."""

EDITS_FROM: Final = 2**34
"""From this seed on histories are reworked."""

LAG_FROM: Final = 2**35
"""From this seed on processes hear of one another late, as on a network."""

WORLDS: Final = (0, RUNS_FROM, UPKEEP_FROM, EDITS_FROM, LAG_FROM)
"""The first seed of each kind of world."""

_RUNS: Final[Who] = (
    (runner, (CHAT, CHAT, LIFE), 8),
    (subscriber, (LOG,), 5),
)
_UPKEEP: Final[Who] = (
    (brancher, (CHAT, CHAT, LIFE, LOG), 8),
    (subscriber, (LOG,), 4),
    (janitor, (LOG,), 5),
)
_EDITS: Final[Who] = (
    (editor, (CHAT, CHAT, CHAT, LIFE), 16),
    (recorder, (CHAT, LIFE), 4),
    (retrier, (CHAT, LIFE), 4),
)


def population(seed: int) -> Who:
    """The kinds of clients, and how often each is there."""
    later = ((RUNS_FROM, _RUNS), (UPKEEP_FROM, _UPKEEP), (EDITS_FROM, _EDITS))
    return (*WHO, *(who for first, others in later if seed >= first for who in others))
