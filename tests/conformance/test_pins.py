"""Pins protect a whole tree, on every engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bamboo_sessions import Session, SessionRepository

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/sessions.db"])
@pytest.mark.parametrize("pinned", ["root", "child", "sibling"])
async def test_clean_ups_spare_every_branch_of_a_pinned_tree(url: str, pinned: str, tmp_path: Path) -> None:
    """Wherever in a tree the pin is, no clean-up takes a branch of it; without the pin it does."""
    async with SessionRepository.open(url.format(tmp_path)) as sessions:
        root = await sessions.create(Session("root"))
        for name in ("child", "sibling"):
            await sessions.create(root.new_child(name))
        await sessions.pin(pinned)
        assert (await sessions.cleanup("children")).deleted == ()
        assert (await sessions.cleanup("all")).deleted == ()
        await sessions.pin(pinned, False)
        assert set((await sessions.cleanup("children")).deleted) == {"child", "sibling"}
