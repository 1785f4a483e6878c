"""Simulations: random clients in several processes on one storage that is slow, fails and loses answers.

`python -m tests.simulation.run SEED` repeats one. Seeds that found something belong into `seeds.txt`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulation.linearizability import Span, is_linearizable
from tests.simulation.loop import SimulatedLoop, StuckError, process
from tests.simulation.population import RUNS_FROM, WORLDS
from tests.simulation.reached import BRANCHES, missing
from tests.simulation.run import Outcome, simulate

HERE = Path(__file__).parent
SECONDS = 4
LONG_SEEDS = 2_500


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failures are made on purpose here; nobody needs to read of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _known() -> list[int]:
    lines = (HERE / "seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("seed", _known())
def test_seeds_that_found_something(seed: int) -> None:
    """What was wrong once stays mended."""
    outcome = simulate(seed)
    assert not outcome.findings, str(outcome)


@pytest.mark.parametrize("first", WORLDS)
def test_as_many_seeds_as_time_allows(first: int, record_property: Callable[[str, object], None]) -> None:
    """G2, G3, G5 to G7, G9 to G13 hold in worlds that nobody thought of: others each time, and a failure names its."""
    chance = random.SystemRandom()
    begun = time.monotonic()
    reached: Counter[str] = Counter(dict.fromkeys(BRANCHES, 0))
    while time.monotonic() - begun < SECONDS:
        outcome = simulate(first + chance.randrange(RUNS_FROM))
        assert not outcome.findings, str(outcome)
        reached.update(outcome.reached)
    record_property("reached", dict(reached))


@pytest.mark.long
@pytest.mark.parametrize("first", WORLDS)
@pytest.mark.parametrize("tenth", range(10))
def test_thousands_of_seeds(first: int, tenth: int) -> None:
    """The same, always with the same seeds."""
    for seed in range(first + tenth, first + LONG_SEEDS, 10):
        outcome = simulate(seed)
        assert not outcome.findings, str(outcome)


@pytest.mark.long
def test_every_branch_is_reached_sometimes() -> None:
    """What the simulation never gets to it proves nothing about: merge, takeover, retry, settle and recovery."""
    reached: Counter[str] = Counter()
    for number in range(LONG_SEEDS):
        for first in WORLDS:
            reached.update(simulate(first + number).reached)
        if not missing(reached):
            break
    assert not missing(reached)


@pytest.mark.parametrize("first", WORLDS)
def test_a_seed_can_be_repeated(first: int) -> None:
    """The same seed does the same, step by step; another one something else; so in another process, too."""
    seed = first + 1
    one, again, other = simulate(seed), simulate(seed), simulate(seed + 1)
    assert (one.trace, one.history) == (again.trace, again.history)
    assert one.trace != other.trace
    code = f"from tests.simulation.run import simulate; print(simulate({seed}).trace)"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(HERE.parent.parent)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert printed.decode().strip() == one.trace


def test_a_failure_names_the_command_that_repeats_it() -> None:
    """Whoever reads a failure can copy the command."""
    assert "python -m tests.simulation.run 5" in str(Outcome(5, ("wrong",), (), 0, 0.0, ""))


def test_branches_are_counted() -> None:
    """A world that is known to get somewhere tells so, and what no world got to is named."""
    outcome = simulate(_known()[0])
    assert outcome.reached["commit: conflict"]
    assert set(missing(outcome.reached)) == set(BRANCHES) - set(+Counter(outcome.reached))
    assert set(outcome.reached) <= set(BRANCHES)


# --- the loop


def test_time_jumps_to_the_next_timer() -> None:
    """An hour of waiting takes no time, and the clock of the loop shows it."""
    loop = SimulatedLoop(0)
    loop.run_until_complete(asyncio.sleep(3_600))  # noqa: TID251 - simulated time
    assert loop.time() == 3_600
    loop.close()


def test_who_waits_for_ever_is_found() -> None:
    """A future that nobody ever settles ends the simulation with an error, in place of hanging."""
    loop = SimulatedLoop(0)
    waiting = loop.create_task(_wait(loop.create_future()))
    with pytest.raises(StuckError):
        loop.run_until_complete(waiting)
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    loop.close()


def test_a_crashed_process_stops_where_it_is() -> None:
    """Nothing of a crashed process runs any more, not even a `finally`; others go on."""
    loop = SimulatedLoop(0)
    seen: list[str] = []

    async def victim() -> None:
        process.set("victim")
        try:
            await asyncio.sleep(1)  # noqa: TID251 - simulated time
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        task = loop.create_task(victim())
        await asyncio.sleep(0.5)  # noqa: TID251 - simulated time
        loop.crash("victim")
        await asyncio.sleep(10)  # noqa: TID251 - simulated time
        assert not seen
        assert not task.done()
        await loop.bury()

    loop.run_until_complete(main())
    assert "went on" not in seen
    loop.close()


def test_a_paused_process_goes_on_as_if_nothing_had_happened() -> None:
    """What a process would have done in its pause it does afterwards; to itself it seems that time has jumped."""
    loop = SimulatedLoop(0)
    woken: list[float] = []

    async def sleeper() -> None:
        process.set("sleeper")
        await asyncio.sleep(1)  # noqa: TID251 - simulated time
        woken.append(loop.time())

    async def main() -> None:
        task = loop.create_task(sleeper())
        await asyncio.sleep(0.5)  # noqa: TID251 - simulated time
        loop.pause("sleeper", 10)
        await asyncio.sleep(5)  # noqa: TID251 - simulated time
        assert not woken
        await task

    loop.run_until_complete(main())
    loop.close()
    assert woken == [10.5]


async def _wait(future: asyncio.Future[None]) -> None:
    await future


# --- the check of orders


def _register(state: int, action: object) -> int | None:
    assert isinstance(action, tuple)
    what, value = action
    if what == "read":
        return state if state == value else None
    return int(value)


def test_an_order_is_found_where_there_is_one() -> None:
    """Overlapping operations may have happened either way round; a lost one at any time, or never."""
    both = [Span(("write", 1), 1, 10), Span(("read", 0), 2, 3), Span(("read", 1), 4, 5)]
    assert is_linearizable(both, 0, _register)
    lost = [Span(("write", 1), 1, None), Span(("read", 0), 20, 30), Span(("read", 1), 40, 50)]
    assert is_linearizable(lost, 0, _register)
    assert is_linearizable(lost[:2], 0, _register)


def test_there_is_no_order_for_a_read_that_goes_back() -> None:
    """A stale read, a lost write and an answer from nowhere are told."""
    stale = [Span(("write", 1), 1, 2), Span(("read", 0), 3, 4)]
    assert is_linearizable(stale, 0, _register) is False
    back = [Span(("write", 1), 1, 10), Span(("read", 1), 2, 3), Span(("read", 0), 4, 5)]
    assert is_linearizable(back, 0, _register) is False
    nowhere = [Span(("read", 7), 1, 2)]
    assert is_linearizable(nowhere, 0, _register) is False
