"""The table of lessons and the tests agree."""

from __future__ import annotations

from tests.lessons.table import named_tests, rows

HINT = "run `.venv/bin/python -m tests.lessons.table`"


def test_every_test_of_a_lesson_is_in_the_table_and_every_test_in_the_table_exists() -> None:
    """Each row names exactly the tests that carry its number, and each number that a test carries has a row."""
    table = {lesson: row.tests for lesson, row in rows().items() if row.tests is not None}
    assert {lesson: sorted(names) for lesson, names in table.items()} == named_tests(), HINT


def test_a_lesson_without_a_test_says_why() -> None:
    """A lesson either has at least one test or stands among those that don't apply yet, with a reason."""
    for lesson, row in rows().items():
        assert row.tests is None or row.tests, f"{lesson} has no test"
        assert row.elsewhere.endswith("."), lesson
        assert row.here.endswith("."), lesson


def test_the_lessons_stand_in_their_order() -> None:
    """Numbers rise within the table, and again within the list of those that don't apply yet."""
    for applies in (True, False):
        numbers = [int(lesson[1:]) for lesson, row in rows().items() if (row.tests is not None) == applies]
        assert numbers == sorted(numbers)
