"""The authoritative group: what a person set, which no runtime save takes back (G5)."""

from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.merge import (
    group_changed,
    merge,
    with_raised_version,
)
from bamboo_sessions.domain.snapshot import Draft
from tests.merge.helpers import NOW, changed, ids, load, message, save, snapshot


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


# --- values


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
