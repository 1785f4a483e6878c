"""The documents hang together."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, blocks, links, name_of, pages


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a page, a file or a heading of the project resolves."""
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        assert target.is_relative_to(ROOT), f"{name_of(page)} links out of the project: {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)} links to {link}"


def test_every_page_is_reachable() -> None:
    """From the README one gets to every page of the documentation."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        paths = (link.partition("#")[0] for link in links(page) if "://" not in link)
        waiting.extend((page.parent / path).resolve() for path in paths if path)
    assert set(DOCS.rglob("*.md")) <= seen


def test_the_readme_begins_with_what_a_fresh_clone_needs() -> None:
    """One paragraph says what it is and why; then come the two commands that need nothing but a clone."""
    readme = ROOT / "README.md"
    first = blocks(readme)[0]
    commands = [line.split("#")[0].strip() for line in first.text.splitlines()]
    assert commands == ["scripts/demo", "scripts/test"]
    before = readme.read_text(encoding="utf-8").split("```")[0].strip().split("\n\n")
    assert before[0].startswith("# ")
    assert len(before) <= 3  # the title, the paragraph, a line that leads over to the commands
