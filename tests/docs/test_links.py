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


def test_the_readme_says_how_to_install_what_there_is() -> None:
    """Until a version is released, the README says so and how to install from a clone; afterwards, from PyPI."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    is_released = any("unreleased" not in line.lower() for line in changelog.splitlines() if line.startswith("## ["))
    install = (ROOT / "README.md").read_text(encoding="utf-8").split("## Install")[1].split("\n## ")[0]
    assert ("pip install bamboo-sessions" in install) == is_released
    assert ("not on PyPI yet" in install) == (not is_released)
