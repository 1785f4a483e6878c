"""Questions of an agent to a person: open → answered → consumed, or withdrawn. A state only goes forward (G6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import EPOCH, now, utc
from bamboo_sessions.domain.errors import (
    InputError,
    InvalidAnswerError,
    NoPendingQuestionError,
    QuestionAlreadyAnsweredError,
)
from bamboo_sessions.domain.ids import check_name, new_id
from bamboo_sessions.domain.limits import ID_CHARS_MAX, QUESTIONS_SETTLED_KEPT
from bamboo_sessions.domain.values import Value

QuestionState = Literal["open", "withdrawn", "answered", "consumed"]

_RANK: Final[dict[QuestionState, int]] = {"open": 0, "withdrawn": 1, "answered": 2, "consumed": 3}


class QuestionOption(Value, frozen=True, gc=False):
    """One offered answer. The `id` is what counts, the label may be translated (L48)."""

    id: str
    label: str

    def __post_init__(self) -> None:
        """Check types."""
        _check_text(self.id, "QuestionOption.id")
        _check_text(self.label, "QuestionOption.label")


class PendingQuestion(Value, frozen=True, gc=False, omit_defaults=True):
    """A question to a person, and what became of it.

    Args:
        tool_call_id: The tool call that asks. Providers reuse these, so it isn't the identity.
        tool_name: The tool that asks.
        question: What the person reads.
        options: Offered answers, as plain texts or with ids.
        allow_custom: Whether any other text is an answer as well.
        source: Where the question comes from, for display. `None` if nobody said.
        id: Identity; a UUIDv7 by default.
        state: `open`, `answered` (a person did), `consumed` (a run took the answer up) or `withdrawn`.
        answer: The answer's text, once answered.
        answer_id: The idempotency key of that answer.
        option_id: The option that it chose, if it chose one.
        asked_at: When it was made, aware UTC.
        answered_at: When it was answered.
        lease_token: The run lease that asked, if one did; set by the working copy.
    """

    tool_call_id: str
    tool_name: str
    question: str
    options: tuple[str | QuestionOption, ...] = ()
    allow_custom: bool = True
    source: str | None = None
    id: str = msgspec.field(default_factory=new_id)
    state: QuestionState = "open"
    answer: str | None = None
    answer_id: str | None = None
    option_id: str | None = None
    asked_at: datetime = msgspec.field(default_factory=now)
    answered_at: datetime | None = None
    lease_token: int | None = None

    def __post_init__(self) -> None:
        """Check what the type checker can't, and bring it into the form that is stored."""
        for name in ("tool_call_id", "tool_name", "question", "source", "answer", "answer_id", "option_id"):
            value = getattr(self, name)
            if value is not None or name in {"tool_call_id", "tool_name", "question"}:
                _check_text(value, f"PendingQuestion.{name}")
        check_name(self.id, what="question id")
        if self.state not in _RANK:
            message = f"PendingQuestion.state can't be {self.state!r}."
            raise InputError(message, hint="Leave it out: a new question is open.")
        if type(self.options) is not tuple or self.options:
            msgspec.structs.force_setattr(self, "options", _options(self.options))
        msgspec.structs.force_setattr(self, "asked_at", utc(self.asked_at, what="PendingQuestion.asked_at"))

    @property
    def is_open(self) -> bool:
        """Whether it still waits for an answer."""
        return self.state == "open"

    @property
    def answer_message_id(self) -> str:
        """The id of the tool message that carries the answer: fixed, so that it is written once."""
        id = f"answer-{self.id}"
        return (
            id
            if len(id) <= ID_CHARS_MAX
            else f"answer-{blake2b(self.id.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
        )


def _check_text(value: object, place: str) -> None:
    if not isinstance(value, str):
        message = f"{place} must be text, not {type(value).__name__}."
        raise InputError(message, hint="Write PendingQuestion(tool_call_id, tool_name, question, options=[…]).")


def _options(given: object) -> tuple[str | QuestionOption, ...]:
    """Options as texts or with ids, however they were given."""
    if not isinstance(given, list | tuple):
        message = f"PendingQuestion.options must be a list, not {type(given).__name__}."
        raise InputError(message, hint=_OPTION_HINT)
    return tuple(_option(option, f"PendingQuestion.options[{place}]") for place, option in enumerate(given))


def _option(given: object, place: str) -> str | QuestionOption:
    if isinstance(given, Mapping) and given.keys() == {"id", "label"}:
        return QuestionOption(given["id"], given["label"])
    if not isinstance(given, str | QuestionOption):
        message = f"{place} must be text or a QuestionOption, not {type(given).__name__}."
        raise InputError(message, hint=_OPTION_HINT)
    return given


_OPTION_HINT: Final = 'Write options=["Yes", "No"], or QuestionOption(id, label) for each.'

Questions = tuple[PendingQuestion, ...]


def oldest_open(questions: Questions) -> PendingQuestion | None:
    """The pending question: the oldest open one."""
    waiting = [question for question in questions if question.is_open]
    return min(waiting, key=lambda question: (question.asked_at, question.id), default=None)


def united(one: Questions, other: Questions) -> Questions:
    """Both sets by id. Of two states the later one stands; of two equally late ones that of `one`."""
    result = {question.id: question for question in one}
    for question in other:
        known = result.get(question.id)
        if known is None or _RANK[question.state] > _RANK[known.state]:
            result[question.id] = question if known is None else _moved_on(known, question)
    return tuple(result.values())


def _moved_on(known: PendingQuestion, later: PendingQuestion) -> PendingQuestion:
    """`later`, but with the answer that stands already: of two answers exactly one wins (G6)."""
    if known.state != "answered":
        return later
    return msgspec.structs.replace(known, state=later.state)


def changed_since(base: Questions, questions: Questions) -> Questions:
    """What is new or further on in `questions`, compared with `base`."""
    known = {question.id: question for question in base}
    return tuple(question for question in questions if known.get(question.id) != question)


def merged(base: Questions | None, mine: Questions, durable: Questions) -> Questions:
    """What is committed, with what was done to the questions in a copy (`base`: when it was loaded, if it was).

    A question that isn't in the head any more was settled and is forgotten: no copy brings it back (G6). One that the
    copy had from the beginning is known to be such; without a base its age tells.
    """
    known = {question.id for question in durable}
    changed = changed_since(base or (), mine)
    if base is not None:
        forgotten = {question.id for question in base} - known
    else:
        since = _remembered_since(durable)
        forgotten = {question.id for question in mine if question.asked_at < since} - known
    return remembered(united(durable, tuple(question for question in changed if question.id not in forgotten)))


def remembered(questions: Questions) -> Questions:
    """`questions`, less the oldest settled ones if they are too many: all open ones, and those settled last.

    Many are forgotten at once, so that this happens seldom.
    """
    settled = [question for question in questions if not question.is_open]
    if len(settled) <= 2 * QUESTIONS_SETTLED_KEPT:
        return questions
    settled.sort(key=_settled_at)
    gone = {question.id for question in settled[:-QUESTIONS_SETTLED_KEPT]}
    return tuple(question for question in questions if question.id not in gone)


def _settled_at(question: PendingQuestion) -> datetime:
    """When it was settled, as far as that is known; never before it was asked."""
    return max(question.asked_at, question.answered_at or question.asked_at)


def _remembered_since(questions: Questions) -> datetime:
    """All questions that were asked since then, and settled, are among `questions`."""
    settled = [_settled_at(question) for question in questions if not question.is_open]
    return min(settled) if len(settled) >= QUESTIONS_SETTLED_KEPT else EPOCH


def advanced(questions: Questions, question_id: str, state: QuestionState) -> Questions:
    """`questions` with one of them moved on to `state`."""
    return tuple(
        msgspec.structs.replace(question, state=state) if question.id == question_id else question
        for question in questions
    )


def withdrawn(questions: Questions) -> Questions:
    """`questions` with every open one withdrawn."""
    return tuple(
        msgspec.structs.replace(question, state="withdrawn") if question.is_open else question for question in questions
    )


def find(session_id: str, questions: Questions, wanted: str) -> PendingQuestion:
    """The question with the id `wanted`, or the open one of the tool call `wanted`.

    An answered one of that tool call is found too if none is open, so that repeating an answer can succeed.
    """
    for question in questions:
        if question.id == wanted:
            return question
    of_call = [question for question in questions if question.tool_call_id == wanted]
    if found := oldest_open(tuple(of_call)):
        return found
    if of_call and of_call[-1].state != "withdrawn":
        return of_call[-1]
    raise NoPendingQuestionError(session_id, wanted)


def answered(
    session_id: str, question: PendingQuestion, text: str, *, answer_id: str | None, at: datetime
) -> PendingQuestion | None:
    """`question` with its answer, or `None` if this very answer stands already.

    Without an `answer_id`, equal text or the same option is the same answer.

    Raises:
        QuestionAlreadyAnsweredError: Another answer stands.
        NoPendingQuestionError: It was withdrawn.
        InvalidAnswerError: `text` is empty or not among the options; the question stays open.
    """
    option = _chosen(question, text)
    if question.state in {"answered", "consumed"}:
        if _is_same_answer(question, text, option, answer_id):
            return None
        raise QuestionAlreadyAnsweredError(session_id, question.id, answer=question.answer)
    if question.state == "withdrawn":
        raise NoPendingQuestionError(session_id, question.id)
    if option is None and (not _is_text(text) or (question.options and not question.allow_custom)):
        labels = tuple(label_of(offered) for offered in question.options)
        raise InvalidAnswerError(session_id, question.id, options=labels)
    return msgspec.structs.replace(
        question, state="answered", answer=text, answer_id=answer_id, option_id=option, answered_at=at
    )


def label_of(option: str | QuestionOption) -> str:
    """What a person reads."""
    return option if isinstance(option, str) else option.label


def _is_same_answer(question: PendingQuestion, text: str, option: str | None, answer_id: str | None) -> bool:
    if answer_id:
        return question.answer_id == answer_id
    return question.answer == text or (option is not None and question.option_id == option)


def _is_text(text: object) -> bool:
    return isinstance(text, str) and bool(text)


def _chosen(question: PendingQuestion, text: str) -> str | None:
    """The option that `text` names. Ids come first: a label may be worded like another option's id (L48)."""
    ids = [option if isinstance(option, str) else option.id for option in question.options]
    if text in ids:
        return text
    labels = [label_of(option) for option in question.options]
    return ids[labels.index(text)] if text in labels else None


_checked: Final = msgspec.json.Decoder(PendingQuestion)


def check_question(value: object) -> None:
    """Raise `InputError` if `value` isn't a question that can be stored."""
    if not isinstance(value, PendingQuestion):
        message = f"A question must be a PendingQuestion, not {type(value).__name__}."
        raise InputError(message, hint="Use PendingQuestion(tool_call_id, tool_name, question).")
    json.encode_readable(value, _checked, what=f"Question {value.id!r}")
