"""A store of its own for each test, and nothing of the user's environment."""

from pathlib import Path

import pytest

from tests.cli.support import Cli


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BAMBOO_SESSIONS_URL", "BAMBOO_SESSIONS_NAMESPACE", "FORCE_COLOR", "NO_COLOR", "PAGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line on an empty store."""
    return Cli(tmp_path)
