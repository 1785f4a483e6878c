"""The fields of a copy after a save: what was changed meanwhile stays, what others changed arrives."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bamboo_sessions.domain.merge import (
    rebase,
)
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.working_copy import freeze, is_clean, rebase_copy
from tests.merge.helpers import NOW, START, a_question, changed, commit, load, save, snapshot


def _rebased(copy: Session, saved: Draft, committed: Snapshot) -> Session:
    head, messages = rebase(Snapshot(saved.head, saved.messages), freeze(copy), committed)
    rebase_copy(copy, committed, head, messages)
    return copy


def test_L100_fields_changed_while_saving_are_not_lost() -> None:
    """Registers, map and questions that the copy changed meanwhile stay, over what others had committed (L100)."""
    base = snapshot(metadata={"a": 1})
    copy = load(base)
    copy.model = "sent"
    saved = freeze(copy)
    copy.model = "late"
    copy.metadata["late"] = 1
    copy.set_pending_question(a_question("late"))
    committed = commit(changed(base, {"provider": "theirs", "questions": (a_question("theirs"),)}), load(base))
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
    saved = freeze(copy)
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
    saved = freeze(copy)
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
    saved = freeze(copy)
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
    saved = freeze(copy)
    durable = changed(base, {"title": "person's", "metadata_version": 2})
    _rebased(copy, saved, commit(durable, load(base)))
    assert copy.title == "person's"
    assert is_clean(copy)


def test_L100_a_pin_set_while_something_else_was_saved_is_kept() -> None:
    """A change of the group made meanwhile stays if the save left the group, and so its version, alone (L100)."""
    base = snapshot(metadata_version=1)
    copy = load(base)
    copy.model = "sent"
    saved = freeze(copy)
    copy.pinned = True
    _rebased(copy, saved, changed(base, {"model": "sent"}))
    assert (copy.pinned, copy.metadata_version) == (True, 1)


def test_L100_a_time_set_while_saving_is_kept() -> None:
    """A time set by hand meanwhile stays in the copy if it is the later one; a time of before the save doesn't."""
    base = snapshot(updated_at=START)
    for minutes, expected in ((90, START + timedelta(minutes=90)), (30, NOW)):
        copy = load(base)
        saved = freeze(copy)
        copy.updated_at = START + timedelta(minutes=minutes)
        head, _ = rebase(Snapshot(saved.head, saved.messages), freeze(copy), changed(base, {"updated_at": NOW}))
        assert head.updated_at == expected
    copy = load(base)
    copy.updated_at = NOW + timedelta(days=9)
    saved = freeze(copy)
    head, _ = rebase(Snapshot(saved.head, saved.messages), freeze(copy), changed(base, {"updated_at": NOW}))
    assert head.updated_at == NOW
