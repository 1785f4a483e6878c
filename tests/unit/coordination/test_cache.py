"""The in-memory tier: bounded, never going back."""

from __future__ import annotations

import pytest

from bamboo_sessions import Message, Session, SessionCache
from bamboo_sessions.domain.working_copy import copy_of, link_of
from bamboo_sessions.storage.commit import SessionKey
from tests.unit.coordination.kit import KEY, key_of, snapshot


def _cached(cache: SessionCache, *ids: str) -> list[str]:
    """Which of the ids are in, without touching their order."""
    return [id_ for id_ in ids if key_of(id_) in cache._entries]


def test_it_is_bounded_in_bytes() -> None:
    """G13: whatever is published, all entries together stay within the bound."""
    cache = SessionCache(100_000)
    for number in range(1_000):
        cache.publish(key_of(str(number)), snapshot(str(number), size=number * 10))
        assert cache.bytes <= 100_000
    assert 0 < len(cache) < 50


def test_the_least_recently_used_goes_first() -> None:
    """An entry that was looked at stays, one that wasn't goes."""
    cache = SessionCache(10_000)
    for id_ in "abc":
        cache.publish(key_of(id_), snapshot(id_, size=500))
    cache.entry(key_of("a"))
    cache.publish(key_of("d"), snapshot("d", size=500))
    assert _cached(cache, *"abcd") == ["a", "c", "d"]


def test_one_entry_beyond_the_bound_is_not_kept() -> None:
    """A session larger than the cache isn't cached, and takes nobody's place for long."""
    cache = SessionCache(10_000)
    cache.publish(KEY, snapshot(size=50_000))
    assert (len(cache), cache.bytes) == (0, 0)


def test_bytes_are_counted_exactly() -> None:
    """Whatever comes, grows, shrinks and goes, the count is that of what is there."""
    cache = SessionCache()
    for revision, size in enumerate([100, 5_000, 10], start=1):
        cache.publish(KEY, snapshot(revision=revision, size=size))
    cache.publish(key_of("t"), snapshot("t"))
    assert cache.bytes == sum(entry.size for entry in cache._entries.values())
    cache.evict(KEY)
    cache.evict(key_of("t"))
    assert (cache.bytes, len(cache)) == (0, 0)


def test_an_entry_never_goes_back() -> None:
    """G7, L15: a publish that comes late changes nothing."""
    cache = SessionCache()
    cache.publish(KEY, snapshot(revision=5, title="new"))
    cache.publish(KEY, snapshot(revision=4, title="old"))
    entry = cache.entry(KEY)
    assert entry is not None
    assert entry.snapshot.head.title == "new"


def test_namespaces_are_apart() -> None:
    """L99: one id in two namespaces is two entries."""
    cache = SessionCache()
    cache.insert(Session("s", "mine"))
    cache.insert(Session("s", "other's", namespace="other"), namespace="other")
    mine, others = cache.get("s"), cache.get("s", namespace="other")
    assert mine is not None
    assert others is not None
    assert (mine.model, others.model) == ("mine", "other's")
    cache.evict(SessionKey("other", "s"))
    assert cache.get("s") is not None


# --- by hand


def test_what_was_put_in_by_hand_comes_out() -> None:
    """`get` gives an independent copy of the state at `insert`."""
    cache = SessionCache()
    session = Session("s", "m")
    session.add_message(Message.user("a"))
    cache.insert(session)
    session.add_message(Message.user("later"))
    first, second = cache.get("s"), cache.get("s")
    assert first is not None
    assert second is not None
    first.add_message(Message.user("mine"))
    assert [message.text for message in second.messages] == ["a"]
    assert link_of(first).base is None
    assert cache.get("unknown") is None


def test_by_hand_gives_way_to_what_is_committed() -> None:
    """A published snapshot replaces an entry by hand, whatever revision that claims."""
    cache = SessionCache()
    by_hand = copy_of(snapshot(revision=9))
    cache.insert(by_hand)
    cache.publish(KEY, snapshot(revision=1, title="committed"))
    entry = cache.entry(KEY)
    assert entry is not None
    assert (entry.snapshot.head.title, entry.by_hand) == ("committed", False)


@pytest.mark.parametrize("bytes_max", [0, 1])
def test_a_cache_of_nothing(bytes_max: int) -> None:
    """A bound of nought keeps nothing."""
    cache = SessionCache(bytes_max)
    cache.publish(KEY, snapshot())
    assert _cached(cache, "s") == []
