"""The table of policies; identity; and saving what nobody else has touched."""

import msgspec
import pytest

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.merge import (
    GROUP,
    POLICY,
    Policy,
    fields_of,
    merge,
)
from bamboo_sessions.domain.snapshot import Draft
from tests.merge.helpers import NOW, START, changed, load, message, save, snapshot


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
    assert {"id", "namespace", "kind", "created_at", "incarnation"} <= set(fields_of(Policy.FIXED))
    assert fields_of(Policy.OWNER) == ("owner",)
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


def test_the_owner_is_the_committed_one() -> None:
    """A copy that was loaded before the session changed hands is merged, and the owner of now stays (G5)."""
    base = snapshot(owner="guest")
    durable = changed(base, {"owner": "ann", "metadata_version": 1})
    merged = merge(base, Draft(msgspec.structs.replace(base.head, model="m"), base.messages), durable, now=NOW)
    assert (merged.head.owner, merged.head.model) == ("ann", "m")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "other"),
        ("namespace", "other"),
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
