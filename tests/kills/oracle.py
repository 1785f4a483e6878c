"""Judges a store after kills: everything acknowledged is there once, nothing half, nothing that nobody asked for.

Pure. A session of a writer's own has one writer, so what it may hold now is known exactly: the state after its last
acknowledged operation, or after the one that was under way. Of the shared sessions it is known which turns must be
there, which may be, and that each is whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from tests.kills.notes import (
    Answer,
    Append,
    Ask,
    Begun,
    Create,
    Delete,
    Done,
    Edit,
    Fork,
    Note,
    Operation,
    RemoveLast,
    Rename,
    Save,
)
from tests.kills.writer import SHARED


class Stored(msgspec.Struct, frozen=True):
    """A session as it was read back, or as it should be: messages as (id, text), answers by question."""

    messages: tuple[tuple[str, str], ...] = ()
    title: str | None = None
    answers: tuple[tuple[str, str | None], ...] = ()


ABSENT, DELETED = "absent", "deleted"
State = Stored | str


class Journal:
    """The notes of a run, in the order in which they came."""

    def __init__(self, notes: Iterable[Note]) -> None:
        self.done: dict[str, int] = {}
        self.begun: list[tuple[int, str, Operation]] = []
        for place, note in enumerate(notes):
            if isinstance(note, Begun):
                self.begun.append((place, note.number, note.operation))
            elif isinstance(note, Done):
                self.done[note.number] = place

    def turns(self, session: str) -> Iterator[tuple[tuple[str, ...], int | None]]:
        """Each turn of a shared session, and the place of its acknowledgement."""
        for _, number, operation in self.begun:
            if isinstance(operation, Append | Save) and operation.session == session:
                yield operation.ids, self.done.get(number)


def judge(notes: Sequence[Note], stored: Mapping[str, State]) -> list[str]:
    """Every broken promise, as a sentence. `stored` has each session that is there, and tombstones as `DELETED`."""
    journal = Journal(notes)
    faults: list[str] = []
    for session in SHARED:
        faults.extend(_judge_shared(journal, session, stored.get(session, ABSENT), len(notes)))
    faults.extend(_judge_own(journal, stored))
    for began, number, operation in journal.begun:
        if isinstance(operation, Fork):
            state = stored.get(operation.session, ABSENT)
            if state != ABSENT:
                faults.extend(_judge_shared(journal, operation.source, state, began, name=operation.session))
            elif number in journal.done:
                faults.append(f"{operation.session} was acknowledged and isn't there")
    known = {operation.session for _, _, operation in journal.begun} | set(SHARED)
    faults.extend(f"nobody asked for session {session}" for session in stored if session not in known)
    return faults


def _judge_shared(journal: Journal, session: str, state: State, before: int, name: str = "") -> Iterator[str]:
    """A shared session, or a fork of it that began at the place `before` of the journal."""
    name = name or session
    if not isinstance(state, Stored):
        yield f"{name} is {state}"
        return
    places = {id: place for place, (id, _) in enumerate(state.messages)}
    if len(places) < len(state.messages):
        yield f"{name} holds a message twice"
    unknown = set(places)
    for ids, acknowledged in journal.turns(session):
        there = [places[id] for id in ids if id in places]
        unknown.difference_update(ids)
        if not there:
            if acknowledged is not None and acknowledged < before:
                yield f"{name} lost the acknowledged turn {ids}"
        elif there != list(range(there[0], there[0] + len(ids))):
            yield f"{name} holds the turn {ids} torn, at {there}"
    if unknown:
        yield f"{name} holds what nobody asked for: {sorted(unknown)}"
    yield from (f"{name}: text of {id} is {text!r}" for id, text in state.messages if text != f"text of {id}")


def _judge_own(journal: Journal, stored: Mapping[str, State]) -> Iterator[str]:
    by_session: defaultdict[str, list[tuple[str, Operation]]] = defaultdict(list)
    for _, number, operation in journal.begun:
        if operation.session not in SHARED and not isinstance(operation, Fork):
            by_session[operation.session].append((number, operation))
    for session, operations in by_session.items():
        possible: list[State] = [ABSENT]
        for number, operation in operations:
            after = _after(possible[-1], operation)
            possible = [after] if number in journal.done else [possible[-1], after]
        state = stored.get(session, ABSENT)
        if state not in possible:
            yield f"{session} is {state}, and may be one of {possible}"


def _after(state: State, operation: Operation) -> State:
    """What an operation makes of a session that only its writer changes."""
    if isinstance(operation, Create):
        return Stored(tuple((id, f"text of {id}") for id in operation.ids))
    assert isinstance(state, Stored)
    messages, answers = state.messages, dict(state.answers)
    match operation:
        case Delete():
            return DELETED
        case Edit(id=changed, text=text):
            messages = tuple((id, text if id == changed else old) for id, old in messages)
        case RemoveLast():
            messages = messages[:-1]
        case Rename(title=title):
            return msgspec.structs.replace(state, title=title)
        case Ask(question=question):
            answers[question] = None
        case Answer(question=question, text=text):
            answers[question] = text
            messages = (*messages, (f"answer-{question}", text))
        case _:
            raise AssertionError(operation)
    return msgspec.structs.replace(state, messages=messages, answers=tuple(answers.items()))
