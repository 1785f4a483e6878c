"""An open file for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bamboo_sessions.storage.sqlite import SqliteStorage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "sessions.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    """An open storage, which is checked and closed in the end."""
    storage = SqliteStorage(path, durability="relaxed")
    await storage.open()
    yield storage
    report = await storage.check()
    await storage.aclose()
    assert report.ok, report.problems
