"""Slots in the file beside the database: requests wait, are found and answered; what is torn counts as not there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.storage.sqlite.transactions.slots import Slots
from bamboo_sessions.storage.sqlite.transactions.tuning import LOOP_ROW_BYTES, SLOT_BYTES_MAX

LONG = 60.0
ROOM = 1 << 20
TAG = b"t" * 16

Make = Callable[..., Slots]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """The file's descriptor."""
    descriptor = os.open(tmp_path / "turn", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def slots(file: int) -> Make:
    """Makes the slots as a process sees them."""

    def make(number: int, tag: bytes = TAG) -> Slots:
        return Slots(lambda: file, number, tag)

    return make


def test_what_waits_is_found_and_answered(slots: Make) -> None:
    """Requests come as they were posted, and their outcomes as they were told, `None` for those that weren't made."""
    one, other = slots(1), slots(2)
    long = b"x" * 20_000
    assert other.waiting(ROOM) == []
    assert one.post([b"a", long], LONG)
    assert one.is_waiting()
    [posted] = other.waiting(ROOM)
    assert posted.requests == [b"a", long]
    other.tell(posted, [b"done", None])
    assert not one.is_waiting()
    assert one.outcomes() == [b"done", None]
    assert other.waiting(ROOM) == []


def test_nobody_finds_its_own(slots: Make) -> None:
    """A process that waited itself, and has its turn now, doesn't make its requests for itself."""
    one = slots(1)
    assert one.post([b"a"], LONG)
    assert one.waiting(ROOM) == []


def test_what_is_withdrawn_waits_no_longer(slots: Make) -> None:
    """Who asks what became of its requests gives up waiting; what is told afterwards reaches nobody."""
    one, other = slots(1), slots(2)
    assert one.post([b"a"], LONG)
    [posted] = other.waiting(ROOM)
    assert one.outcomes() == ()
    assert other.waiting(ROOM) == []
    assert one.post([b"b"], LONG)
    other.tell(posted, [b"outcome of a"])
    assert one.outcomes() == ()


def test_requests_wait_for_as_long_as_they_say(slots: Make) -> None:
    """What a process that died has left is made by nobody, once it would have given up."""
    one = slots(1)
    assert one.post([b"a"], 0.0)
    assert slots(2).waiting(ROOM) == []
    assert not one.is_waiting()  # nobody has to read it again


def test_only_who_means_the_same_file_finds_anything(slots: Make) -> None:
    """Another version, another durability, another file of the same name: each leaves the other's requests alone."""
    assert slots(1).post([b"a"], LONG)
    assert slots(2, b"u" * 16).waiting(ROOM) == []


def test_requests_are_bounded(slots: Make) -> None:
    """What is too long for a slot isn't posted, and whoever has the turn takes no more than it wants."""
    one, two, other = slots(1), slots(2), slots(3)
    assert not one.post([b"x" * SLOT_BYTES_MAX], LONG)
    assert one.post([b"x" * (SLOT_BYTES_MAX - 100)], LONG)
    assert two.post([b"y"], LONG)
    assert other.waiting(LOOP_ROW_BYTES) == []
    assert [posted.slot for posted in other.waiting(LOOP_ROW_BYTES + 100)] == [2]
    assert [posted.slot for posted in other.waiting(ROOM)] == [1, 2]


def test_two_in_one_slot_get_nothing_that_is_not_theirs(slots: Make) -> None:
    """Of two processes whose numbers fall on one slot, the first one's requests are lost: it makes them itself."""
    first, second, other = slots(1), slots(65), slots(2)
    assert first.post([b"first"], LONG)
    assert second.post([b"second"], LONG)
    [posted] = other.waiting(ROOM)
    assert posted.requests == [b"second"]
    other.tell(posted, [b"outcome of the second"])
    assert second.outcomes() == [b"outcome of the second"]
    assert first.outcomes() == ()


def test_a_file_that_is_gone_is_an_empty_one(slots: Make, file: int) -> None:
    """Where nothing can be written or read, nothing is posted, found or told."""

    def fail() -> int:
        raise PermissionError

    broken = Slots(fail, 1, TAG)
    assert not broken.post([b"a"], LONG)
    assert not broken.is_waiting()
    assert broken.outcomes() == ()
    assert broken.waiting(ROOM) == []
    assert slots(2).post([b"a"], LONG)
    os.ftruncate(file, 100)
    assert slots(1).waiting(ROOM) == []


@given(place=st.integers(0, 200), byte=st.integers(0, 255))
def test_what_is_torn_counts_as_not_there(tmp_path_factory: pytest.TempPathFactory, place: int, byte: int) -> None:
    """Whatever byte of requests or outcomes isn't what was written: they are as they were, or they aren't there."""
    descriptor = os.open(tmp_path_factory.mktemp("torn") / "turn", os.O_RDWR | os.O_CREAT)
    try:
        one, other = (Slots(lambda: descriptor, number, TAG) for number in (0, 1))
        start, half = 4096, SLOT_BYTES_MAX
        assert one.post([b"a" * 100], LONG)
        os.pwrite(descriptor, bytes([byte]), start + place)
        for posted in other.waiting(ROOM):
            assert posted.requests == [b"a" * 100]
        assert one.post([b"a" * 100], LONG)
        [posted] = other.waiting(ROOM)
        other.tell(posted, [b"b" * 100])
        os.pwrite(descriptor, bytes([byte]), start + half + place)
        assert one.outcomes() in ((), [b"b" * 100])
    finally:
        os.close(descriptor)
