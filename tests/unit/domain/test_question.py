import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain import question as rules
from bamboo_sessions.domain.clock import EPOCH, MICROSECOND
from bamboo_sessions.domain.errors import (
    InputError,
    InvalidAnswerError,
    NoPendingQuestionError,
    QuestionAlreadyAnsweredError,
)
from bamboo_sessions.domain.ids import check_message_id
from bamboo_sessions.domain.limits import ID_CHARS_MAX, QUESTIONS_SETTLED_KEPT
from bamboo_sessions.domain.question import (
    PendingQuestion,
    QuestionOption,
    Questions,
    QuestionState,
    advanced,
    answered,
    changed_since,
    check_question,
    find,
    label_of,
    merged,
    oldest_open,
    remembered,
    united,
)
from bamboo_sessions.testing import strategies

AT = datetime(2026, 1, 1, tzinfo=UTC)
STATES: tuple[QuestionState, ...] = ("open", "withdrawn", "answered", "consumed")


def _ask(id: str = "q", *options: str | QuestionOption, custom: bool = True, call: str = "call") -> PendingQuestion:
    return PendingQuestion(call, "ask", "Go?", options, custom, id=id, asked_at=AT)


def _answer(question: PendingQuestion, text: str, answer_id: str | None = None) -> PendingQuestion | None:
    return answered("s", question, text, answer_id=answer_id, at=AT)


def _answered(question: PendingQuestion, text: str, answer_id: str | None = None) -> PendingQuestion:
    after = _answer(question, text, answer_id)
    assert after is not None
    return after


# --- answering


def test_G6_an_answer_is_recorded() -> None:
    """An answered question knows its answer, who sent it, which option it was, and when (G6)."""
    after = _answered(_ask("q", "yes", "no"), "yes", "a1")
    assert (after.state, after.answer, after.answer_id, after.option_id) == ("answered", "yes", "a1", "yes")
    assert after.answered_at == AT
    assert not after.is_open


@dataclass(frozen=True)
class Again:
    text: str
    answer_id: str | None
    accepted: bool


@pytest.mark.parametrize(
    "again",
    [
        Again("yes", "a1", accepted=True),
        Again("anything", "a1", accepted=True),
        Again("yes", None, accepted=True),
        Again("yes", "a2", accepted=False),
        Again("no", None, accepted=False),
        Again("no", "a2", accepted=False),
    ],
)
@pytest.mark.parametrize("state", ["answered", "consumed"])
def test_G6_the_same_answer_again_succeeds_another_is_refused(again: Again, state: QuestionState) -> None:
    """An answer id says whether it is the same answer; without one the text does (G6)."""
    question = msgspec.structs.replace(_answered(_ask(), "yes", "a1"), state=state)
    if again.accepted:
        assert _answer(question, again.text, again.answer_id) is None
    else:
        with pytest.raises(QuestionAlreadyAnsweredError) as caught:
            _answer(question, again.text, again.answer_id)
        assert caught.value.answer == "yes"


def test_a_withdrawn_question_takes_no_answer() -> None:
    """Nobody waits for it any more."""
    with pytest.raises(NoPendingQuestionError):
        _answer(msgspec.structs.replace(_ask(), state="withdrawn"), "yes")


@pytest.mark.parametrize("text", ["", "maybe", "YES", None, 5])
def test_G6_a_rejected_answer_leaves_the_question_open(text: str) -> None:
    """An answer that isn't among the options is refused, and nothing changes (G6)."""
    question = _ask("q", "yes", QuestionOption("n", "No"), custom=False)
    with pytest.raises(InvalidAnswerError) as caught:
        _answer(question, text)
    assert caught.value.options == ("yes", "No")
    assert question.is_open


def test_custom_answers() -> None:
    """Where they are allowed, or where there are no options, any text but the empty one is an answer."""
    assert _answered(_ask("q", "yes"), "maybe").option_id is None
    assert _answered(_ask("q", custom=False), "maybe").answer == "maybe"
    for bad in ("", 5):
        with pytest.raises(InvalidAnswerError):
            _answer(_ask("q", "yes"), bad)  # type: ignore[arg-type]


def test_L48_options_are_recognised_by_id() -> None:
    """An option is chosen by id or label, and an id beats another option's label (L48)."""
    question = _ask("q", QuestionOption("y", "Yes"), QuestionOption("Yes", "y"), custom=False)
    assert _answered(question, "y").option_id == "y"
    assert _answered(question, "Yes").option_id == "Yes"
    assert _answered(_ask("q", QuestionOption("y", "Ja"), custom=False), "Ja").option_id == "y"


def test_L48_the_same_option_in_another_language_is_the_same_answer() -> None:
    """Repeating an answer succeeds when the same option is named by its id and by its label (L48)."""
    first = _answered(_ask("q", QuestionOption("y", "Ja")), "Ja")
    assert _answer(first, "y") is None
    with pytest.raises(QuestionAlreadyAnsweredError):
        _answer(first, "n")


def test_labels() -> None:
    """A plain option is its own label."""
    assert [label_of(option) for option in ("a", QuestionOption("b", "B"))] == ["a", "B"]


# --- finding


def test_the_oldest_open_question_is_pending() -> None:
    """The one asked first is asked first; equal times are ordered by id; answered ones don't count."""
    late = msgspec.structs.replace(_ask("a"), asked_at=AT + timedelta(seconds=1))
    done = msgspec.structs.replace(_ask("0"), state="answered")
    assert oldest_open((late, done, _ask("c"), _ask("b"))) == _ask("b")
    assert oldest_open((done,)) is None
    assert oldest_open(()) is None


def test_questions_are_found_by_id_and_by_call() -> None:
    """An id names one question in any state; a call id, which providers reuse, the oldest open one."""
    old = msgspec.structs.replace(_ask("1"), state="consumed")
    questions = (old, _ask("2"), _ask("3"), _ask("4", call="other"))
    assert find("s", questions, "1") is old
    assert find("s", questions, "call").id == "2"
    assert find("s", questions, "other").id == "4"
    assert find("s", (old,), "call") is old
    withdrawn = msgspec.structs.replace(_ask("1"), state="withdrawn")
    for known in ((), (withdrawn,)):
        with pytest.raises(NoPendingQuestionError) as caught:
            find("s", known, "call")
        assert caught.value.question == "call"


# --- uniting


def _questions() -> st.SearchStrategy[Questions]:
    one = st.builds(
        lambda id, state: msgspec.structs.replace(_ask(id), state=state),
        st.sampled_from("abc"),
        st.sampled_from(STATES),
    )
    return st.lists(one, max_size=3, unique_by=lambda question: question.id).map(tuple)


def _states(questions: Questions) -> dict[str, int]:
    return {question.id: STATES.index(question.state) for question in questions}


@given(_questions(), _questions())
def test_L50_states_only_go_forward(one: Questions, other: Questions) -> None:
    """In a union each question has the later of its two states, and none is missing (G6, L50)."""
    first, second, both = _states(one), _states(other), _states(united(one, other))
    assert both == {id: max(first.get(id, 0), second.get(id, 0)) for id in first | second}
    assert _states(united(other, one)) == both
    assert united(one, one) == one


def test_G6_of_two_answers_the_committed_one_stands() -> None:
    """Uniting keeps the first side's answer, also when the other side has consumed its own (G6)."""
    mine, theirs = _answered(_ask(), "no"), _answered(_ask(), "yes")
    consumed = msgspec.structs.replace(mine, state="consumed")
    (kept,) = united((theirs,), (mine,))
    assert kept.answer == "yes"
    (kept,) = united((theirs,), (consumed,))
    assert (kept.answer, kept.state) == ("yes", "consumed")


def test_what_changed_since() -> None:
    """Only new questions and those that moved on count as changed."""
    base = (_ask("a"), _ask("b"))
    now = (_ask("a"), msgspec.structs.replace(_ask("b"), state="withdrawn"), _ask("c"))
    assert [question.id for question in changed_since(base, now)] == ["b", "c"]
    assert [question.state for question in advanced(base, "b", "consumed")] == ["open", "consumed"]


# --- ten thousand questions in a life


def _settled(number: int, state: QuestionState = "consumed") -> PendingQuestion:
    return msgspec.structs.replace(_ask(f"q{number}"), state=state, asked_at=EPOCH + number * MICROSECOND)


def test_a_head_remembers_the_questions_that_were_settled_last() -> None:
    """Open ones stay whatever their age; the oldest settled ones are forgotten, many at once."""
    oldest = _settled(0, "open")
    many = (oldest, *(_settled(number) for number in range(1, 2 * QUESTIONS_SETTLED_KEPT + 1)))
    assert remembered(many) is many
    late = msgspec.structs.replace(_settled(1, "answered"), id="late", answered_at=EPOCH + 10**9 * MICROSECOND)
    kept = remembered((*many, late))
    assert len(kept) == QUESTIONS_SETTLED_KEPT + 1
    assert (kept[0], kept[-1]) == (oldest, late)
    assert kept[1].id == f"q{QUESTIONS_SETTLED_KEPT + 2}"


def test_G6_a_forgotten_question_is_never_opened_again() -> None:
    """A stale copy that has it still, or a copy without a base, doesn't bring it back; a new question is added."""
    durable = tuple(_settled(number) for number in range(1_000, 1_000 + QUESTIONS_SETTLED_KEPT))
    stale, new = _settled(1, "open"), _settled(10, "open")
    withdrawn_since = msgspec.structs.replace(stale, state="withdrawn")
    assert merged((stale,), (withdrawn_since, new), durable) == (*durable, new)
    assert merged((stale,), (stale,), durable) == durable
    later = _settled(9_999, "open")
    assert merged(None, (stale, later), durable) == (*durable, later)
    assert merged(None, (stale,), durable[1:]) == (*durable[1:], stale)  # few enough to remember all


# --- at the door


@given(strategies.questions())
def test_questions_of_any_text_are_accepted(question: PendingQuestion) -> None:
    """NUL and lone surrogates may be asked, too (L94)."""
    check_question(question)
    check_message_id(question.answer_message_id)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"id": ""}, "question id"),
        ({"question": 5}, "PendingQuestion.question"),
        ({"tool_name": None}, "PendingQuestion.tool_name"),
        ({"source": 5}, "PendingQuestion.source"),
        ({"options": "yes"}, "PendingQuestion.options must be a list"),
        ({"options": ("yes", 5)}, "PendingQuestion.options[1]"),
        ({"options": [{"id": 5, "label": "no"}]}, "QuestionOption.id"),
        ({"asked_at": datetime(2026, 1, 1)}, "PendingQuestion.asked_at"),  # noqa: DTZ001 - naive on purpose
        ({"state": "lost"}, "PendingQuestion.state"),
    ],
)
def test_what_could_not_be_read_back_is_refused(fields: dict[str, object], place: str) -> None:
    """A question with a field of the wrong type is refused when it is made, by the place (L86)."""
    with pytest.raises(InputError, match=re.escape(place)) as refused:
        PendingQuestion(**{"tool_call_id": "c", "tool_name": "t", "question": "q", **fields})  # type: ignore[arg-type]
    assert refused.value.hint


def test_only_a_question_is_asked() -> None:
    """A text is none; the error says how one is made."""
    with pytest.raises(InputError, match="must be a PendingQuestion"):
        check_question("text")


def test_options_given_as_a_list_are_frozen() -> None:
    """A question is frozen, its options too."""
    question = PendingQuestion("c", "t", "q", ["yes", {"id": "n", "label": "no"}])  # type: ignore[arg-type]
    assert question.options == ("yes", QuestionOption("n", "no"))


def test_each_question_has_one_answer_message() -> None:
    """The id of the answer's message is fixed by the question's id, however long that is."""
    ids = {_ask(id).answer_message_id for id in ("a", "b", "x" * 511 + "a", "x" * 511 + "b")}
    assert len(ids) == 4
    assert all(check_message_id(id) == id for id in ids)
    assert _ask("a").answer_message_id == "answer-a"


def test_the_order_of_states_is_complete() -> None:
    """Each state has a rank, in the order in which a question passes through them."""
    assert sorted(rules._RANK, key=lambda state: rules._RANK[state]) == list(STATES)


# --- borders that mutants have shown


def test_G6_an_answer_is_not_lost_by_uniting() -> None:
    """An open question takes over the answered one with its answer; an equally late one changes nothing (G6)."""
    reply = msgspec.structs.replace(_ask(), state="answered", answer="yes", answer_id="1")
    assert united((_ask(),), (reply,)) == (reply,)
    other = msgspec.structs.replace(_ask(), question="Really?")
    assert united((_ask(),), (other,)) == (_ask(),)


def test_the_longest_readable_answer_id() -> None:
    """The answer's message id names the question as long as that fits."""
    id = "q" * (ID_CHARS_MAX - len("answer-"))
    assert _ask(id).answer_message_id == f"answer-{id}"
    assert _ask(id + "q").answer_message_id != f"answer-{id}q"


@pytest.mark.parametrize(
    ("state", "text", "error"),
    [
        ("answered", "no", QuestionAlreadyAnsweredError),
        ("withdrawn", "no", NoPendingQuestionError),
        ("open", "", InvalidAnswerError),
    ],
)
def test_refusals_name_session_and_question(state: QuestionState, text: str, error: type[Exception]) -> None:
    """Whoever is refused learns of which session and question."""
    question = msgspec.structs.replace(_ask(), state=state, answer="yes")
    with pytest.raises(error) as caught:
        answered("s", question, text, answer_id=None, at=AT)
    assert (vars(caught.value)["session_id"], vars(caught.value)["question"]) == ("s", "q")


@pytest.mark.parametrize("state", STATES)
def test_every_state_comes_back_as_it_was_stored(state: QuestionState) -> None:
    """A stored question names its state, and every release knows the four of them."""
    question = msgspec.structs.replace(_ask(), state=state)
    assert msgspec.json.decode(msgspec.json.encode(question), type=PendingQuestion) == question
    check_question(question)
    named = {"tool_call_id": "c", "tool_name": "f", "question": "q", "state": state}
    assert msgspec.convert(named, PendingQuestion).state == state
