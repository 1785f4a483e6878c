"""What must hold of a simulation's history. Each check names the guarantee that it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.testing.history_checker import (
    Acknowledgement,
    AnswerAcknowledged,
    ChangeAcknowledged,
    QuestionAcknowledged,
    RemovalAcknowledged,
    StoredSession,
    TurnAcknowledged,
    check_history,
)
from tests.simulation.clients import view
from tests.simulation.feed_checks import feed_findings
from tests.simulation.linearizability import Span, is_linearizable
from tests.simulation.network import Version, last_revision
from tests.simulation.recorders import record_findings
from tests.simulation.retriers import retry_findings
from tests.simulation.world import CHAT, LIFE, LOG, Operation, World

NEVER_REFUSED = {"MessageIdConflictError", "InputError", "InvalidMessageError", "StorageCorruptError"}


def check(world: World) -> list[str]:
    """All that is wrong."""
    return [
        *_acknowledged(world),
        *_reads(world),
        *_values_that_came_back(world),
        *_lives(world),
        *_forks(world),
        *_removals(world),
        *_edits(world),
        *_accepted(world),
        *_order(world),
        *_leases(world),
        *feed_findings(world),
        *record_findings(world),
        *retry_findings(world),
        *world.findings,
        *(f"{done.what} was refused: {done.error}" for done in world.history if done.error in NEVER_REFUSED),
        *(
            f"the last save failed: {d}"
            for d in world.history
            if d.what == "finish" and d.outcome in {"failed", "unknown"}
        ),
    ]


# --- G2, G3, G5, G6: what was acknowledged is there


def _acknowledged(world: World) -> Iterator[str]:
    stored: list[StoredSession] = []
    notes: list[Acknowledgement] = []
    for session_id in list(world.store.log):
        state = world.store.state(session_id)
        if isinstance(state, Snapshot):
            stored.append(StoredSession.of(copy_of(state)))
            doubtful = set(_removed_in_storage(world.store.log[session_id]))
            for done in world.history:
                if done.session == session_id and done.outcome == "ok" and done.result is not None:
                    notes.extend(_notes(done, state.head.incarnation, doubtful))
    for finding in check_history(notes, stored).findings:
        yield f"{finding.fault}: {finding.session_id}: {finding.detail}"


def _removed_in_storage(versions: list[Version]) -> Iterator[str]:
    """Ids that some commit took out: `_removals` asks whether it was meant to."""
    for before, after in pairwise(versions):
        if isinstance(before.state, Snapshot) and isinstance(after.state, Snapshot):
            left = {message.id for message in after.state.messages}
            yield from (message.id for message in before.state.messages if message.id not in left)


def _notes(done: Operation, incarnation: int, removed: set[str]) -> Iterator[Acknowledgement]:
    by, session = done.client, done.session
    if done.what in {"save", "append"}:
        if done.result["revision"] < incarnation:
            return
        for turn in done.argument["turns"]:
            yield TurnAcknowledged(session, by, tuple(id_ for id_ in turn if id_ not in removed))
        if done.argument["removed"] and done.argument["how"] != "checkpoint":
            yield RemovalAcknowledged(session, by, done.argument["removed"])
        for question in done.result["asked"]:
            yield QuestionAcknowledged(session, by, question)
    elif done.what == "author" and done.result[1] >= incarnation:
        what, value, _ = done.argument
        yield ChangeAcknowledged(session, f"{by} {done.number}", what, value, done.result[0])
    elif done.what == "answer" and done.result[1] >= incarnation and done.result[0] not in removed:
        question, text = done.argument
        yield AnswerAcknowledged(session, by, question, text, done.result[0])


# --- G2: only what was meant to be removed goes


def _removals(world: World) -> Iterator[str]:
    meant: defaultdict[str, set[str]] = defaultdict(set)  # by session: a fork has the same messages, and keeps them
    removing: set[int] = set()
    taken: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for done in world.history:
        if done.what == "save":
            meant[done.session].update(done.argument["removed"])
        elif done.what == "remove_last":
            removing.add(done.number)
            for id_ in done.result or ():
                taken[done.session, id_].append(done.number)
    yield from (f"message {id_} was given to {numbers} (G2)" for id_, numbers in taken.items() if len(numbers) > 1)
    for session_id, versions in world.store.log.items():
        for before, after in pairwise(versions):
            if after.operation not in removing:
                for id_ in set(_removed_in_storage([before, after])) - meant[session_id]:
                    yield f"{session_id}: message {id_} went by operation {after.operation}, which removes nothing (G2)"


# --- G2: an edit that was acknowledged was made, and a text that it replaced doesn't come back


def _edits(world: World) -> Iterator[str]:
    for done in world.history:
        if done.what == "save" and done.result is not None and done.argument["how"] != "checkpoint":
            yield from _unmade_edits(world, done)
    for session_id in world.store.log:
        yield from _texts_that_came_back(session_id, list(_states(world, session_id)))


def _unmade_edits(world: World, done: Operation) -> Iterator[str]:
    states = list(_states(world, done.session))
    for id_, text in done.argument["edited"].items():
        shown = {message.text for state in states for message in state.messages if message.id == id_}
        there = [any(message.id == id_ for message in state.messages) for state in states]
        removed = any(was and not stays for was, stays in pairwise(there))
        if text not in shown and not removed and not _is_edited_later(world, done, id_):
            yield f"{done} was to make {id_} {text!r}; it was only {shown} (G2)"


def _is_edited_later(world: World, done: Operation, id: str) -> bool:
    later = world.history[done.number :]
    return any(other.what == "save" and id in other.argument["edited"] for other in later)


def _texts_that_came_back(session_id: str, states: list[Snapshot]) -> Iterator[str]:
    last: dict[str, str] = {}
    replaced: set[str] = set()
    for state in states:
        for message in state.messages:
            text = message.text
            if message.role == "user" and last.get(message.id, text) != text:
                replaced.add(last[message.id])
                if text in replaced:
                    yield f"{session_id}: message {message.id} is {text!r} again, in revision {state.revision} (G2)"
            last[message.id] = text


# --- tolerant saves: what was accepted gets through, unless that is told


def _accepted(world: World) -> Iterator[str]:
    if world.unsaved is None:
        return
    for done in world.history:
        waited = done.what == "save" and done.outcome == "ok" and done.result is None
        if not waited or (done.process, done.session) in world.unsaved:
            continue
        there = {message.id for state in _states(world, done.session) for message in state.messages}
        yield from (
            f"{done} was accepted, and {id_} was never saved (G2)"
            for turn in done.argument["turns"]
            for id_ in turn
            if id_ not in there
        )
        last = world.store.state(done.session)
        left = {message.id for message in last.messages} if isinstance(last, Snapshot) else set()
        yield from (
            f"{done} was accepted, and {id_} is still there (G2)" for id_ in done.argument["removed"] if id_ in left
        )
        yield from _unmade_edits(world, done)


# --- G7: reads show a state that was there while they ran


def _reads(world: World) -> Iterator[str]:
    for done in world.history:
        if done.what != "read" or done.outcome != "ok" or done.end is None:
            continue
        if done.result is not None and done.result[0] == "dirty":
            continue
        there = list(_during(world.store.log[done.session], done.start, done.end))
        if done.argument == "load" and not world.store.is_exact:
            there = list(_known(world, done, done.end))
        shown = [view(copy_of(s)) if isinstance(s, Snapshot) else None for s in there]
        if done.result not in shown:
            yield f"read {done.number} of {done.session} by {done.client} shows {done.result}; there was {shown} (G7)"


def _known(world: World, read: Operation, end: int) -> Iterator[Snapshot | Tombstone | None]:
    """The states from the newest one on that the process had seen when `read` began."""
    seen = [
        _revision_in(done)
        for done in world.history
        if (done.process, done.session) == (read.process, read.session) and (done.end or end) < read.start
    ]
    for version in world.store.log[read.session]:
        if version.step <= end and last_revision(version.state) >= max(seen, default=0):
            yield version.state


def _revision_in(done: Operation) -> int:
    """The revision that a process learnt of."""
    if done.result is None or done.outcome != "ok":
        return 0
    if done.what == "read":
        return int(done.result[0]) if done.result[0] != "dirty" else 0
    if done.what in {"save", "append"}:
        return int(done.result["revision"])
    return int(done.result[1]) if done.what == "author" else 0


def _during(versions: list[Version], start: int, end: int) -> Iterator[Snapshot | Tombstone | None]:
    for place, version in enumerate(versions):
        until = versions[place + 1].step if place + 1 < len(versions) else end
        if version.step <= end and until >= start:
            yield version.state


# --- registers: a value that was replaced doesn't come back


def _values_that_came_back(world: World) -> Iterator[str]:
    for session_id, versions in world.store.log.items():
        last: dict[str, Any] = {}
        replaced: set[Any] = set()
        for version in versions:
            if not isinstance(version.state, Snapshot):
                continue
            head = version.state.head
            values = {"title": head.title, "model": head.model, **head.metadata}
            for name, value in values.items():
                if value is not None and value != last.get(name) and value in replaced:
                    yield f"{session_id}: {name} is {value} again, by operation {version.operation} (G5, G10)"
                if last.get(name) not in {None, value}:
                    replaced.add(last[name])
                last[name] = value


# --- G9: what was deleted stays deleted


def _lives(world: World) -> Iterator[str]:
    numbers = {done.number: done for done in world.history}
    for session_id, versions in world.store.log.items():
        for before, after in pairwise(versions):
            reborn = isinstance(before.state, Tombstone) and isinstance(after.state, Snapshot)
            if reborn and numbers[after.operation].what != "create":
                yield f"{session_id} was brought back by {numbers[after.operation]} (G9)"
            version = [
                s.metadata_version if isinstance(s, Tombstone) else s.head.metadata_version if s else 0
                for s in (before.state, after.state)
            ]
            if version[0] > version[1]:
                yield f"{session_id}: metadata_version went back to {version[1]} by operation {after.operation} (G5)"
    for done in world.history:
        if done.what == "save" and done.result and done.argument["life"] not in {0, done.result["life"]}:
            yield f"{done} saved a copy of a former life (G9)"


# --- forks: each begins with what its original was at that revision, and is a session of its own from then on


def _forks(world: World) -> Iterator[str]:
    numbers = {done.number: done for done in world.history}
    for session_id, versions in world.store.log.items():
        first = next((version for version in versions if isinstance(version.state, Snapshot)), None)
        if first is None or not isinstance(first.state, Snapshot) or first.state.head.forked_from is None:
            continue
        origin = first.state.head.forked_from
        begun = numbers[first.operation].start
        original = [
            tuple(state.messages)
            for state in _during(world.store.log[origin.session_id], begun, first.step)
            if isinstance(state, Snapshot) and state.revision == origin.revision
        ]
        if tuple(first.state.messages) not in original:
            yield f"{session_id} doesn't begin as {origin.session_id} was at revision {origin.revision} (G3)"
    for done in world.history:
        if done.what == "fork" and done.result and done.end is not None:
            there = [view(copy_of(state)) for state in _states(world, done.argument)]
            if done.result not in there:
                yield f"{done} shows a fork that never was (G3)"
        if done.what == "lease" and done.argument == "fork" and done.result not in {None, done.session}:
            origins = {state.head.forked_from for state in _states(world, done.result)}
            if done.session not in {origin.session_id for origin in origins if origin is not None}:
                yield f"{done} goes on in a session that is no fork of it"


def _states(world: World, session_id: str) -> Iterator[Snapshot]:
    yield from (version.state for version in world.store.log[session_id] if isinstance(version.state, Snapshot))


# --- G12: a zombie can't write; who was in time is never refused


def _leases(world: World) -> Iterator[str]:
    for session_id, versions in world.store.log.items():
        newest = 0
        for version in versions:
            if version.fence is not None and version.fence < newest:
                yield f"{session_id}: lease {version.fence} wrote after {newest} by {version.operation} (G12)"
            newest = max(newest, version.fence or 0)
    for done in world.history:
        if done.outcome == "refused" and done.what in {"lease", "save"}:
            allowed = {"SessionDeletedError", "SessionNotFoundError"} if done.session == LIFE else set()
            if done.what == "save":
                allowed.add("LeaseLostError")
            elif done.argument != "fork":  # which is never told that the session is busy
                allowed.add("SessionBusyError")
            if done.error not in allowed:
                yield f"{done} was refused (G12)"


# --- linearizability, told from what clients saw alone


def _order(world: World) -> Iterator[str]:
    state = world.store.state(LOG)
    final = tuple(message.id for message in state.messages) if isinstance(state, Snapshot) else ()
    nothing: tuple[str, ...] = ()
    history = [done for done in world.history if done.argument != "load" or world.store.is_exact]  # it may be late
    log = [done for done in history if done.session == LOG and done.what in {"append", "save", "read", "finish"}]
    if is_linearizable(list(_spans(log)), nothing, lambda state, action: _append(state, action, final)) is False:
        yield "the appends to the log and what was read of it have no order (G2, G7)"
    authors = [done for done in history if done.session == CHAT and done.what in {"author", "read"}]
    if is_linearizable(list(_spans(authors)), (0, None), _author) is False:
        yield "the titles that were set and read have no order (G5, G7)"


def _spans(history: list[Operation]) -> Iterator[Span]:
    given_up: set[str] = set()
    for done in history:
        reads = done.what == "read"
        if done.what == "save" and done.outcome == "failed" and done.client in given_up:
            yield Span(done, done.start, None)  # an earlier save that goes on may have taken this one's turns along
        elif done.what == "save" and done.outcome == "unknown":
            given_up.add(done.client)
        waits = done.what == "save" and done.result is None  # a tolerant save that wasn't durable yet
        told = done.outcome == "ok" or (done.what == "author" and done.error == "PreconditionFailedError")
        if not reads and (done.outcome == "unknown" or (done.outcome == "ok" and waits)):
            yield Span(done, done.start, None)
        elif told and not (reads and done.result is not None and done.result[0] == "dirty"):
            yield Span(done, done.start, done.end)


def _append(state: object, action: object, final: tuple[str, ...]) -> tuple[str, ...] | None:
    """The log after an operation; as nothing is ever removed, it always begins as it is at the end."""
    assert isinstance(state, tuple)
    assert isinstance(action, Operation)
    if action.what == "read":
        return state if action.result is not None and action.result[-1] == state else None
    new = [id_ for turn in action.argument["turns"] for id_ in turn if id_ not in state]
    after = (*state, *new)
    return after if after == final[: len(after)] else None


def _author(state: object, action: object) -> tuple[int, Any] | None:
    assert isinstance(state, tuple)
    assert isinstance(action, Operation)
    version, title = state
    if action.what == "read":
        return state if action.result is not None and action.result[1:3] == (title, version) else None
    what, value, expected = action.argument
    if action.outcome == "refused":
        return state if expected != version else None
    if expected not in {None, version} or (action.outcome == "ok" and action.result[0] != version + 1):
        return None
    return (version + 1, value if what == "title" else title)
