"""The table of policies, and the rules of every group of fields but the history."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import ForkOrigin, SessionHead, Summary
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.limits import CLOCK_AHEAD_SECONDS_MAX
from bamboo_sessions.domain.merge import (
    GROUP,
    POLICY,
    Policy,
    fields_of,
    group_changed,
    merge,
    rebase,
    with_raised_version,
)
from bamboo_sessions.domain.question import PendingQuestion, QuestionState
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.usage import TokenUsage
from tests.merge.helpers import NOW, START, FixedClock, changed, commit, ids, load, message, save, snapshot

MICROSECOND = timedelta(microseconds=1)


def test_every_field_has_a_policy() -> None:
    """The table names each field of the head once, and nothing else."""
    assert set(POLICY) == set(SessionHead.__struct_fields__)


def test_groups_are_as_promised() -> None:
    """The authoritative group and the identity are the fields that the documentation names."""
    assert set(GROUP) == {
        "title",
        "title_version",
        "title_generated",
        "pinned",
        "archived",
        "metadata_version",
        "authoritative_keys",
    }
    assert {"id", "namespace", "owner", "kind", "created_at", "incarnation"} <= set(fields_of(Policy.FIXED))
    assert fields_of(Policy.SUMMARY) == ("summary",)
    assert fields_of(Policy.MAP) == ("metadata",)
    assert fields_of(Policy.QUESTIONS) == ("questions",)
    assert fields_of(Policy.CLOCK) == ("revision", "updated_at", "message_count")


# --- nothing in between


def test_with_nothing_in_between_the_copy_is_the_result() -> None:
    """If storage has the copy's base, the copy is taken as it is, whatever it changed."""
    base = snapshot(["a"], title="old", metadata={"k": 1}, metadata_version=4)
    copy = load(base)
    copy.title = "new"
    copy.model = "m"
    copy.metadata["k"] = 2
    merged = save(copy, base)
    assert (merged.head.title, merged.head.model, merged.head.metadata) == ("new", "m", {"k": 2})
    assert merged.conflicts == ()
    assert merged.authoritative_ignored == ()


def test_L09_a_changed_group_never_keeps_its_version() -> None:
    """A copy that changed the group without raising its version gets it raised, once (L09)."""
    base = snapshot(title="old", metadata_version=4)
    copy = load(base)
    copy.title = "new"
    assert save(copy, base).head.metadata_version == 5
    copy.metadata_version = 9
    assert save(copy, base).head.metadata_version == 9
    copy.metadata_version = 2
    assert save(copy, base).head.metadata_version == 5


def test_a_value_that_a_person_set_belongs_to_the_group() -> None:
    """Changing or removing such a value in a copy raises the version; a removed key is the person's no more."""
    base = snapshot(metadata={"k": 1, "other": 1}, authoritative_keys=frozenset({"k"}), metadata_version=1)
    copy = load(base)
    copy.metadata["other"] = 2
    assert save(copy, base).head.metadata_version == 1
    copy.metadata["k"] = True
    assert save(copy, base).head.metadata_version == 2
    del copy.metadata["k"]
    merged = save(copy, base)
    assert merged.head.metadata_version == 2
    assert merged.head.authoritative_keys == frozenset()


def test_L42_nothing_changed_is_no_commit() -> None:
    """A copy that was only looked at, or was changed and changed back, changes nothing (L42)."""
    base = snapshot(["a"], title="old", metadata={"k": [1]}, updated_at=START)
    copy = load(base)
    copy.title = "new"
    copy.title = "old"
    copy.metadata["k"].append(copy.metadata["k"].pop())
    copy.messages[0] = message("a")
    merged = save(copy, base)
    assert not merged.changed
    assert merged.head is base.head
    assert merged.messages is base.messages


# --- identity


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "other"),
        ("namespace", "other"),
        ("owner", "other"),
        ("kind", "job"),
        ("parent_session_id", "p"),
        ("root_session_id", "r"),
        ("spawn_depth", 2),
        ("created_at", NOW),
    ],
)
def test_identity_is_fixed(name: str, value: object) -> None:
    """A difference in identity is an error, whether or not anything happened in between."""
    base = snapshot()
    draft = Draft(msgspec.structs.replace(base.head, **{name: value}), base.messages)
    for durable in (base, changed(base, append="x")):
        with pytest.raises(InputError, match=f"{name} is fixed"):
            merge(base, draft, durable, now=NOW)


def test_a_copy_built_by_hand_may_leave_identity_out() -> None:
    """Without a base, defaults contradict nothing, and the committed identity stays; other values are refused."""
    durable = snapshot(owner="o", kind="job", parent_session_id="p", spawn_depth=1, created_at=START)
    merged = save(Session("s", "m", clock=FixedClock()), durable)
    assert (merged.head.owner, merged.head.kind, merged.head.created_at) == ("o", "job", START)
    assert merged.head.incarnation == 1
    with pytest.raises(InputError, match="owner is fixed"):
        save(Session("s", owner="another"), durable)


# --- the authoritative group


def test_L01_a_stale_save_keeps_a_rename_and_a_pin() -> None:
    """What a person set while a run held an old copy survives the run's save (G5, L01)."""
    base = snapshot(["a"], title="old", metadata_version=1)
    durable = changed(base, {"title": "person's", "pinned": True, "metadata_version": 3})
    copy = load(base)
    copy.model = "m"
    copy.add_message(message("b"))
    merged = save(copy, durable)
    assert (merged.head.title, merged.head.pinned, merged.head.metadata_version) == ("person's", True, 3)
    assert (merged.head.model, ids(merged.messages)) == ("m", "a b")
    assert merged.authoritative_ignored == ()


def test_L05_a_setting_is_not_switched_back() -> None:
    """A value that a person set during a run isn't undone by the run's copy, which still has the old one (L05)."""
    base = snapshot(metadata={"web": False}, authoritative_keys=frozenset({"web"}), metadata_version=1)
    durable = changed(base, {"metadata": {"web": True}, "metadata_version": 2})
    copy = load(base)
    copy.metadata["run"] = 1
    assert save(copy, durable).head.metadata == {"web": True, "run": 1}


def test_L12_the_group_moves_as_one() -> None:
    """A side wins with all fields of the group, never with some (L12)."""
    base = snapshot(title="old", pinned=False, metadata_version=1)
    durable = changed(base, {"pinned": True, "metadata_version": 2})
    copy = load(base)
    copy.title = "mine"
    copy.archived = True
    copy.metadata_version = 2
    merged = save(copy, durable)
    assert (merged.head.title, merged.head.pinned, merged.head.archived) == ("old", True, False)
    assert merged.authoritative_ignored == ("title", "archived")


def test_ties_go_to_what_is_committed() -> None:
    """With equal versions the committed group stands, and the copy's lost changes are reported."""
    base = snapshot(title="old", metadata_version=1)
    durable = changed(base, append="x")
    copy = load(base)
    copy.title = "mine"
    merged = save(copy, durable)
    assert merged.head.title == "old"
    assert merged.authoritative_ignored == ("title",)


def test_a_greater_version_wins_if_the_group_is_as_it_was_loaded() -> None:
    """A copy with the right to change the group keeps its whole group over a commit of something else."""
    base = snapshot(title="old", metadata_version=1)
    durable = changed(base, {"model": "theirs"}, append="x")
    copy = load(base)
    copy.title = "mine"
    copy.metadata_version = 2
    merged = save(copy, durable)
    assert (merged.head.title, merged.head.metadata_version, merged.head.model) == ("mine", 2, "theirs")
    assert merged.authoritative_ignored == ()


def test_L12_a_greater_version_loses_if_the_group_moved() -> None:
    """However high the copy counted, it doesn't know what a person set meanwhile (L12)."""
    base = snapshot(title="old", metadata_version=1)
    durable = changed(base, {"title": "person's", "metadata_version": 2})
    copy = load(base)
    copy.title = "mine"
    copy.metadata_version = 99
    merged = save(copy, durable)
    assert (merged.head.title, merged.head.metadata_version) == ("person's", 2)
    assert merged.authoritative_ignored == ("title",)


def test_the_same_change_on_both_sides_is_not_lost() -> None:
    """Only what is really lost is reported."""
    base = snapshot(title="old", metadata_version=1)
    copy = load(base)
    copy.title = "same"
    durable = changed(base, {"title": "same", "metadata_version": 2})
    assert save(copy, durable).authoritative_ignored == ()


def test_L61_a_persons_title_beats_a_generated_one() -> None:
    """The flag that says "generated" moves with the title (L61)."""
    base = snapshot(title=None, metadata_version=1)
    copy = load(base)
    copy.title = "Generated"
    copy.title_generated = True
    durable = changed(base, {"title": "Person's", "title_version": 1, "metadata_version": 2})
    head = save(copy, durable).head
    assert (head.title, head.title_generated, head.title_version) == ("Person's", False, 1)


def test_a_value_removed_by_a_person_is_gone() -> None:
    """An authoritative key that is absent in the committed state is removed from the copy's metadata."""
    base = snapshot(metadata={"k": 1, "other": 1}, authoritative_keys=frozenset({"k"}), metadata_version=1)
    durable = changed(base, {"metadata": {"other": 1}, "authoritative_keys": frozenset(), "metadata_version": 2})
    copy = load(base)
    copy.metadata["k"] = 2
    merged = save(copy, durable)
    assert merged.head.metadata == {"other": 1}
    assert merged.authoritative_ignored == ("metadata.k",)


def test_a_key_becomes_a_persons_by_being_set() -> None:
    """A value that a person set over a plain key wins over the copy's change of it."""
    base = snapshot(metadata={"k": 1})
    new = {"metadata": {"k": 2}, "authoritative_keys": frozenset({"k"}), "metadata_version": 1}
    copy = load(base)
    copy.metadata["k"] = 3
    merged = save(copy, changed(base, new))
    assert merged.head.metadata == {"k": 2}
    assert merged.head.authoritative_keys == {"k"}
    assert merged.authoritative_ignored == ("metadata.k",)


def test_the_groups_winner_brings_its_values() -> None:
    """If the copy's group wins, so do the values of the keys that belong to it."""
    base = snapshot(metadata={"k": 1}, authoritative_keys=frozenset({"k"}), metadata_version=1)
    copy = load(base)
    copy.metadata["k"] = 2
    copy.metadata_version = 2
    assert save(copy, changed(base, append="x")).head.metadata == {"k": 2}


def test_what_counts_as_a_change_of_the_group() -> None:
    """Each field of it, and the values of a person's keys, missing or stored otherwise; nothing else."""
    head = snapshot(metadata={"k": 1, "n": None}, authoritative_keys=frozenset({"k", "n"})).head
    replace = msgspec.structs.replace
    assert not group_changed(head, head)
    assert not group_changed(head, replace(head, model="m", metadata={"k": 1, "n": None, "x": 1}))
    assert group_changed(head, replace(head, metadata={"k": True, "n": None}))
    assert group_changed(head, replace(head, metadata={"k": 1}))
    for name, value in {"title": "t", "title_version": 1, "pinned": True, "archived": True}.items():
        assert group_changed(head, replace(head, **{name: value}))


def test_raising_the_version() -> None:
    """It is raised by one if the group changed and nobody raised it, and never lowered."""
    head = snapshot(title="old", metadata_version=4).head
    replace = msgspec.structs.replace
    assert with_raised_version(head, head) is head
    assert with_raised_version(head, replace(head, model="m")).metadata_version == 4
    assert with_raised_version(head, replace(head, title="t")).metadata_version == 5
    assert with_raised_version(head, replace(head, title="t", metadata_version=7)).metadata_version == 7
    assert with_raised_version(head, replace(head, title="t", metadata_version=0)).metadata_version == 5


# --- registers and the map

REGISTERS: list[tuple[str, Any, Any]] = [
    ("model", "mine", "theirs"),
    ("provider", "mine", "theirs"),
    ("reasoning_effort", "high", "low"),
    ("workspace", "/mine", "/theirs"),
    ("token_usage", TokenUsage(input_tokens=1), TokenUsage(input_tokens=2)),
    ("run_state", {"status": "mine"}, "theirs"),
]


def test_every_register_is_tested() -> None:
    """The cases below cover all registers of the table."""
    assert {name for name, _, _ in REGISTERS} == set(fields_of(Policy.REGISTER))


@pytest.mark.parametrize(("name", "mine", "theirs"), REGISTERS)
def test_registers_are_merged_one_by_one(name: str, mine: object, theirs: object) -> None:
    """Changed by me → mine; by them → theirs; by both → the saver's, reported; a clearing is a change."""
    base = snapshot()
    copy = load(base)
    assert getattr(save(copy, changed(base, {name: theirs})).head, name) == theirs
    setattr(copy, name, mine)
    assert getattr(save(copy, changed(base, append="x")).head, name) == mine
    both = save(copy, changed(base, {name: theirs}))
    assert getattr(both.head, name) == mine
    assert both.conflicts == (MergeConflict(name, "mine"),)
    assert save(copy, changed(base, {name: mine})).conflicts == ()
    filled = changed(base, {name: theirs})
    copy = load(filled)
    setattr(copy, name, None)
    assert getattr(save(copy, changed(filled, append="x")).head, name) is None


def test_the_map_is_merged_key_by_key() -> None:
    """Each key is a register of its own; a removal is a change."""
    base = snapshot(metadata={"same": 1, "mine": 1, "theirs": 1, "both": 1, "gone": 1, "gone there": 1, "fought": 1})
    durable = changed(base, {"metadata": {"same": 1, "mine": 1, "theirs": 2, "both": 2, "gone": 1, "new there": 1}})
    copy = load(base)
    copy.metadata.update({"mine": 3, "both": 3, "new": 3, "fought": 3})
    del copy.metadata["gone"]
    merged = save(copy, durable)
    assert merged.head.metadata == {
        "same": 1,
        "mine": 3,
        "theirs": 2,
        "both": 3,
        "new": 3,
        "new there": 1,
        "fought": 3,
    }
    assert set(merged.conflicts) == {MergeConflict("metadata.both", "mine"), MergeConflict("metadata.fought", "mine")}


def test_missing_is_not_null() -> None:
    """In the map a key with the value `null` is there, and a key that is missing isn't (L06)."""
    base = snapshot(metadata={"a": None, "b": None})
    copy = load(base)
    del copy.metadata["a"]
    copy.metadata["c"] = None
    merged = save(copy, changed(base, append="x"))
    assert merged.head.metadata == {"b": None, "c": None}


# --- questions

STATES: tuple[QuestionState, ...] = ("open", "withdrawn", "answered", "consumed")


def _question(id: str = "q", state: QuestionState = "open") -> PendingQuestion:
    return PendingQuestion("call", "ask", "Go?", id=id, state=state, asked_at=START)


@pytest.mark.parametrize("mine", STATES)
@pytest.mark.parametrize("theirs", STATES)
def test_G6_states_only_go_forward(mine: QuestionState, theirs: QuestionState) -> None:
    """Of two states of one question the later one stands, whoever saves last (G6)."""
    base = snapshot(questions=(_question(),))
    draft = Draft(msgspec.structs.replace(base.head, questions=(_question(state=mine),)), base.messages)
    merged = merge(base, draft, changed(base, {"questions": (_question(state=theirs),)}), now=NOW)
    (kept,) = merged.head.questions
    assert kept.state == max(mine, theirs, key=STATES.index)


def test_L50_a_stale_copy_does_not_reopen_a_question() -> None:
    """A copy in which a question is still open changes nothing about its answer (G6, L50)."""
    base = snapshot(questions=(_question(),))
    for state in STATES:
        copy = load(base)
        copy.add_message(message("m"))
        durable = changed(base, {"questions": (_question(state=state),)})
        assert save(copy, durable).head.questions == durable.head.questions
        by_hand = Session("s")
        by_hand.set_pending_question(_question())
        assert save(by_hand, durable).head.questions == durable.head.questions


def test_G6_a_stale_copy_does_not_drop_an_open_question() -> None:
    """A question that was asked meanwhile stays open, whatever the copy has (G6)."""
    base = snapshot()
    copy = load(base)
    copy.set_pending_question(_question("mine"))
    merged = save(copy, changed(base, {"questions": (_question("theirs"),)}))
    assert [(question.id, question.state) for question in merged.head.questions] == [
        ("theirs", "open"),
        ("mine", "open"),
    ]


def test_clearing_withdraws_only_what_the_copy_saw() -> None:
    """A question that came meanwhile isn't withdrawn by a copy that didn't know it."""
    base = snapshot(questions=(_question("old"),))
    copy = load(base)
    copy.clear_pending_question()
    merged = save(copy, changed(base, {"questions": (_question("old"), _question("new"))}))
    assert [question.state for question in merged.head.questions] == ["withdrawn", "open"]
    assert merged.head.pending_question == _question("new")


def test_clearing_does_not_take_an_answer_back() -> None:
    """An answer that came meanwhile beats the withdrawal."""
    base = snapshot(questions=(_question(),))
    copy = load(base)
    copy.clear_pending_question()
    durable = changed(base, {"questions": (_question(state="answered"),)})
    assert save(copy, durable).head.questions == durable.head.questions


# --- the summary


def test_a_summary_is_a_register() -> None:
    """It is taken from the side that changed it, and fought over like any other."""
    base = snapshot("ab")
    copy = load(base)
    copy.summary = Summary("mine", "a")
    assert save(copy, changed(base, append="x")).head.summary == Summary("mine", "a")
    theirs = changed(base, {"summary": Summary("theirs", "b")})
    assert save(load(base), theirs).head.summary == Summary("theirs", "b")
    both = save(copy, theirs)
    assert both.head.summary == Summary("mine", "a")
    assert both.conflicts == (MergeConflict("summary", "mine"),)


def test_a_summary_is_dropped_with_its_message() -> None:
    """Once the message that it covers isn't live, the summary is gone: in any order of the two changes."""
    base = snapshot("ab", summary=Summary("text", "a"))
    copy = load(base)
    del copy.messages[0]
    assert save(copy, base).head.summary is None
    assert save(copy, changed(base, append="x")).head.summary is None
    copy = load(snapshot("ab"))
    copy.summary = Summary("text", "a")
    assert save(copy, Snapshot(changed(snapshot("ab")).head, FrozenMessages([message("b")]))).head.summary is None
    copy = load(base)
    copy.summary = Summary("never there", "z")
    assert save(copy, base).head.summary is None
    first = Session("s")
    first.summary = Summary("text", "z")
    assert save(first, None).head.summary is None


def test_a_summary_of_a_message_saved_with_it_stays() -> None:
    """A compaction may add the message that its summary covers."""
    base = snapshot("ab")
    copy = load(base)
    copy.messages[:] = [message("s")]
    copy.summary = Summary("text", "s")
    assert save(copy, changed(base, append="x")).head.summary == Summary("text", "s")


# --- clocks


def test_a_commit_raises_the_revision_by_one() -> None:
    """Whatever the copy counted, the next revision is the committed one and one."""
    base = snapshot(revision=7)
    copy = load(base)
    copy.add_message(message("a"))
    merged = save(copy, changed(changed(base)))
    assert merged.head.revision == 10
    assert merged.head.message_count == 1


def test_time_is_the_later_one_and_goes_forward() -> None:
    """The copy's time if it is later, else a microsecond after the committed one."""
    base = snapshot(updated_at=START)
    copy = load(base)
    copy.add_message(message("a"))
    assert save(copy, base).head.updated_at == NOW
    later = changed(base, {"updated_at": NOW + timedelta(hours=1)})
    assert save(copy, later).head.updated_at == NOW + timedelta(hours=1) + MICROSECOND
    copy.updated_at = START - timedelta(days=9)
    assert save(copy, base).head.updated_at == START + MICROSECOND


def test_a_time_far_ahead_is_cut() -> None:
    """A wrong clock may be five minutes ahead, no more."""
    base = snapshot()
    copy = load(base)
    copy.updated_at = NOW + timedelta(days=900)
    assert save(copy, base).head.updated_at == NOW + timedelta(seconds=CLOCK_AHEAD_SECONDS_MAX)
    first = Session("s", updated_at=NOW + timedelta(days=900))
    assert save(first, None).head.updated_at == NOW + timedelta(seconds=CLOCK_AHEAD_SECONDS_MAX)


def test_a_first_save_keeps_a_past_time() -> None:
    """Importers keep the times of what they import."""
    first = Session("s", created_at=START, updated_at=START + timedelta(days=1) - timedelta(days=900))
    assert save(first, None).head.updated_at == START + timedelta(days=1) - timedelta(days=900)


def test_a_time_set_by_hand_is_a_change() -> None:
    """A later time alone is worth a commit, an earlier one isn't, and neither is one that is committed already."""
    base = snapshot(updated_at=START)
    copy = load(base)
    copy.updated_at = START + timedelta(minutes=1)
    merged = save(copy, base)
    assert merged.changed
    assert not merged.head_changed
    assert merged.head.updated_at == START + timedelta(minutes=1)
    assert not save(copy, commit(base, copy)).changed
    copy.updated_at = START - timedelta(minutes=1)
    assert not save(copy, base).changed


# --- a copy without a base


def _by_hand(*messages: str, **fields: Any) -> Session:  # noqa: ANN401 - any field
    session = Session("s", clock=FixedClock(), **fields)
    session.messages += [message(id) for id in messages]
    return session


def test_without_base_the_later_side_has_the_registers() -> None:
    """For copies built by hand only times can say whose register is newer; either way it is reported."""
    durable = snapshot(model="theirs", updated_at=NOW)
    later = save(_by_hand(model="mine", updated_at=NOW + timedelta(minutes=1)), durable)
    assert later.head.model == "mine"
    assert later.conflicts == (MergeConflict("model", "mine"),)
    for minutes in (0, -1):
        earlier = save(_by_hand(model="mine", updated_at=NOW + timedelta(minutes=minutes)), durable)
        assert earlier.head.model == "theirs"
        assert earlier.conflicts == (MergeConflict("model", "durable"),)


def test_L06_without_base_missing_is_not_a_value() -> None:
    """What one side doesn't have is taken from the other, however old that is (L06)."""
    durable = snapshot(model="theirs", metadata={"a": 1, "n": None}, updated_at=NOW)
    copy = _by_hand(provider="mine", metadata={"b": 2, "n": 5}, updated_at=NOW - timedelta(days=1))
    head = save(copy, durable).head
    assert (head.model, head.provider) == ("theirs", "mine")
    assert head.metadata == {"a": 1, "b": 2, "n": 5}
    later = save(_by_hand(updated_at=NOW + timedelta(minutes=1)), durable)
    assert later.head.model == "theirs"


def test_without_base_messages_are_united() -> None:
    """The committed ones first, then the copy's; those with a known id are left to storage to compare (G4)."""
    merged = save(_by_hand("x", "b", "y"), snapshot("abc"))
    assert ids(merged.messages) == "a b c x y"
    assert ids(merged.delta.duplicates) == "b"
    assert merged.delta.gained == ("a", "c")


def test_without_base_the_group_follows_its_version() -> None:
    """Ties go to what is committed, with a report; a greater version wins."""
    durable = snapshot(title="theirs", pinned=True, metadata_version=1)
    merged = save(_by_hand(title="mine"), durable)
    assert (merged.head.title, merged.head.pinned) == ("theirs", True)
    assert merged.authoritative_ignored == ("title",)
    assert save(_by_hand(), durable).authoritative_ignored == ()
    copy = _by_hand(title="mine")
    copy.metadata_version = 2
    merged = save(copy, durable)
    assert (merged.head.title, merged.head.pinned, merged.head.metadata_version) == ("mine", False, 2)


def test_without_base_a_persons_value_stays() -> None:
    """A hand-built copy doesn't overwrite what a person set, and says so; leaving it out loses nothing."""
    durable = snapshot(metadata={"k": 1}, authoritative_keys=frozenset({"k"}), metadata_version=1)
    merged = save(_by_hand(metadata={"k": 2}), durable)
    assert merged.head.metadata == {"k": 1}
    assert merged.authoritative_ignored == ("metadata.k",)
    assert save(_by_hand(), durable).authoritative_ignored == ()


# --- after a save


def _rebased(copy: Session, saved: Draft, committed: Snapshot) -> Session:
    head, messages = rebase(Snapshot(saved.head, saved.messages), copy.freeze(), committed)
    copy.rebase(committed, head, messages)
    return copy


def test_L100_fields_changed_while_saving_are_not_lost() -> None:
    """Registers, map and questions that the copy changed meanwhile stay, over what others had committed (L100)."""
    base = snapshot(metadata={"a": 1})
    copy = load(base)
    copy.model = "sent"
    saved = copy.freeze()
    copy.model = "late"
    copy.metadata["late"] = 1
    copy.set_pending_question(_question("late"))
    committed = commit(changed(base, {"provider": "theirs", "questions": (_question("theirs"),)}), load(base))
    committed = Snapshot(msgspec.structs.replace(committed.head, model="sent", updated_at=NOW), committed.messages)
    _rebased(copy, saved, committed)
    assert (copy.model, copy.provider, copy.metadata) == ("late", "theirs", {"a": 1, "late": 1})
    assert [question.id for question in copy.questions] == ["theirs", "late"]
    assert copy.updated_at == NOW
    final = save(copy, committed)
    assert (final.head.model, final.head.metadata) == ("late", {"a": 1, "late": 1})


def test_L100_a_title_set_while_another_was_saved_is_kept() -> None:
    """The version that the save itself raised doesn't count as somebody else's change (L100)."""
    base = snapshot(title="old", metadata_version=1)
    copy = load(base)
    copy.title = "sent"
    saved = copy.freeze()
    copy.title = "late"
    committed = commit(base, copy.copy())
    committed = Snapshot(msgspec.structs.replace(committed.head, title="sent"), committed.messages)
    assert committed.head.metadata_version == 2
    _rebased(copy, saved, committed)
    assert (copy.title, copy.metadata_version) == ("late", 2)
    final = save(copy, committed)
    assert (final.head.title, final.head.metadata_version) == ("late", 3)


@pytest.mark.parametrize(
    "theirs",
    [{"title": "person's", "metadata_version": 2}, {"title": "sent", "metadata_version": 4}, {"pinned": True}],
)
def test_a_persons_change_meanwhile_beats_the_copys(theirs: dict[str, Any]) -> None:
    """If somebody else's group came in, even one that changed there and back (L12), the copy takes it over."""
    base = snapshot(title="old", metadata_version=1)
    copy = load(base)
    copy.title = "sent"
    saved = copy.freeze()
    copy.title = "late"
    committed = changed(base, theirs)
    _rebased(copy, saved, committed)
    assert copy.title == committed.head.title
    assert copy.metadata_version == committed.head.metadata_version


def test_a_version_raised_by_hand_meanwhile_is_kept() -> None:
    """A copy that took the right to the group while it was saved still has it afterwards."""
    base = snapshot(title="old", metadata_version=1)
    copy = load(base)
    copy.model = "sent"
    saved = copy.freeze()
    copy.title = "late"
    copy.metadata_version = 5
    committed = changed(base, {"model": "sent"})
    _rebased(copy, saved, committed)
    assert (copy.title, copy.metadata_version) == ("late", 5)


def test_what_the_save_lost_is_gone_from_the_copy() -> None:
    """A title that lost against a person's isn't tried again by the next save."""
    base = snapshot(title="old", metadata_version=1)
    copy = load(base)
    copy.title = "sent"
    saved = copy.freeze()
    durable = changed(base, {"title": "person's", "metadata_version": 2})
    _rebased(copy, saved, commit(durable, load(base)))
    assert copy.title == "person's"
    assert copy.is_clean


def test_L100_a_pin_set_while_something_else_was_saved_is_kept() -> None:
    """A change of the group made meanwhile stays if the save left the group, and so its version, alone (L100)."""
    base = snapshot(metadata_version=1)
    copy = load(base)
    copy.model = "sent"
    saved = copy.freeze()
    copy.pinned = True
    _rebased(copy, saved, changed(base, {"model": "sent"}))
    assert (copy.pinned, copy.metadata_version) == (True, 1)


def test_L100_a_time_set_while_saving_is_kept() -> None:
    """A time set by hand meanwhile stays in the copy if it is the later one; a time of before the save doesn't."""
    base = snapshot(updated_at=START)
    for minutes, expected in ((90, START + timedelta(minutes=90)), (30, NOW)):
        copy = load(base)
        saved = copy.freeze()
        copy.updated_at = START + timedelta(minutes=minutes)
        head, _ = rebase(Snapshot(saved.head, saved.messages), copy.freeze(), changed(base, {"updated_at": NOW}))
        assert head.updated_at == expected
    copy = load(base)
    copy.updated_at = NOW + timedelta(days=9)
    saved = copy.freeze()
    head, _ = rebase(Snapshot(saved.head, saved.messages), copy.freeze(), changed(base, {"updated_at": NOW}))
    assert head.updated_at == NOW


def test_a_first_save_counts_its_messages() -> None:
    """The first commit has the count of what the copy brings."""
    assert save(_by_hand("a", "b"), None).head.message_count == 2


def test_by_hand_the_root_and_the_origin_may_be_left_out() -> None:
    """A hand-built copy of a child or a fork needn't know its root or origin, but it has the right namespace."""
    durable = snapshot()
    origin = ForkOrigin("origin", 3)
    head = msgspec.structs.replace(durable.head, root_session_id="root", forked_from=origin)
    merged = save(_by_hand(model="m"), Snapshot(head, durable.messages))
    assert (merged.head.root_session_id, merged.head.forked_from) == ("root", origin)
    with pytest.raises(InputError, match="namespace is fixed"):
        save(_by_hand(namespace="another"), durable)


def test_by_hand_equal_values_are_no_conflict() -> None:
    """A hand-built copy that agrees with what is committed has nothing to report."""
    durable = snapshot(model="m", metadata={"k": [1]}, archived=True, metadata_version=1)
    merged = save(_by_hand(model="m", metadata={"k": [1]}), durable)
    assert (merged.conflicts, merged.authoritative_ignored) == ((), ())


@pytest.mark.parametrize(
    ("mine", "theirs", "ignored"),
    [
        ({"k": 2}, {"k": 3}, ("metadata.k",)),
        ({}, {"k": 3}, ("metadata.k",)),
        ({"k": 2}, {}, ("metadata.k",)),
        ({"k": 2}, {"k": 2}, ()),
        ({"k": 1}, {"k": 3}, ()),
        ({}, {}, ()),
    ],
)
def test_lost_values_of_persons_are_reported(
    mine: dict[str, Any], theirs: dict[str, Any], ignored: tuple[str, ...]
) -> None:
    """A copy hears of a person's key that it had changed and lost, removed ones included; of no other."""
    keys = frozenset({"k"})
    base = snapshot(metadata={"k": 1}, authoritative_keys=keys, metadata_version=1)
    durable = changed(base, {"metadata": theirs, "authoritative_keys": keys & theirs.keys(), "metadata_version": 2})
    copy = load(base)
    copy.metadata.clear()
    copy.metadata.update(mine)
    merged = save(copy, durable)
    assert merged.authoritative_ignored == ignored
    assert merged.head.metadata == theirs


def test_a_key_that_a_person_takes_over_keeps_its_value() -> None:
    """A value that a person confirmed stands, although the copy didn't change it and others have (G5)."""
    base = snapshot(metadata={"k": 1}, metadata_version=1)
    head = msgspec.structs.replace(base.head, authoritative_keys=frozenset({"k"}), metadata_version=2)
    durable = changed(base, {"metadata": {"k": 5}})
    merged = merge(base, Draft(head, base.messages), durable, now=NOW)
    assert merged.head.metadata == {"k": 1}
