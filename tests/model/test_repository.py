"""The repository against a plain model, under random interleavings of everything that can be done to sessions.

Several working copies of any age, two repositories on one SQLite file (one of them with hardly any cache), deletions
and new lives, lost answers of storage. After each step storage, a cached load and a fresh load have to agree with one
another and with the model (G2, G4, G5, G6, G7, G9). A program that fails is made short, and its token repeats it.
"""

from __future__ import annotations

import logging
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.model.steps import drawn, steps_of, token_of
from tests.model.worlds import WORLDS, DisagreementError, explore, repeat


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Storage fails on purpose here; nobody needs to read of it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(600)  # a failure takes its time to become short
@pytest.mark.parametrize("world", WORLDS)
def test_the_repository_does_what_the_model_does(world: str) -> None:
    """Whatever is done in whatever order: storage, caches and the model agree."""
    explore(world, settings.default.max_examples if settings.default else 100)


@pytest.mark.repeat
def test_the_program_of_a_token(pytestconfig: pytest.Config) -> None:
    """With `--repeat TOKEN` alone: what failed before is done again."""
    repeat(pytestconfig.getoption("--repeat"))


def test_a_token_stands_for_its_program() -> None:
    """Any program can be written down and read back, and is no longer than a line."""
    for number in range(100):
        steps = drawn(random.Random(number))
        assert steps_of(token_of("memory", steps)) == ("memory", steps)
        assert len(token_of("memory", steps[:20])) < 80


def test_a_failure_becomes_short_and_its_token_repeats_it() -> None:
    """A planted bug that needs an old session and two changes at once comes down to 20 steps or fewer, anywhere."""
    with pytest.raises(DisagreementError) as found:
        explore("forgetful", 1_000)
    assert len(found.value.steps) <= 20
    command = re.search(r"scripts/test (tests/model --repeat \S+)", str(found.value))
    assert command is not None
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", *command[1].split()],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == pytest.ExitCode.TESTS_FAILED, again.stdout
    assert str(found.value).splitlines()[-1].strip() in again.stdout
