"""What people type by mistake is answered so that they know at once what to do."""

import asyncio
import re

import pytest

from bamboo_sessions import BambooSessionsError
from tests.mistakes.table import MISTAKES, PAGE, Answer, answers, page

ROWS = [row for rows in MISTAKES.values() for row in rows]
FRAMES_MAX = 6
SENTENCES = range(1, 4)


@pytest.fixture(scope="module")
def told() -> dict[str, Answer | None]:
    """What is said to each mistake."""
    return asyncio.run(answers())


@pytest.mark.parametrize(("typed", "place"), ROWS, ids=[typed for typed, _ in ROWS])
def test_a_mistake_is_answered(told: dict[str, Answer | None], typed: str, place: str) -> None:
    """In one to three sentences, with the place and the remedy, and few frames of the package in the traceback."""
    answer = told[typed]
    assert answer is not None, "it was taken"
    assert isinstance(answer.error, BambooSessionsError | TypeError | AttributeError | IndexError)
    assert place in answer.text
    assert len(re.findall(r"[.!?](?=\s|$)", answer.text)) in SENTENCES
    if isinstance(answer.error, BambooSessionsError):
        assert answer.error.hint
        assert answer.error.code != "storage_corrupt"
    assert answer.frames <= FRAMES_MAX


def test_there_are_enough_mistakes() -> None:
    """At least eighty, each once."""
    assert len({typed for typed, _ in ROWS}) == len(ROWS) >= 80


def test_the_page_says_what_is_said() -> None:
    """The reference page is up to date."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run `.venv/bin/python -m tests.mistakes.table`"
