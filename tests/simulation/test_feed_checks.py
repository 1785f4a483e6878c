"""The check of what subscribers are told: it has to notice every way in which a feed can be wrong (G11)."""

from __future__ import annotations

import pytest

from bamboo_sessions import SessionChange
from bamboo_sessions.testing.clock import START
from tests.simulation.feed_checks import feed_findings
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Kept, Made
from tests.simulation.world import Follow, Told, World


@pytest.fixture
def world() -> World:
    """Five commits at the steps 10 to 50; at step 45 the first two are pruned, and at 60 an epoch begins."""
    loop = SimulatedLoop(0)
    made = World(loop, 0)
    loop.close()
    made.store.commits = [Made(10 * number, "s", number) for number in range(1, 6)]
    made.store.kept = [Kept(0, "e", 0), Kept(45, "e", 2), Kept(60, "f", 2)]
    return made


def _change(number: int, revision: int | None = None, epoch: str = "e") -> SessionChange:
    return SessionChange(f"{epoch}:{number:019}:", "s", revision or number, ("head",), (), START)


def _told(*numbers: int) -> list[SessionChange]:
    return [_change(number) for number in numbers]


def _findings(world: World, follow: Follow) -> list[str]:
    world.told = [Told("p", None, [follow])]
    return feed_findings(world)


@pytest.mark.parametrize(
    "follow",
    [
        Follow(None, 1, _told(1, 2), "left", 30),
        Follow(None, 40, _told(3, 4, 5), "all", 55),
        Follow("e:0000000000000000002:", 46, _told(3, 4, 5), "all", 55),
        Follow("e:0000000000000000005:", 52, [], "all", 55),
        Follow("e:0000000000000000001:", 46, [], "refused", 47, "pruned", "e:0000000000000000002:"),
        Follow("e:0000000000000000000:", 1, _told(1), "refused", 47, "too slow", "e:0000000000000000002:"),
        Follow("e:0000000000000000005:", 55, [], "refused", 61, "other_epoch", "f:0000000000000000002:"),
        Follow("e:0000000000000000000:", 1, _told(1)),  # crashed: nobody knows how it went on
    ],
    ids=repr,
)
def test_what_is_right_is_not_found(world: World, follow: Follow) -> None:
    """G11: stretches without a gap, and refusals that have a reason, are as they should be."""
    assert _findings(world, follow) == []


@pytest.mark.parametrize(
    ("follow", "what"),
    [
        (Follow("e:0000000000000000001:", 21, _told(3), "left", 40), "gap at its beginning"),
        (Follow("e:0000000000000000001:", 21, _told(1), "left", 40), "gap at its beginning"),
        (Follow(None, 46, _told(4, 5), "left", 52), "doesn't begin where"),
        (Follow("e:0000000000000000000:", 1, _told(1, 3), "left", 40), "the commits were"),
        (Follow("e:0000000000000000000:", 1, _told(1, 1), "left", 40), "the commits were"),
        (Follow("e:0000000000000000000:", 1, [_change(1), _change(2, 3)], "left", 40), "the commits were"),
        (Follow("e:0000000000000000004:", 1, _told(5, 6), "left", 70), "the commits were"),
        (Follow("e:0000000000000000003:", 45, [_change(4), _change(5, epoch="f")], "left", 70), "over epochs"),
        (Follow("e:0000000000000000003:", 61, _told(4, 5), "all", 70), "over epochs"),
        (Follow("e:0000000000000000002:", 51, _told(3, 4), "all", 55), "too early"),
        (Follow("e:0000000000000000005:", 61, [], "all", 70), "an epoch that is over was not refused"),
        (Follow("e:0000000000000000001:", 46, [], "all", 47), "was pruned was not refused"),
        (Follow("e:0000000000000000002:", 46, [], "refused", 50, "pruned", "e:0000000000000000002:"), "for no reason"),
        (
            Follow("e:0000000000000000001:", 1, _told(2), "refused", 46, "too slow", "e:0000000000000000002:"),
            "for no reason",
        ),
        (
            Follow("e:0000000000000000005:", 51, [], "refused", 55, "other_epoch", "e:0000000000000000002:"),
            "for no reason",
        ),
        (
            Follow("e:0000000000000000005:", 51, [], "refused", 55, "restored", "e:0000000000000000002:"),
            "for no reason",
        ),
        (
            Follow("e:0000000000000000000:", 46, [], "refused", 50, "pruned", "e:0000000000000000001:"),
            "oldest position",
        ),
    ],
    ids=repr,
)
def test_what_is_wrong_is_found(world: World, follow: Follow, what: str) -> None:
    """G11: holes, repetitions, wrong commits, old positions that are taken and refusals without a reason are found."""
    assert any(what in finding for finding in _findings(world, follow))


def test_a_feed_that_grows_back_is_found(world: World) -> None:
    """L109: what was pruned stays pruned, and an epoch that is over stays over."""
    world.store.kept.append(Kept(70, "e", 1))
    findings = feed_findings(world)
    assert [finding for finding in findings if "pruned came back" in finding]
    assert [finding for finding in findings if "epoch came back" in finding]
