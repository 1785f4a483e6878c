"""The fields of a working copy: which can be set, what setting does, and its metadata."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead, Summary
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageRecord
from bamboo_sessions.domain.working_copy import freeze, is_clean, link_of
from tests.unit.domain.session_kit import START, loaded

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
    session = loaded(title="old")
    with pytest.raises(InputError, match=f"Session.{name} must be"):
        setattr(session, name, wrong)
    assert is_clean(session)
    setattr(session, name, value)
    assert getattr(session, name) == value
    assert not is_clean(session)
    draft = freeze(session)
    assert getattr(draft.head, name) == value
    assert draft.head.updated_at == session.updated_at == START + timedelta(seconds=1)
    assert not draft.time_set
    base = link_of(session).base
    assert base is not None
    assert getattr(base.head, name) != value


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
    session = loaded()
    with pytest.raises(AttributeError, match=name):
        setattr(session, name, getattr(session, name))


def test_every_field_of_the_head_is_there() -> None:
    """A session shows each field that a head has."""
    session = loaded(title="t")
    draft = freeze(session)
    for name in SessionHead.__struct_fields__:
        if name != "message_count":
            assert getattr(session, name) == getattr(draft.head, name)


def test_fields_can_be_looked_up_on_the_class() -> None:
    """Tools that look at the class, not at a session, find the descriptors of its fields."""
    for name in ("id", "title"):
        assert getattr(Session, name) is vars(Session)[name]


def test_a_refused_value_is_told_what_is_wanted() -> None:
    """The refusal of a value names all types that would do."""
    with pytest.raises(InputError, match="str or None"):
        Session("s").title = 5  # type: ignore[assignment]


def test_setting_a_field_back_leaves_nothing_to_save() -> None:
    """What equals the base isn't a change (L42)."""
    session = loaded(title="old")
    session.title = "new"
    session.title = "old"
    session.metadata["a"] = 1
    del session.metadata["a"]
    assert is_clean(session)


def test_a_state_is_frozen_when_it_is_set() -> None:
    """Changing the dict that was given, or the one that is shown, changes nothing behind the session's back."""
    given: dict[str, Any] = {"status": "running", "steps": [1]}
    session = loaded()
    session.run_state = given
    given["steps"].append(2)
    assert session.run_state == {"status": "running", "steps": [1]}
    with pytest.raises(TypeError, match="frozen"):
        session.run_state["status"] = "idle"


# --- times


def test_updated_at_can_be_set_by_hand() -> None:
    """A hand-set time is kept, is a change in itself, and gives way to the next change."""
    session = loaded()
    session.updated_at = START - timedelta(days=1)
    assert session.updated_at == START - timedelta(days=1)
    draft = freeze(session)
    assert draft.time_set
    assert draft.head.updated_at == START - timedelta(days=1)
    assert not is_clean(session)
    session.title = "t"
    assert session.updated_at > START
    assert not freeze(session).time_set


def test_time_never_goes_back_by_a_change() -> None:
    """A clock that is behind the loaded session doesn't make it older."""
    session = loaded(updated_at=START + timedelta(days=1))
    session.title = "t"
    assert session.updated_at == START + timedelta(days=1)


# --- metadata


def test_metadata_is_changed_in_place() -> None:
    """Changes at any depth are seen, the snapshot keeps its own, and saving them moves `updated_at`."""
    session = loaded(metadata={"a": {"b": [1]}})
    assert is_clean(session)
    session.metadata["a"]["b"].append(2)
    assert not is_clean(session)
    draft = freeze(session)
    assert draft.head.metadata == {"a": {"b": [1, 2]}}
    assert draft.head.updated_at > START
    base = link_of(session).base
    assert base is not None
    assert base.head.metadata == {"a": {"b": [1]}}


def test_metadata_that_is_no_json_is_refused_when_saved() -> None:
    """What can't be stored is found before anything is written, and is named."""
    session = loaded()
    session.metadata["bad"] = object()
    with pytest.raises(InputError, match="metadata"):
        freeze(session)


def test_numbers_of_another_kind_are_a_change() -> None:
    """`1` in place of `True` is stored differently, so it is saved."""
    session = loaded(metadata={"a": True})
    session.metadata["a"] = 1
    assert not is_clean(session)
    assert freeze(session).head.metadata["a"] is not True


def test_reading_the_metadata_changes_nothing() -> None:
    """A draft of a copy whose metadata was only looked at is its base."""
    session = loaded(metadata={"k": 1})
    assert session.metadata == {"k": 1}
    draft = freeze(session)
    base = link_of(session).base
    assert base is not None
    assert draft.head is base.head
    assert not draft.time_set


def test_metadata_of_a_new_session_leaves_its_time_alone() -> None:
    """An importer that sets a past time and then fills the metadata keeps that time."""
    session = Session("s", updated_at=START, created_at=START)
    session.metadata["k"] = 1
    assert freeze(session).head.updated_at == START


def test_a_title_is_a_persons_unless_it_is_said_to_be_generated() -> None:
    """L61: a flag tells, not the text."""
    assert not Session("s").title_generated
    assert not Session("s", title="New session").title_generated
    assert Session("s", title="New session", title_generated=True).title_generated


@pytest.mark.parametrize("name", ["title_version", "metadata_version"])
@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**64])
def test_a_version_has_a_range(name: str, value: int) -> None:
    """One that storage couldn't count on from would brick the session; the error names the field and the range."""
    session = loaded(title="old")
    with pytest.raises(InputError, match=f"Session.{name} must be 0 to 9,007,199,254,740,992"):
        setattr(session, name, value)
    assert is_clean(session)


@pytest.mark.parametrize("name", ["created_at", "updated_at"])
@pytest.mark.parametrize("moment", [datetime.min, datetime.max])  # noqa: DTZ901 - the edges
def test_a_time_has_a_range(name: str, moment: datetime) -> None:
    """Times at the edge are refused by the constructor and by the setter."""
    at = moment.replace(tzinfo=UTC)
    with pytest.raises(InputError, match=f"Session.{name} must be in the years 2 to 9998"):
        Session("s", **{name: at})  # type: ignore[arg-type]
    if name == "updated_at":
        with pytest.raises(InputError, match="updated_at must be"):
            loaded().updated_at = at


def test_metadata_can_be_assigned() -> None:
    """Another map in its place: its keys are all there is; what isn't JSON is refused, and changes nothing."""
    session = Session("s", metadata={"a": 1, "b": 2})
    session.metadata = {"b": 3, "c": [4]}
    assert session.metadata == {"b": 3, "c": [4]}
    session.metadata |= {"d": 5}
    assert session.metadata == {"b": 3, "c": [4], "d": 5}
    with pytest.raises(InputError, match=r"Session\.metadata\.x can't be stored"):
        session.metadata = {"x": object()}
    with pytest.raises(InputError, match="isn't a JSON object"):
        session.metadata = None  # type: ignore[assignment]
    assert session.metadata == {"b": 3, "c": [4], "d": 5}


@pytest.mark.parametrize(("field", "remedy"), [("id", "fork"), ("owner", "set_owner"), ("revision", "storage")])
def test_a_fixed_field_says_what_to_do_instead(field: str, remedy: str) -> None:
    """It can't be set, and the error names the way."""
    with pytest.raises(AttributeError, match=remedy):
        setattr(Session("s"), field, "x")


def test_the_latest_usage_is_the_counts() -> None:
    """Of a record, too: a session that held the record itself could not be saved."""
    session = Session("s")
    session.token_usage = TokenUsageRecord(id="r", model="m", input_tokens=5)
    assert session.token_usage == TokenUsage(input_tokens=5)
    with pytest.raises(InputError, match="token_usage"):
        session.token_usage = 5  # type: ignore[assignment]


def test_a_summary_is_checked_when_it_is_made() -> None:
    """Not by a later save of its session."""
    with pytest.raises(InputError, match=r"Summary\.text"):
        Summary(5, "m")  # type: ignore[arg-type]
