"""The tests that are named after lessons, and the table of lessons in the documentation.

`python -m tests.lessons.table` writes the names of the tests into the table; `test_table.py` checks that they agree.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "explanation" / "lessons.md"
CONFORMANCE: Final = ROOT / "src" / "bamboo_sessions" / "testing" / "conformance"

_TEST: Final = re.compile(r"def (test_(L\d+)_\w+)\(")
_ROW: Final = re.compile(r"^\| (L\d+) \| (.+) \|$")


class Row(NamedTuple):
    """A lesson: what goes wrong elsewhere, what prevents it here, and the tests (`None`: not applicable yet)."""

    elsewhere: str
    here: str
    tests: list[str] | None


def named_tests() -> dict[str, list[str]]:
    """The names of all tests that are named after a lesson."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for folder in (ROOT / "tests", CONFORMANCE):
        for path in folder.rglob("*.py"):
            for name, lesson in _TEST.findall(path.read_text(encoding="utf-8")):
                found[lesson].add(name)
    return {lesson: sorted(names) for lesson, names in found.items()}


def rows() -> dict[str, Row]:
    """The rows of the tables, by lesson."""
    result: dict[str, Row] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := _ROW.match(line):
            cells = match[2].split(" | ")
            assert match[1] not in result, f"{match[1]} has two rows"
            tests = re.findall(r"`(test_L\w+)`", cells[2]) if len(cells) > 2 else None
            result[match[1]] = Row(cells[0], cells[1], tests)
    return result


def write() -> None:
    """Write the names of the tests into the table."""
    tests = named_tests()
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        match = _ROW.match(line)
        if match and match[2].count(" | ") == 2:
            names = "<br>".join(f"`{name}`" for name in tests.get(match[1], []))
            lines[index] = f"| {match[1]} | {match[2].rpartition(' | ')[0]} | {names} |"
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
