"""The comparison, session by session and guarantee by guarantee."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bamboo_sessions.testing.history_checker.notes import (
    Acknowledgement,
    AnswerAcknowledged,
    ChangeAcknowledged,
    DeletionAcknowledged,
    QuestionAcknowledged,
    RemovalAcknowledged,
    TurnAcknowledged,
)
from bamboo_sessions.testing.history_checker.stored import StoredMessage, StoredSession
from bamboo_sessions.testing.history_checker.verdict import Fault, Finding, Verdict


def check_history(acknowledged: Iterable[Acknowledgement], stored: Iterable[StoredSession]) -> Verdict:
    """Compare what was acknowledged with what is stored. Pure; costs time in proportion to both.

    Args:
        acknowledged: All notes of all writers, in any order of writers; each writer's own in its order.
        stored: All sessions, each once, as they were read back.
    """
    notes: defaultdict[str, list[Acknowledgement]] = defaultdict(list)
    for note in acknowledged:
        notes[note.session_id].append(note)
    by_id = {session.id: session for session in stored}
    verdicts = [_Check(id_, notes[id_], by_id.get(id_)).verdict() for id_ in sorted({*notes, *by_id})]
    return Verdict(
        sessions=len(verdicts),
        acknowledged=sum(verdict.acknowledged for verdict in verdicts),
        there=sum(verdict.there for verdict in verdicts),
        unacknowledged=sum(verdict.unacknowledged for verdict in verdicts),
        changes=sum(verdict.changes for verdict in verdicts),
        answers=sum(verdict.answers for verdict in verdicts),
        findings=tuple(finding for verdict in verdicts for finding in verdict.findings),
    )


class _Check:
    """The check of one session."""

    def __init__(self, session_id: str, notes: list[Acknowledgement], stored: StoredSession | None) -> None:
        self.session_id = session_id
        self.deleted = any(isinstance(note, DeletionAcknowledged) for note in notes)
        self.turns = [note for note in notes if isinstance(note, TurnAcknowledged)]
        self.changes = [note for note in notes if isinstance(note, ChangeAcknowledged)]
        self.asked = [note for note in notes if isinstance(note, QuestionAcknowledged)]
        self.answers = [note for note in notes if isinstance(note, AnswerAcknowledged)]
        self.removed = {id_ for note in notes if isinstance(note, RemovalAcknowledged) for id_ in note.message_ids}
        self.exists = stored is not None
        self.stored = stored or StoredSession(session_id)
        self.places: dict[str, int] = {}
        for place, message in enumerate(self.stored.messages):
            self.places.setdefault(message.id, place)
        self.findings: list[Finding] = []

    def found(self, fault: Fault, detail: str) -> None:
        self.findings.append(Finding(fault, self.session_id, detail))

    def verdict(self) -> Verdict:
        by_writer = {id_: turn.writer for turn in self.turns for id_ in turn.message_ids}
        by_writer.update({answer.message_id: answer.writer for answer in self.answers})
        expected = {} if self.deleted else {id_: by for id_, by in by_writer.items() if id_ not in self.removed}
        if self.deleted:
            if self.exists:
                self.found("reverted", "was deleted and is there again")
        else:
            self._check_presence(expected)
            self._check_turns()
            self._check_places(expected)
            self._check_changes()
            self._check_answers()
        return Verdict(
            sessions=1,
            acknowledged=len(expected),
            there=sum(id_ in self.places for id_ in expected),
            unacknowledged=sum(id_ not in by_writer for id_ in self.places),
            changes=len(self.changes),
            answers=len(self.answers),
            findings=tuple(self.findings),
        )

    # --- G2

    def _check_presence(self, expected: Mapping[str, str]) -> None:
        for id_, writer in expected.items():
            if id_ not in self.places:
                self.found("lost", f"message {id_!r}, acknowledged to {writer}, isn't there")
        for id_, times in Counter(message.id for message in self.stored.messages).items():
            if times > 1:
                self.found("duplicated", f"message {id_!r} is there {times} times")
        for id_ in sorted(self.removed & self.places.keys()):
            self.found("reverted", f"message {id_!r} was removed and is there again")

    # --- G3

    def _check_turns(self) -> None:
        for turn in self.turns:
            ids = [id_ for id_ in turn.message_ids if id_ not in self.removed]
            there = [id_ for id_ in ids if id_ in self.places]
            name = f"the turn {ids[0]!r} … {ids[-1]!r} of {turn.writer}" if ids else ""
            if there and len(there) < len(ids):
                self.found("torn", f"only {len(there)} of {len(ids)} messages are there of {name}")
            elif there and not self._is_together(there):
                self.found("torn", f"other messages are inside, or the order is another, in {name}")

    def _is_together(self, ids: list[str]) -> bool:
        """Whether `ids` stand in order with nothing in between but tool results that joined a call group there.

        Results of earlier turns' calls stand with those, not here.
        """
        calls: set[str | None] = set()
        block: list[int] = []
        elsewhere: set[int] = set()
        for place in (self.places[id_] for id_ in ids):
            message = self.stored.messages[place]
            if message.role == "tool" and message.result_of not in calls:
                elsewhere.add(place)
            else:
                block.append(place)
                calls.update(message.calls)
        if not block:
            return True
        if block != sorted(block):
            return False
        between = set(range(block[0], block[-1])) - {*block} - elsewhere
        return all(self.stored.messages[place].role == "tool" for place in between)

    def _check_places(self, expected: Mapping[str, str]) -> None:
        """Every acknowledged tool result stands in the group of its call."""
        if self.removed:
            return  # a call id may be used twice; whose call was removed can't be told
        messages = self.stored.messages
        called = {call for message in messages for call in message.calls}
        for place, message in enumerate(messages):
            if message.role != "tool" or message.result_of not in called or message.id not in expected:
                continue
            if message.result_of not in _calls_before(messages, place):
                self.found("torn", f"tool result {message.id!r} doesn't stand behind its call {message.result_of!r}")

    # --- G5

    def _check_changes(self) -> None:
        newest: dict[str, ChangeAcknowledged] = {}
        last_of_writer: dict[str, int] = {}
        for change in self.changes:
            version = change.metadata_version
            last = last_of_writer.get(change.writer, 0)
            if version < last:
                self.found("reverted", f"{change.writer} got metadata_version {version} after {last}")
            last_of_writer[change.writer] = max(version, last)
            if change.what not in newest or version >= newest[change.what].metadata_version:
                newest[change.what] = change
        known = {change.metadata_version for change in self.changes}
        stored = self.stored.metadata_version
        if known and stored < max(known):
            self.found("reverted", f"metadata_version {max(known)} was acknowledged, {stored} is stored")
        for what, change in newest.items():
            value = self.stored.changeable.get(what)
            unknown = any(version not in known for version in range(change.metadata_version + 1, stored + 1))
            if value != change.value and not unknown:
                self.found("reverted", f"{what} was set to {change.value!r} by {change.writer} and is {value!r}")

    # --- G6

    def _check_answers(self) -> None:
        accepted: defaultdict[str, set[str]] = defaultdict(set)
        for note in self.answers:
            accepted[note.question_id].add(note.answer)
        for question_id in [*dict.fromkeys([*(note.question_id for note in self.asked), *accepted])]:
            answers = sorted(accepted[question_id])
            if len(answers) > 1:
                self.found("doubled", f"question {question_id!r} accepted {', '.join(map(repr, answers))}")
            if question_id not in self.stored.answers:
                self.found("reverted", f"question {question_id!r} isn't there")
                continue
            answer = self.stored.answers[question_id]
            if answers and answer is None:
                self.found("reverted", f"question {question_id!r} was answered and is open again")
            elif answers and answer not in answers:
                self.found("doubled", f"question {question_id!r} accepted {answers[0]!r} and stores {answer!r}")


def _calls_before(messages: Sequence[StoredMessage], place: int) -> set[str]:
    """The calls of the group that the tool message at `place` is in: of the run of calls in front of the results."""
    while place >= 0 and messages[place].role == "tool":
        place -= 1
    calls: set[str] = set()
    if place >= 0 and messages[place].calls:
        while place >= 0 and messages[place].role in {"assistant", "event"}:
            calls.update(messages[place].calls)
            place -= 1
    return calls
