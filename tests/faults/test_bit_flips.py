"""A flipped bit is noticed, or does no harm: never other data than was written, with a check that is content (G8).

In the log a flipped bit can't be told from a power cut: SQLite reads the log up to there. What is found then is an
earlier state of the store, whole and clean.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from tests.faults.damaged import Flip, Store, prepare, verdicts
from tests.power_cut.recovery import NAME, folder

LOG = f"{NAME}-wal"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """The files of a store with a little of everything."""
    with folder() as place:
        yield asyncio.run(prepare(place / NAME))


def _flips(store: Store, file: str, *, count: int | None, seed: int) -> list[Flip]:
    """Random bits; most of them in bytes that aren't empty space. `count=None`: one of each byte."""
    source = random.Random(seed)
    content = (store.killed if file == LOG else store.closed)[file]
    offsets: Iterable[int] = range(len(content))
    if count is not None:
        used = [offset for offset in offsets if content[offset] or source.random() < 0.05]
        offsets = sorted(source.sample(used, count))
    return [Flip(file, offset, source.randrange(8)) for offset in offsets]


def _counted(found: Iterable[tuple[Flip, str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for flip, verdict in found:
        assert verdict in {"harmless", "reported", "refused", "shortened"}, f"{flip}: {verdict}"
        counts[verdict] += 1
    return counts


def test_a_flipped_bit_is_noticed_or_harmless(store: Store) -> None:
    """Opening, reading or the check says so, or all sessions are read as they were written; no driver's error."""
    counts = _counted(verdicts(store.closed, _flips(store, NAME, count=700, seed=1)))
    assert counts["reported"] > 30
    assert counts["refused"] > 30


def test_a_flipped_bit_in_the_log_leaves_an_earlier_state(store: Store) -> None:
    """The log ends where its checksums do: what was committed before is there, whole, and nothing else."""
    counts = _counted(verdicts(store.killed, _flips(store, LOG, count=60, seed=2), store.states[:-1]))
    assert counts["shortened"] > 0


@pytest.mark.long
def test_a_flipped_bit_anywhere_is_noticed_or_harmless(store: Store) -> None:
    """Likewise for a bit of every byte of the file."""
    _counted(verdicts(store.closed, _flips(store, NAME, count=None, seed=3)))


@pytest.mark.long
def test_a_flipped_bit_anywhere_in_the_log_leaves_an_earlier_state(store: Store) -> None:
    """Likewise for a bit of every byte of the log."""
    _counted(verdicts(store.killed, _flips(store, LOG, count=None, seed=4), store.states[:-1]))
