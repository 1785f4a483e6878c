"""An independent check of a store: what was acknowledged against what is there.

For soak tests: every writer notes what was acknowledged, *after* the call returned, one JSON line each (`to_line`).
At the end, or after a crash, somebody reads the store back in a fresh process and compares (`check_history`). The
checker knows nothing of saves and merges. It holds the store to these guarantees and no others:

- G2: an acknowledged message is there exactly once, until an acknowledged removal;
- G3: the messages of one commit stand next to one another, in order, and a tool's result behind its call;
- G5: what a person set stands, and `metadata_version` never goes back;
- G6: a question is answered once, and doesn't re-open.

What nobody acknowledged (a writer was killed between commit and note) is no fault, whether it is there or not.

```python
log.write(to_line(TurnAcknowledged("chat-42", "writer-1", ("m1", "m2"))))
…
verdict = check_history(read_lines(log), [StoredSession.of(await sessions.get("chat-42"))])
assert verdict.ok, verdict.findings
```
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from bamboo_sessions.domain.session import Session

# --- what was acknowledged


class _Acknowledged(msgspec.Struct, frozen=True, omit_defaults=True):
    session_id: str
    writer: str


class TurnAcknowledged(_Acknowledged, frozen=True, tag="turn"):
    """One commit that added messages: a save, a checkpoint or an append. `message_ids` in the order given."""

    message_ids: tuple[str, ...]


class ChangeAcknowledged(_Acknowledged, frozen=True, tag="change"):
    """A person's change: `what` is `"title"`, `"pinned"`, `"archived"` or `"value:<key>"`.

    `metadata_version` is the one that the call returned. The changes that one `writer` makes to one session must be
    noted in the order in which they were made.
    """

    what: str
    value: Any
    metadata_version: int


class QuestionAcknowledged(_Acknowledged, frozen=True, tag="question"):
    """A question that was asked."""

    question_id: str


class AnswerAcknowledged(_Acknowledged, frozen=True, tag="answer"):
    """An answer that was accepted, and the id of the tool message that carries it."""

    question_id: str
    answer: str
    message_id: str


class RemovalAcknowledged(_Acknowledged, frozen=True, tag="removal"):
    """Messages that were taken out on purpose."""

    message_ids: tuple[str, ...]


class DeletionAcknowledged(_Acknowledged, frozen=True, tag="deletion"):
    """A session that was deleted and not created again."""


Acknowledgement = (
    TurnAcknowledged
    | ChangeAcknowledged
    | QuestionAcknowledged
    | AnswerAcknowledged
    | RemovalAcknowledged
    | DeletionAcknowledged
)

_decoder: Final = msgspec.json.Decoder[Acknowledgement](Acknowledgement)


def to_line(acknowledgement: Acknowledgement) -> bytes:
    """One JSON line, its end included. Write it in one call: then a killed writer leaves at most the last one torn."""
    return msgspec.json.encode(acknowledgement) + b"\n"


def read_lines(lines: Iterable[bytes]) -> Iterator[Acknowledgement]:
    """The acknowledgements in a log. A last line without its end was never finished, and is left out.

    Raises `msgspec.DecodeError` (a `ValueError`) for a whole line that is none.
    """
    for line in lines:
        if line.endswith(b"\n") and not line.isspace():
            yield _decoder.decode(line)


# --- what is stored


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """What the checker looks at in a message.

    Args:
        id: Its identity.
        role: Who speaks.
        calls: Ids of the tool calls that it makes.
        result_of: In a tool's result: the id of its call.
    """

    id: str
    role: str
    calls: tuple[str, ...] = ()
    result_of: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What the checker looks at in a session that was read back.

    Args:
        id: Its identity.
        messages: The live ones, in order.
        metadata_version: As stored.
        changeable: What people can set, by the names that `ChangeAcknowledged.what` uses. A missing name is unset.
        answers: By question id: the answer, or `None` while the question is open or was withdrawn.
    """

    id: str
    messages: tuple[StoredMessage, ...] = ()
    metadata_version: int = 0
    changeable: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session) -> StoredSession:
        """What is looked at in a `Session`. Load it from a repository that wrote nothing itself."""
        return cls(
            id=session.id,
            messages=tuple(
                StoredMessage(
                    message.id, message.role, tuple(call.id for call in message.tool_calls), message.tool_call_id
                )
                for message in session.messages
            ),
            metadata_version=session.metadata_version,
            changeable={
                "title": session.title,
                "pinned": session.pinned,
                "archived": session.archived,
                **{f"value:{key}": value for key, value in session.metadata.items()},
            },
            answers={question.id: question.answer for question in session.questions},
        )


# --- the verdict

Fault = Literal["lost", "reverted", "duplicated", "torn", "doubled"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise: its kind, where, and a sentence that says what is wrong."""

    fault: Fault
    session_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Args:
        sessions: Sessions that were stored or acknowledged.
        acknowledged: Acknowledged messages, answers included, removed ones not.
        there: How many of them are there.
        unacknowledged: Messages that are there though nobody noted them; no fault.
        changes: Acknowledged changes of titles, pins and values.
        answers: Acknowledged answers.
        findings: Everything that is wrong.
    """

    sessions: int
    acknowledged: int
    there: int
    unacknowledged: int
    changes: int
    answers: int
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.findings

    def count(self, fault: Fault) -> int:
        """How often one kind of promise was broken."""
        return sum(finding.fault == fault for finding in self.findings)

    @property
    def lost(self) -> int:
        """Acknowledged messages that aren't there."""
        return self.count("lost")

    @property
    def reverted(self) -> int:
        """Titles, pins, values and questions that went back behind what was acknowledged, and versions that did."""
        return self.count("reverted")

    @property
    def duplicated(self) -> int:
        """Messages that are there more than once."""
        return self.count("duplicated")

    @property
    def torn(self) -> int:
        """Turns that aren't whole, in order and together, and tool results parted from their call."""
        return self.count("torn")

    @property
    def doubled(self) -> int:
        """Questions for which more than one answer took effect."""
        return self.count("doubled")


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
        """Whether `ids` stand in order with nothing in between but tool results that joined their calls.

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
        messages = self.stored.messages
        return all(messages[place].role == "tool" and messages[place].result_of in calls for place in between)

    def _check_places(self, expected: Mapping[str, str]) -> None:
        """Every acknowledged tool result stands behind its call, with other results at most between the two."""
        if self.removed:
            return  # a call id may be used twice; whose call was removed can't be told
        messages = self.stored.messages
        called = {call for message in messages for call in message.calls}
        for place, message in enumerate(messages):
            if message.role != "tool" or message.result_of not in called or message.id not in expected:
                continue
            before = place - 1
            while before >= 0 and messages[before].role == "tool":
                before -= 1
            if before < 0 or message.result_of not in messages[before].calls:
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
