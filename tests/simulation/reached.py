"""Which branches of the product a simulation went through: told by reports, errors and states, never by marks in code.

A simulation that never gets to a branch proves nothing about it. `BRANCHES` are those that have to be reached by the
long run; `python -m tests.simulation.branches COUNT` prints how often each was, in so many worlds of each kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

from bamboo_sessions import MergeReport, Message
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from tests.simulation.network import Version, last_revision
from tests.simulation.world import Operation, World

BRANCHES: Final = (
    # what a merge settles
    "merge: with what others added",
    "merge: register changed by two",
    "merge: metadata key changed by two",
    "merge: message edited by two",
    "merge: removed here, edited there",
    "merge: authoritative change ignored",
    "merge: questions of two united",
    "merge: orphaned result",
    "merge: result joined its call",
    "merge: inside, behind its anchor",
    "merge: inside, its anchor gone",
    "append: known message",
    # how a commit gets through
    "commit: conflict",
    "commit: inside a transaction",
    "commit: id known, answered again",
    "commit: arrived after its process had crashed",
    "settle: it was made",
    "settle: it never was",
    # work that waits for storage
    "waiting: accepted",
    "waiting: saved",
    "waiting: refused",
    # leases
    "lease: given after waiting",
    "lease: taken over from one that ended",
    "lease: busy",
    "lease: forked, as it was busy",
    "lease: lost, and told inside the commit",
    # lives and questions
    "life: began again",
    "life: late save refused",
    "question: answered already",
    "precondition: refused",
    # the feed
    "feed: resumed",
    "feed: position pruned",
    "feed: position of another epoch",
    "feed: subscriber too slow",
    # the cache
    "cache: hit",
    "cache: still the newest",
    "cache: read what is newer",
    "cache: read anew after eviction",
    # hosts that hear of one another late
    "lag: a load showed less than was committed",
    "lag: a connection was lost, and all that was heard with it",
)
"""All of them. What only a file or a connection has is counted where those are: in `tests/faults`."""


def note_save(reached: Counter[str], answer: MergeReport | bool | None) -> None:
    """What the report of a save tells."""
    if answer is False:
        reached["waiting: accepted"] += 1
    if not isinstance(answer, MergeReport):
        return
    reached["merge: with what others added"] += bool(answer.merged)
    reached["merge: authoritative change ignored"] += bool(answer.authoritative_ignored)
    reached["merge: orphaned result"] += bool(answer.orphaned_tool_results)
    for conflict in answer.conflicts:
        kind, of, _ = conflict.what.partition(":")
        if of:
            two = "message edited by two" if conflict.kept == "mine" else "removed here, edited there"
            reached[f"merge: {two}"] += 1
        else:
            key = kind.startswith("metadata.")
            reached["merge: metadata key changed by two" if key else "merge: register changed by two"] += 1


def note_world(world: World) -> None:
    """What can be told when all is over."""
    for done in world.history:
        world.reached.update(_told_by(done))
        world.reached["lag: a load showed less than was committed"] += _is_late(world, done)
    for told in world.told:
        for follow in told.follows:
            world.reached["feed: resumed"] += follow.after is not None and bool(follow.changes)
            if follow.ending == "refused":
                world.reached[_REFUSALS[follow.reason]] += 1
    for process in world.processes.values():
        world.reached["lag: a connection was lost, and all that was heard with it"] += process.link.losses
    for session_id, versions in world.store.log.items():
        for before, after in pairwise(versions):
            if isinstance(before.state, Tombstone) and isinstance(after.state, Snapshot):
                world.reached["life: began again"] += 1
            world.reached.update(_told_by_place(world, before, after))
        world.reached["waiting: saved"] += _saved_later(world, session_id, versions)


def _is_late(world: World, done: Operation) -> bool:
    if done.what != "read" or done.result is None or done.result[0] == "dirty":
        return False
    versions = world.store.log[done.session]
    return bool(done.result[0] < max(last_revision(v.state) for v in versions if v.step <= done.start))


_REFUSALS: Final = {
    "pruned": "feed: position pruned",
    "other_epoch": "feed: position of another epoch",
    "too slow": "feed: subscriber too slow",
}


def _told_by(done: Operation) -> Iterator[str]:
    if done.what == "lease" and done.argument == "fork" and done.result not in {None, done.session}:
        yield "lease: forked, as it was busy"
    if done.error in _ERRORS:
        yield _ERRORS[done.error]
    if done.what == "save" and done.error == "LeaseLostError":
        yield "lease: lost, and told inside the commit"
    if done.what == "save" and done.error == "SessionDeletedError":
        yield "life: late save refused"


_ERRORS: Final = {
    "SessionBusyError": "lease: busy",
    "QuestionAlreadyAnsweredError": "question: answered already",
    "PreconditionFailedError": "precondition: refused",
}


def _told_by_place(world: World, before: Version, after: Version) -> Iterator[str]:
    """Where new messages stand, and what stood there."""
    if not isinstance(before.state, Snapshot) or not isinstance(after.state, Snapshot):
        return
    old = {message.id for message in before.state.messages}
    messages = list(after.state.messages)
    behind = False  # whether something older stands behind
    for message in reversed(messages):
        if message.id in old:
            behind = True
        elif behind:
            yield from _inside(message, world.anchors, old)
    asked = {question.id for question in before.state.head.questions if question.is_open}
    if asked and {question.id for question in after.state.head.questions if question.is_open} > asked:
        yield "merge: questions of two united"


def _inside(message: Message, anchors: Mapping[str, str], old: set[str]) -> Iterator[str]:
    if message.role == "tool":
        yield "merge: result joined its call"
    elif message.id in anchors:
        there = anchors[message.id] in old
        yield "merge: inside, behind its anchor" if there else "merge: inside, its anchor gone"


def _saved_later(world: World, session_id: str, versions: list[Version]) -> int:
    """How many tolerant saves that had to wait are in storage in the end."""
    there = {m.id for version in versions if isinstance(version.state, Snapshot) for m in version.state.messages}
    waited = [
        {id_ for turn in done.argument["turns"] for id_ in turn}
        for done in world.history
        if done.session == session_id and done.what == "save" and done.outcome == "ok" and done.result is None
    ]
    return sum(bool(ids) and ids <= there for ids in waited)


def missing(reached: Mapping[str, int]) -> list[str]:
    """The branches that were never reached."""
    return [branch for branch in BRANCHES if not reached.get(branch)]
