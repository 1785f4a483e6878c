from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given

from bamboo_sessions.domain.errors import InputError, InvalidSessionIdError, LimitExceededError
from bamboo_sessions.domain.head import SessionHead, Summary, head_document, head_from_document, run_status_of
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.limits import HEAD_BYTES_MAX, METADATA_KEYS_MAX, QUESTIONS_PER_SESSION_MAX, SPAWN_DEPTH_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.usage import TokenUsage
from bamboo_sessions.testing import strategies

START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppingClock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """The next second."""
        self.time += timedelta(seconds=1)
        return self.time


def _head(**fields: Any) -> SessionHead:  # noqa: ANN401 - any field
    values = {"id": "s", "root_session_id": "s", "created_at": START, "updated_at": START, "revision": 3, **fields}
    return SessionHead(**values)


def _loaded(*messages: Message, **fields: Any) -> Session:  # noqa: ANN401 - any field
    return Session.from_snapshot(Snapshot(_head(**fields), FrozenMessages(messages)), SteppingClock())


def _question(id: str) -> PendingQuestion:
    return PendingQuestion("call", "ask", "Go?", id=id, asked_at=START)


# --- making one


def test_a_new_session() -> None:
    """A new session is a root of its own, in the default namespace, never saved, and not clean."""
    session = Session("s", "gpt-5.2", clock=SteppingClock())
    assert (session.id, session.model, session.namespace, session.kind) == ("s", "gpt-5.2", "default", "root")
    assert (session.root_session_id, session.parent_session_id, session.spawn_depth) == ("s", None, 0)
    assert (session.revision, session.incarnation, session.metadata_version, session.title_version) == (0, 0, 0, 0)
    assert session.created_at == session.updated_at == START + timedelta(seconds=1)
    assert (session.base, session.is_clean, list(session.messages), session.message_count) == (None, False, [], 0)
    assert (session.title, session.pinned, session.archived, session.pending_question) == (None, False, False, None)
    assert (session.owner, session.summary, session.token_usage, session.run_state) == (None, None, None, None)
    assert session.metadata == {}
    assert repr(session) == "<Session 's', revision 0, 0 messages>"


def test_fields_given_are_kept() -> None:
    """What the constructor is given is what the session has, times included."""
    earlier = START - timedelta(days=900)
    session = Session(
        "s",
        owner="o",
        kind="job",
        title="T",
        pinned=True,
        run_state={"status": "running"},
        metadata={"a": [1]},
        created_at=earlier,
        updated_at=START,
    )
    head = session.freeze().head
    for holder in (session, head):
        assert (holder.owner, holder.kind, holder.title, holder.pinned) == ("o", "job", "T", True)
        assert (holder.created_at, holder.updated_at) == (earlier, START)
        assert holder.metadata == {"a": [1]}
        assert holder.run_status == "running"


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "a\nb"},
        {"namespace": ""},
        {"owner": ""},
        {"owner": 5},
        {"kind": "x" * 513},
        {"parent_session_id": ""},
        {"root_session_id": "\0"},
        {"spawn_depth": -1},
        {"spawn_depth": SPAWN_DEPTH_MAX + 1},
        {"spawn_depth": "1"},
        {"spawn_depth": True},
        {"title": 5},
        {"model": b"m"},
        {"pinned": "yes"},
        {"run_state": 5},
        {"run_state": {"at": START}},
        {"metadata": {"a": object()}},
        {"metadata": {1: "a"}},
        {"created_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"updated_at": "now"},
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    """Nothing that couldn't be stored gets in."""
    with pytest.raises(InputError):
        Session(**{"id": "s", **wrong})


def test_a_bad_id_has_an_error_of_its_own() -> None:
    """Clients tell a bad session id from other bad input."""
    with pytest.raises(InvalidSessionIdError):
        Session("")


# --- fields

SETTABLE: list[tuple[str, Any, Any]] = [
    ("title", "new", 5),
    ("title", None, b""),
    ("title_version", 3, True),
    ("title_generated", True, 1),
    ("pinned", True, None),
    ("archived", True, "no"),
    ("metadata_version", 9, "9"),
    ("model", "m", 5),
    ("provider", "p", 5),
    ("reasoning_effort", "high", 5),
    ("workspace", "/w", 5),
    ("token_usage", TokenUsage(input_tokens=1), {"input_tokens": 1}),
    ("run_state", "running", 5),
    ("run_state", {"status": "idle"}, ["idle"]),
    ("summary", Summary("so far", "m1"), "so far"),
]


@pytest.mark.parametrize(("name", "value", "wrong"), SETTABLE)
def test_fields_can_be_set_and_touch(name: str, value: object, wrong: object) -> None:
    """Setting a field shows in the session and its draft and moves `updated_at`; a wrong type is refused."""
    session = _loaded(title="old")
    with pytest.raises(InputError, match=f"Session.{name} must be"):
        setattr(session, name, wrong)
    assert session.is_clean
    setattr(session, name, value)
    assert getattr(session, name) == value
    assert not session.is_clean
    draft = session.freeze()
    assert getattr(draft.head, name) == value
    assert draft.head.updated_at == session.updated_at == START + timedelta(seconds=1)
    assert not draft.time_set
    assert session.base is not None
    assert getattr(session.base.head, name) != value


FIXED = [
    "id",
    "namespace",
    "owner",
    "kind",
    "parent_session_id",
    "root_session_id",
    "spawn_depth",
    "forked_from",
    "created_at",
    "incarnation",
    "revision",
    "authoritative_keys",
]


@pytest.mark.parametrize("name", FIXED)
def test_fixed_fields_cannot_be_set(name: str) -> None:
    """Identity is fixed at creation, and what only commits set is not for callers."""
    session = _loaded()
    with pytest.raises(AttributeError, match=name):
        setattr(session, name, getattr(session, name))


def test_every_field_of_the_head_is_there() -> None:
    """A session shows each field that a head has."""
    session = _loaded(title="t")
    draft = session.freeze()
    for name in SessionHead.__struct_fields__:
        if name != "message_count":
            assert getattr(session, name) == getattr(draft.head, name)


def test_setting_a_field_back_leaves_nothing_to_save() -> None:
    """What equals the base isn't a change (L42)."""
    session = _loaded(title="old")
    session.title = "new"
    session.title = "old"
    session.metadata["a"] = 1
    del session.metadata["a"]
    assert session.is_clean


def test_a_state_is_frozen_when_it_is_set() -> None:
    """Changing the dict that was given, or the one that is shown, changes nothing behind the session's back."""
    given: dict[str, Any] = {"status": "running", "steps": [1]}
    session = _loaded()
    session.run_state = given
    given["steps"].append(2)
    assert session.run_state == {"status": "running", "steps": [1]}
    with pytest.raises(TypeError, match="frozen"):
        session.run_state["status"] = "idle"


def test_updated_at_can_be_set_by_hand() -> None:
    """A hand-set time is kept, is a change in itself, and gives way to the next change."""
    session = _loaded()
    session.updated_at = START - timedelta(days=1)
    assert session.updated_at == START - timedelta(days=1)
    draft = session.freeze()
    assert draft.time_set
    assert draft.head.updated_at == START - timedelta(days=1)
    assert not session.is_clean
    session.title = "t"
    assert session.updated_at > START
    assert not session.freeze().time_set


def test_time_never_goes_back_by_a_change() -> None:
    """A clock that is behind the loaded session doesn't make it older."""
    session = _loaded(updated_at=START + timedelta(days=1))
    session.title = "t"
    assert session.updated_at == START + timedelta(days=1)


def test_metadata_is_changed_in_place() -> None:
    """Changes at any depth are seen, the snapshot keeps its own, and saving them moves `updated_at`."""
    session = _loaded(metadata={"a": {"b": [1]}})
    assert session.is_clean
    session.metadata["a"]["b"].append(2)
    assert not session.is_clean
    draft = session.freeze()
    assert draft.head.metadata == {"a": {"b": [1, 2]}}
    assert draft.head.updated_at > START
    assert session.base is not None
    assert session.base.head.metadata == {"a": {"b": [1]}}


def test_metadata_that_is_no_json_is_refused_when_saved() -> None:
    """What can't be stored is found before anything is written, and is named."""
    session = _loaded()
    session.metadata["bad"] = object()
    with pytest.raises(InputError, match="metadata"):
        session.freeze()


def test_numbers_of_another_kind_are_a_change() -> None:
    """`1` in place of `True` is stored differently, so it is saved."""
    session = _loaded(metadata={"a": True})
    session.metadata["a"] = 1
    assert not session.is_clean
    assert session.freeze().head.metadata["a"] is not True


# --- messages


def test_L104_messages_have_no_setter() -> None:
    """A history can't be cut by assigning a shorter list, and the error says what to use (L104)."""
    session = _loaded(Message.user("a"), Message.user("b"))
    with pytest.raises(AttributeError, match="model_view"):
        session.messages = session.messages[-1:]  # type: ignore[assignment]
    assert len(session.messages) == 2
    assert session.is_clean


def test_messages_can_be_extended_with_plus() -> None:
    """`session.messages += …` adds, and doesn't count as assigning."""
    session = _loaded(Message.user("a"))
    session.messages += [Message.user("b")]
    assert [message.text for message in session.messages] == ["a", "b"]


def test_adding_messages_touches() -> None:
    """Each message added moves `updated_at`."""
    session = _loaded()
    session.add_message(Message.user("a"))
    first = session.updated_at
    session.messages.append(Message.user("b"))
    assert START < first < session.updated_at
    assert session.message_count == 2
    assert not session.is_clean


def test_a_draft_keeps_what_was_there() -> None:
    """What is done to the copy after freezing doesn't reach the draft."""
    session = _loaded(Message.user("a"))
    session.add_message(Message.user("b"))
    draft = session.freeze()
    session.add_message(Message.user("c"))
    session.title = "later"
    session.messages[0] = Message.user("d")
    assert [message.text for message in draft.messages] == ["a", "b"]
    assert draft.head.title is None
    assert draft.replaced == {}


def test_a_copy_knows_what_was_done_since_a_draft() -> None:
    """Fields, messages, questions and metadata in place all count; looking doesn't."""
    session = _loaded(Message.user("a"), metadata={"a": [1]})
    draft = session.freeze()
    assert session.metadata["a"] == [1]
    assert session.unchanged_since(draft)
    session.metadata["a"].append(2)
    assert not session.unchanged_since(draft)
    for change in (
        lambda: session.add_message(Message.user("b")),
        lambda: setattr(session, "title", "t"),
        lambda: session.set_pending_question(_question("q")),
        session.messages.pop,
    ):
        draft = session.freeze()
        assert session.unchanged_since(draft)
        change()
        assert not session.unchanged_since(draft)


# --- questions


def test_setting_a_question_adds_one() -> None:
    """A second question doesn't displace the first; the oldest open one is pending (G6)."""
    session = _loaded()
    session.set_pending_question(_question("b"))
    session.set_pending_question(_question("a"))
    session.set_pending_question(_question("a"))
    assert [question.id for question in session.questions] == ["b", "a"]
    assert session.pending_question == _question("a")
    assert session.has_question
    assert session.freeze().head.has_question


def test_L50_a_known_question_is_not_opened_again() -> None:
    """Setting a question that was consumed leaves it consumed (L50)."""
    consumed = msgspec.structs.replace(_question("q"), state="consumed")
    session = _loaded(questions=(consumed,))
    session.set_pending_question(_question("q"))
    assert session.questions == (consumed,)
    assert session.is_clean


def test_clearing_withdraws_what_is_open() -> None:
    """Open questions are withdrawn; answered ones stay."""
    answered = msgspec.structs.replace(_question("a"), state="answered")
    session = _loaded(questions=(answered, _question("b"), _question("c")))
    session.clear_pending_question()
    assert [question.state for question in session.questions] == ["answered", "withdrawn", "withdrawn"]
    assert session.pending_question is None


def test_L97_an_answer_is_consumed_by_the_run() -> None:
    """Consuming moves an answered question on in the copy; it counts once that is saved (L97)."""
    answered = msgspec.structs.replace(_question("q"), state="answered", answer="yes")
    session = _loaded(questions=(answered,))
    assert session.consume_question("q").answer == "yes"
    assert session.questions[0].state == "consumed"
    assert session.consume_question("q").answer == "yes"
    for wrong in ("unknown", "open"):
        session.set_pending_question(_question("open"))
        with pytest.raises(InputError):
            session.consume_question(wrong)


def test_questions_are_checked_and_bounded() -> None:
    """What isn't a question is refused, and so is one too many (G13)."""
    session = _loaded(questions=tuple(_question(str(number)) for number in range(QUESTIONS_PER_SESSION_MAX)))
    with pytest.raises(LimitExceededError):
        session.set_pending_question(_question("one more"))
    with pytest.raises(InputError):
        session.set_pending_question("Go?")  # type: ignore[arg-type]


# --- copies and children


def test_a_copy_is_independent() -> None:
    """A copy has the same base and the same unsaved changes, and goes its own way."""
    session = _loaded(Message.user("a"), metadata={"a": [1]})
    session.title = "t"
    session.metadata["a"].append(2)
    session.add_message(Message.user("b"))
    twin = session.copy()
    assert (twin.base, twin.title, twin.metadata, twin.updated_at) == (
        session.base,
        "t",
        {"a": [1, 2]},
        session.updated_at,
    )
    assert twin.messages == session.messages
    twin.metadata["a"].append(3)
    twin.add_message(Message.user("c"))
    twin.title = "u"
    assert (session.title, session.metadata, len(session.messages)) == ("t", {"a": [1, 2]}, 2)
    assert twin.updated_at > session.updated_at


def test_children_know_their_tree() -> None:
    """The root stays the same through the tree, the depth grows, and owner and namespace are inherited."""
    root = Session("root", "m", namespace="n", owner="o", workspace="/w")
    child = root.new_child("child")
    grandchild = child.new_child("grandchild", model="other")
    assert (child.kind, child.parent_session_id, child.root_session_id) == ("child", "root", "root")
    assert (grandchild.parent_session_id, grandchild.root_session_id) == ("child", "root")
    assert (root.spawn_depth, child.spawn_depth, grandchild.spawn_depth) == (0, 1, 2)
    assert (grandchild.namespace, grandchild.owner, grandchild.workspace) == ("n", "o", "/w")
    assert (child.model, grandchild.model) == ("m", "other")


def test_trees_have_a_bound() -> None:
    """Level 64 is the last one (G13)."""
    session = Session("s", spawn_depth=SPAWN_DEPTH_MAX - 1, root_session_id="r", parent_session_id="p")
    deepest = session.new_child("deepest")
    assert deepest.spawn_depth == SPAWN_DEPTH_MAX
    with pytest.raises(LimitExceededError):
        deepest.new_child("too deep")


def test_a_session_without_base_has_everything_to_save() -> None:
    """A copy made of a head and messages is clean of nothing: all of it is new."""
    session = Session.without_base(_head(), FrozenMessages([Message.user("a")]))
    assert session.base is None
    assert not session.is_clean
    assert [message.text for message in session.freeze().messages] == ["a"]


# --- after a save


def _committed(session: Session, **fields: Any) -> Snapshot:  # noqa: ANN401 - any field
    draft = session.freeze()
    head = msgspec.structs.replace(draft.head, revision=4, updated_at=START + timedelta(hours=1), **fields)
    return Snapshot(head, draft.messages)


def test_after_a_save_the_copy_is_clean() -> None:
    """The committed state is the copy's base, its times and revision are the copy's."""
    session = _loaded(Message.user("a"), metadata={"a": 1})
    kept = session.metadata
    kept["b"] = 2
    session.title = "t"
    session.add_message(Message.user("b"))
    committed = _committed(session)
    session.rebase(committed, committed.head)
    assert session.is_clean
    assert session.base is committed
    assert (session.revision, session.title, session.updated_at) == (4, "t", START + timedelta(hours=1))
    assert session.metadata is kept
    assert session.unchanged_since(session.freeze())


def test_L100_changes_made_meanwhile_stay_unsaved_changes() -> None:
    """Fields, metadata and messages that the copy got while it was saved are still to be saved (L100)."""
    session = _loaded(Message.user("a"))
    committed = _committed(session)
    later = START + timedelta(hours=2)
    head = msgspec.structs.replace(committed.head, title="meanwhile", metadata={"k": 1}, updated_at=later)
    session.rebase(committed, head, committed.messages.extended([Message.user("b")]))
    assert not session.is_clean
    assert (session.title, session.metadata, session.updated_at) == ("meanwhile", {"k": 1}, later)
    assert [message.text for message in session.messages] == ["a", "b"]
    draft = session.freeze()
    assert (draft.head.title, draft.head.metadata, draft.head.updated_at) == ("meanwhile", {"k": 1}, later)
    assert draft.messages.extends(committed.messages)


def test_L100_a_metadata_dict_that_was_handed_out_stays_the_sessions() -> None:
    """Whoever holds `session.metadata` over a save goes on changing the session (L100)."""
    session = _loaded(metadata={"a": 1})
    kept = session.metadata
    kept["b"] = 2
    committed = Snapshot(_head(metadata={"a": 1}, revision=4), FrozenMessages())
    session.rebase(committed, msgspec.structs.replace(committed.head, metadata={"a": 1, "b": 2}))
    assert session.metadata is kept
    kept["c"] = 3
    assert session.freeze().head.metadata == {"a": 1, "b": 2, "c": 3}


def test_fields_that_others_changed_arrive() -> None:
    """After a save the copy shows what others had committed meanwhile."""
    session = _loaded(Message.user("a"), metadata={"a": 1})
    assert session.metadata == {"a": 1}
    committed = Snapshot(_head(title="theirs", metadata={"b": 2}, revision=5), FrozenMessages([Message.user("c")]))
    session.rebase(committed, committed.head)
    assert (session.title, session.metadata, session.revision) == ("theirs", {"b": 2}, 5)
    assert [message.text for message in session.messages] == ["c"]
    assert session.is_clean


# --- heads


@given(strategies.heads())
def test_L94_heads_come_back_as_they_were_stored(head: SessionHead) -> None:
    """A head's document holds all that storage doesn't keep in places of its own, of any text (L94)."""
    back = head_from_document(head_document(head), head.id)
    kept = {
        name: getattr(head, name)
        for name in ("revision", "incarnation", "message_count", "questions", "created_at", "updated_at")
    }
    assert msgspec.structs.replace(back, **kept) == head


def test_L86_heads_that_could_not_be_read_back_are_refused() -> None:
    """A field of the wrong type is found before anything is written (L86)."""
    with pytest.raises(InputError, match="'s'"):
        head_document(_head(summary=Summary(5, "m")))  # type: ignore[arg-type]


def test_metadata_has_a_bound() -> None:
    """So many keys are stored and no more (G13)."""
    keys = {str(number): 1 for number in range(METADATA_KEYS_MAX)}
    assert head_document(_head(metadata=keys))
    with pytest.raises(LimitExceededError, match="metadata"):
        head_document(_head(metadata={**keys, "one more": 1}))


def test_the_run_status_is_one_word() -> None:
    """A text is its own status; an object has it under its name; anything else has none."""
    assert run_status_of("running") == "running"
    assert run_status_of({"status": "idle", "step": 3}) == "idle"
    assert run_status_of({"status": 5}) is None
    assert run_status_of(None) is None


@given(strategies.sessions(messages_max=1))
def test_any_session_can_be_frozen_and_stored(session: Session) -> None:
    """The strategy for sessions makes only what storage takes."""
    draft = session.freeze()
    assert head_from_document(head_document(draft.head), session.id).title == session.title
    assert list(draft.messages) == list(session.messages)


def test_copies_keep_the_fence() -> None:
    """G12: a copy of a leased session writes through the same lease; its children and others' copies don't."""
    session = Session("s")
    assert session.fence is None
    session.fence = 3
    assert session.copy().fence == 3
    assert session.new_child("t").fence is None


def test_a_question_names_the_lease_that_asks() -> None:
    """A question asked through a lease carries its token; any other carries none."""
    session = Session("s")
    session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q1"))
    session.fence = 3
    session.set_pending_question(PendingQuestion("1", "ask", "Go?", id="q2"))
    assert [question.lease_token for question in session.questions] == [None, 3]


def test_withdrawing_one_question() -> None:
    """An open question is withdrawn, the others stay; one that isn't open is left as it is."""
    session = Session("s")
    for id in ("q1", "q2"):
        session.set_pending_question(PendingQuestion("1", "ask", "Go?", id=id))
    session.withdraw_question("q1")
    session.withdraw_question("unknown")
    assert [question.state for question in session.questions] == ["withdrawn", "open"]


# --- borders that mutants have shown


def test_what_is_given_is_kept() -> None:
    """Every value that a new session is given is in it."""
    session = Session("s", "m", title="t", title_generated=True, reasoning_effort="high", clock=SteppingClock())
    head = session.freeze().head
    assert (head.title, head.title_generated, head.reasoning_effort) == ("t", True, "high")


def test_fields_can_be_looked_up_on_the_class() -> None:
    """Tools that look at the class, not at a session, find the descriptors of its fields."""
    for name in ("id", "title"):
        assert getattr(Session, name) is vars(Session)[name]


def test_a_refused_value_is_told_what_is_wanted() -> None:
    """The refusal of a value names all types that would do."""
    with pytest.raises(InputError, match="str or None"):
        Session("s").title = 5  # type: ignore[assignment]


def test_the_last_question_that_fits() -> None:
    """A session takes exactly as many questions as the limit says."""
    questions = tuple(_question(str(number)) for number in range(QUESTIONS_PER_SESSION_MAX - 1))
    session = _loaded(questions=questions)
    session.set_pending_question(_question("last"))
    assert len(session.questions) == QUESTIONS_PER_SESSION_MAX


def test_without_a_lease_a_question_keeps_its_token() -> None:
    """Only a copy of a lease puts its token on a question."""
    session = _loaded()
    session.set_pending_question(msgspec.structs.replace(_question("q"), lease_token=7))
    assert session.questions[0].lease_token == 7


def test_only_an_open_question_can_be_withdrawn() -> None:
    """Withdrawing an answered question, or one that isn't there, does nothing, whatever else is open."""
    questions = (msgspec.structs.replace(_question("q"), state="answered", answer="yes"), _question("other"))
    session = _loaded(questions=questions)
    session.withdraw_question("q")
    session.withdraw_question("unknown")
    assert session.questions == questions
    assert session.is_clean


def test_a_copy_takes_over_where_the_copy_stands() -> None:
    """A copy's copy knows which drafts it agrees with, and what is unsettled."""
    session = _loaded(metadata={"k": 1})
    session.title = "t"
    session.unsettled = object()
    draft = session.freeze()
    twin = session.copy()
    assert twin.unchanged_since(draft)
    assert session.unchanged_since(draft)
    assert twin.unsettled is session.unsettled


def test_a_child_has_its_parents_clock() -> None:
    """A child is made at the time of its parent's clock."""
    assert _loaded().new_child("c").created_at == START + timedelta(seconds=1)


def test_a_session_that_was_never_saved_is_not_clean() -> None:
    """Even an empty new session is something to save."""
    assert not Session("s").is_clean


def test_reading_the_metadata_changes_nothing() -> None:
    """A draft of a copy whose metadata was only looked at is its base."""
    session = _loaded(metadata={"k": 1})
    assert session.metadata == {"k": 1}
    draft = session.freeze()
    assert session.base is not None
    assert draft.head is session.base.head
    assert not draft.time_set


def test_metadata_of_a_new_session_leaves_its_time_alone() -> None:
    """An importer that sets a past time and then fills the metadata keeps that time."""
    session = Session("s", updated_at=START, created_at=START)
    session.metadata["k"] = 1
    assert session.freeze().head.updated_at == START


def test_a_rebased_time_is_not_set_by_hand() -> None:
    """A later time that a copy keeps over a save counts as touched, not as set; counters never are a change."""
    session = _loaded()
    base = session.base
    assert base is not None
    session.rebase(base, msgspec.structs.replace(base.head, updated_at=START + timedelta(days=1), message_count=9))
    assert session.updated_at == START + timedelta(days=1)
    assert not session.freeze().time_set
    assert session.is_clean


def test_equal_metadata_stays_the_same_object() -> None:
    """What a caller holds of the metadata is still part of it after a save that changed nothing there."""
    session = _loaded(metadata={"nested": {}})
    nested = session.metadata["nested"]
    base = session.base
    assert base is not None
    session.rebase(base, base.head)
    nested["k"] = 1
    assert session.metadata == {"nested": {"k": 1}}


def test_a_head_freezes_what_it_is_given() -> None:
    """The metadata and the run state of a head can't be changed by whoever made it; frozen ones are shared."""
    metadata: dict[str, Any] = {"k": [1]}
    state: dict[str, Any] = {"status": "busy"}
    head = _head(metadata=metadata, run_state=state)
    metadata["k"].append(2)
    state["status"] = "idle"
    assert (head.metadata, head.run_state) == ({"k": [1]}, {"status": "busy"})
    empty: dict[str, Any] = {}
    bare = _head(metadata=empty)
    empty["late"] = 1
    assert bare.metadata == {}
    again = _head(metadata=head.metadata, run_state=head.run_state)
    assert again.metadata is head.metadata
    assert again.run_state is head.run_state


def test_a_heads_document_leaves_out_what_is_stored_elsewhere() -> None:
    """Counters, times and questions have places of their own: heads that differ there alone have one document."""
    other = _head(
        revision=9,
        incarnation=2,
        message_count=5,
        questions=(_question("q"),),
        created_at=START - timedelta(days=1),
        updated_at=START + timedelta(days=1),
    )
    assert head_document(other) == head_document(_head())
    plain = head_from_document(head_document(other), "s")
    assert (plain.revision, plain.incarnation, plain.message_count) == (0, 0, 0)


def test_a_head_has_a_limit() -> None:
    """What a session holds beside its messages is bounded."""
    with pytest.raises(LimitExceededError, match="without its messages"):
        head_document(_head(metadata={"k": "x" * HEAD_BYTES_MAX}))


def test_what_storage_counts_is_never_a_change() -> None:
    """A copy has the counters of its base, whatever those of the head that it is to become."""
    copy = _loaded(revision=5, incarnation=3, message_count=0)
    base = copy.base
    assert base is not None
    copy.rebase(base, _head(revision=4, incarnation=2, message_count=9))
    assert copy.is_clean
    copy.rebase(base, _head(revision=4, incarnation=2, message_count=9, model="m"))
    assert copy.freeze().head == msgspec.structs.replace(base.head, model="m")


def test_a_title_is_a_persons_unless_it_is_said_to_be_generated() -> None:
    """L61: a flag tells, not the text."""
    assert not Session("s").title_generated
    assert not Session("s", title="New session").title_generated
    assert Session("s", title="New session", title_generated=True).title_generated
