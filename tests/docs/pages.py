"""The project's own documents, taken apart: fenced blocks, tables, headings, links.

The conventions that the tests in this folder hold the documents to:

- All ```` ```python ```` blocks of a page run, top to bottom, in one namespace with top-level `await`: in an empty
  folder, and in one where all pages ran before. They can be pasted into a console that reads line by line, so a blank
  line ends an indented block, and stands nowhere inside. ```` ```python no-run ```` is left out, and ````
  ```python needs-agents ```` where there is no module `agents`.
- An ```` ```output ```` block is what the Python block before it prints; `…` stands for anything, and one time of day
  is as good as another.
- A ```` ```console ```` block whose commands (`$ …`) are the project's runs in the same folder; what follows a command
  is what it prints, likewise. ```` ```console no-run ```` is left out.
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(`{3,})(\S*)(.*)$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its language, the words behind that, its text, and the line that the text begins on."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def runs(self) -> bool:
        """Whether the tests run it, where they run."""
        needed = [word.removeprefix("needs-") for word in self.words if word.startswith("needs-")]
        return "no-run" not in self.words and all(map(find_spec, needed))


def pages() -> list[Path]:
    """Every document of the project."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), ROOT / "examples" / "README.md"]


def name_of(page: Path) -> str:
    """The page's path, counted from the project's root."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    fence, info, start = "", "", 0
    text: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if not fence and match:
            fence, info, start, text = match[1], match[2] + match[3], number + 1, []
        elif fence and line.strip() == fence:
            language, *words = info.split() or [""]
            found.append(Block(language, tuple(words), "\n".join(text), start))
            fence = ""
        elif fence:
            text.append(line)
    assert not fence, f"{name_of(page)}: the block of line {start} never ends"
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of the page's links."""
    return _LINK.findall(re.sub(r"`[^`]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as code hosting sites make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def rows(page: Path) -> Iterator[list[str]]:
    """The rows of all tables of a page, cell by cell, without the backticks around a cell."""
    for line in prose(page).splitlines():
        if line.startswith("|") and not set(line) <= set("|-: "):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            yield [cell.strip().strip("`") for cell in cells]


def matches(wanted: str, actual: str) -> bool:
    """Whether `actual` is what a document shows; `…` stands for anything, spaces at line ends don't count."""
    pattern = ".*?".join(re.escape(part) for part in _tidy(wanted).split("…"))
    return re.fullmatch(pattern, _tidy(actual), flags=re.DOTALL) is not None


def _tidy(text: str) -> str:
    text = _TIME.sub("2026-01-01 00:00:00", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
