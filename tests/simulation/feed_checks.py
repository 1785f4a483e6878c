"""G11: whoever reads the feed is told each commit once, in commit order, or that there would be a gap.

The memory engine numbers commits from 1, so a position's number is a place in the store's own list of its commits.
"""

from __future__ import annotations

from collections.abc import Iterator

from bamboo_sessions.storage.feed_position import FeedPosition, parse_position
from tests.simulation.network import Kept
from tests.simulation.world import Follow, World


def feed_findings(world: World) -> list[str]:
    """All that is wrong with what subscribers were told."""
    findings = list(_kept(world))
    for told in world.told:
        for follow in told.follows:
            findings += [f"{told.process}: {finding}: {follow} (G11)" for finding in _follow(world, follow)]
    return findings


def _kept(world: World) -> Iterator[str]:
    """What is kept only shrinks at its beginning, and an epoch that is over doesn't come back (L109)."""
    kept = world.store.kept
    if [each.floor for each in kept] != sorted(each.floor for each in kept):
        yield f"what was pruned came back: {kept} (G11)"
    epochs = [epoch for place, (_, epoch, _) in enumerate(kept) if place == 0 or kept[place - 1].epoch != epoch]
    if len(epochs) != len(set(epochs)):
        yield f"an epoch came back: {epochs} (G11)"


def _follow(world: World, follow: Follow) -> Iterator[str]:
    told = [parse_position(change.position) for change in follow.changes]
    kept = _during(world.store.kept, follow)
    start = None if follow.after is None else parse_position(follow.after)
    yield from _told(world, follow, told, start, kept)
    last = told[-1] if told else start
    if follow.ending == "all":
        yield from _all(world, follow, last, kept)
    elif follow.ending == "refused":
        yield from _refused(follow, last, kept, was_told=bool(told))


def _told(
    world: World, follow: Follow, told: list[FeedPosition], start: FeedPosition | None, kept: list[Kept]
) -> Iterator[str]:
    """What was told is a stretch of the commits, without a gap, behind where it was to begin."""
    if not told:
        return
    before = told[0].number - 1
    if start is None and before not in {each.floor for each in kept}:
        yield f"it doesn't begin where the feed does, at one of {kept}"
    if start is not None and before != start.number:
        yield "there is a gap at its beginning"
    made = world.store.commits[before : before + len(told)]
    stretch = [(number, commit.session_id, commit.revision) for number, commit in enumerate(made, before + 1)]
    changes = zip(told, follow.changes, strict=True)
    if [(position.number, change.session_id, change.revision) for position, change in changes] != stretch:
        yield f"the commits were {stretch}"
    epochs = {position.epoch for position in (*told, start) if position is not None}
    if len(epochs) > 1 or not epochs & {each.epoch for each in kept}:
        yield f"it goes on over epochs; there were {kept}"


def _all(world: World, follow: Follow, last: FeedPosition | None, kept: list[Kept]) -> Iterator[str]:
    """An iteration that ends by itself was allowed to begin, and has told all that there was when it began."""
    number = last.number if last is not None else max(each.floor for each in kept)
    if number < sum(commit.step <= follow.start for commit in world.store.commits):
        yield "it ended too early"
    if last is not None and last.epoch not in {each.epoch for each in kept}:
        yield f"a position of an epoch that is over was not refused; there were {kept}"
    if not follow.changes and last is not None and last.number < kept[0].floor:
        yield f"a position that was pruned was not refused; there were {kept}"


def _refused(follow: Follow, last: FeedPosition | None, kept: list[Kept], *, was_told: bool) -> Iterator[str]:
    """There was a reason to refuse, and the position that the error offers could be resumed from then."""
    number = last.number if last is not None else kept[0].floor
    is_justified = {
        "other_epoch": last is None or any(each.epoch != last.epoch for each in kept),
        "pruned": number < kept[-1].floor and not was_told,
        "too slow": number < kept[-1].floor,
    }
    if not is_justified.get(follow.reason, False):
        yield f"it was refused for no reason; there were {kept}"
    oldest = parse_position(follow.oldest)
    if (oldest.epoch, oldest.number) not in {(each.epoch, each.floor) for each in kept}:
        yield f"the oldest position that it names wasn't that; there were {kept}"


def _during(kept: list[Kept], follow: Follow) -> list[Kept]:
    """What was kept while the subscriber read."""
    ends = [*(each.step for each in kept[1:]), None]
    until = follow.end if follow.ending is not None else None
    return [
        each
        for each, end in zip(kept, ends, strict=True)
        if (end is None or end >= follow.start) and (until is None or each.step <= until)
    ]
