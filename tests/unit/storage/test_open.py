"""From a URL to a storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from bamboo_sessions import InputError, MemoryStorage, SqliteStorage
from bamboo_sessions.storage.open import storage_for


@pytest.mark.parametrize("url", ["memory://", "memory:///"])
def test_memory(url: str) -> None:
    """`memory://` is a new storage each time."""
    assert type(storage_for(url)) is MemoryStorage
    assert storage_for(url) is not storage_for(url)


def test_files(tmp_path: Path) -> None:
    """Three slashes are a relative path, four an absolute one; percent signs are undone; a path is a path."""
    expected = {
        "sqlite:///agents.db": Path("agents.db").absolute(),
        f"sqlite:///{tmp_path}/agents.db": tmp_path / "agents.db",
        f"sqlite:///{tmp_path}/my%20agents.db": tmp_path / "my agents.db",
    }
    for url, path in expected.items():
        storage = storage_for(url)
        assert isinstance(storage, SqliteStorage)
        assert storage._path == path
    storage = storage_for(tmp_path / "agents.db", durability="relaxed")
    assert isinstance(storage, SqliteStorage)


@pytest.mark.parametrize("path", ["agents.db", "./x/agents.db", "../my agents 100%.db", "/var/agents.db", "a/b:c.db"])
def test_a_plain_path_is_a_store(path: str) -> None:
    """A text without a scheme is the path of a SQLite file, taken as it stands."""
    for given in (path, Path(path)):
        storage = storage_for(given)
        assert isinstance(storage, SqliteStorage)
        assert storage.path == Path(path).absolute()


def test_a_drive_is_no_scheme() -> None:
    """One letter and a colon is a drive of Windows."""
    assert isinstance(storage_for("C:agents.db"), SqliteStorage)


def test_a_storage_is_itself() -> None:
    """A storage object is taken as it is."""
    storage = MemoryStorage()
    assert storage_for(storage) is storage


@pytest.mark.parametrize(
    "url",
    [
        *("", " ", "sqlite:", "sqlite://", "sqlite:///", "sqlite://agents.db", "sqlite:agents.db", "redis://x"),
        *("memory://x", "memory:", ":memory:", "file:agents.db", "agents.db?mode=ro", 7),
    ],
)
def test_what_names_no_store(url: object) -> None:
    """Anything else is a mistake, and the error says what would be right."""
    with pytest.raises(InputError) as refused:
        storage_for(url)  # type: ignore[arg-type]
    assert refused.value.hint


def test_durability_is_one_of_two() -> None:
    """A durability that doesn't exist is refused, whatever the engine."""
    with pytest.raises(InputError):
        storage_for("memory://", durability="none")  # type: ignore[arg-type]
