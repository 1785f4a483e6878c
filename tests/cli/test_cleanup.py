"""`cleanup` and `prune`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bamboo_sessions import Session, SessionRepository
from tests.cli.support import Cli


@pytest.fixture(autouse=True)
def _sessions(cli: Cli) -> None:
    async def fill(sessions: SessionRepository) -> None:
        root = await sessions.create(Session("root"))
        await sessions.create(root.new_child("child"))
        await sessions.create(Session("pinned", pinned=True))
        await sessions.create(Session("old", updated_at=datetime(2020, 1, 1, tzinfo=UTC)))

    cli.store(fill)
    cli.ok("append", "--create", "full", "Hello")


def _ids(cli: Cli) -> set[str]:
    return {line["id"] for line in cli.ok("list", "--jsonl").lines}


@pytest.mark.parametrize(
    ("args", "left"),
    [
        (("all",), {"pinned"}),
        (("all", "--pinned"), set()),
        (("empty",), {"pinned", "full"}),
        (("children",), {"root", "pinned", "old", "full"}),
        (("all", "--older-than", "30d"), {"root", "child", "pinned", "full"}),
    ],
)
def test_modes(cli: Cli, args: tuple[str, ...], left: set[str]) -> None:
    """Each mode deletes what it says; pinned trees stay unless they are named, too."""
    before = _ids(cli)
    outcome = cli.ok("cleanup", *args, "--json").json
    assert _ids(cli) == left
    assert set(outcome["deleted"]) == before - left
    assert cli.ok("cleanup", *args).err == f"Nothing to delete in {cli.url}.\n"


def test_it_asks_on_a_terminal(cli: Cli) -> None:
    """A person is asked what would be deleted, and nothing is without a yes."""
    refused = cli.in_terminal("cleanup", "all", "--older-than", "30d", typed="n\n", columns=200)
    assert refused.code == 1
    assert f"Delete for ever all sessions in {cli.url}, unchanged for 30 days" in refused.out
    assert len(_ids(cli)) == 5
    assert cli.in_terminal("cleanup", "all", typed="y\n").code == 0
    assert _ids(cli) == {"pinned"}


def test_wrong_ages_and_modes(cli: Cli) -> None:
    """What is no mode or no age is wrong usage, and so is a feed kept for less than a day."""
    for args in (
        ("cleanup", "some"),
        ("cleanup", "all", "--older-than", "long"),
        ("prune",),
        ("prune", "--older-than", "2h"),
    ):
        assert cli(*args).code == 2
    assert len(_ids(cli)) == 5


def test_prune(cli: Cli) -> None:
    """What is young stays in the feed, and that is said; the sessions aren't touched."""
    assert cli.ok("prune", "--older-than", "30d").err == f"Nothing that old in the feed of {cli.url}.\n"
    assert cli.ok("prune", "--older-than", "24h", "--json").json == {"pruned": 0}
    assert len(_ids(cli)) == 5
