"""Clocks: the revision and the time of a commit."""

from datetime import timedelta

from bamboo_sessions.domain.limits import CLOCK_AHEAD_SECONDS_MAX
from bamboo_sessions.domain.session import Session
from tests.merge.helpers import NOW, START, changed, commit, load, message, save, snapshot

MICROSECOND = timedelta(microseconds=1)


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
