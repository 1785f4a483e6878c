"""Heads: frozen, bounded, and as they are stored."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given

from bamboo_sessions.domain.errors import InputError, LimitExceededError
from bamboo_sessions.domain.head import SessionHead, head_document, head_from_document, run_status_of
from bamboo_sessions.domain.limits import HEAD_BYTES_MAX, METADATA_KEYS_MAX
from bamboo_sessions.testing import strategies
from tests.unit.domain.session_kit import START, a_head, a_question


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
        head_document(a_head(model=5))


def test_a_heads_document_leaves_out_what_is_stored_elsewhere() -> None:
    """Counters, times and questions have places of their own: heads that differ there alone have one document."""
    other = a_head(
        revision=9,
        incarnation=2,
        message_count=5,
        questions=(a_question("q"),),
        created_at=START - timedelta(days=1),
        updated_at=START + timedelta(days=1),
    )
    assert head_document(other) == head_document(a_head())
    plain = head_from_document(head_document(other), "s")
    assert (plain.revision, plain.incarnation, plain.message_count) == (0, 0, 0)


def test_a_head_freezes_what_it_is_given() -> None:
    """The metadata and the run state of a head can't be changed by whoever made it; frozen ones are shared."""
    metadata: dict[str, Any] = {"k": [1]}
    state: dict[str, Any] = {"status": "busy"}
    head = a_head(metadata=metadata, run_state=state)
    metadata["k"].append(2)
    state["status"] = "idle"
    assert (head.metadata, head.run_state) == ({"k": [1]}, {"status": "busy"})
    empty: dict[str, Any] = {}
    bare = a_head(metadata=empty)
    empty["late"] = 1
    assert bare.metadata == {}
    again = a_head(metadata=head.metadata, run_state=head.run_state)
    assert again.metadata is head.metadata
    assert again.run_state is head.run_state


def test_metadata_has_a_bound() -> None:
    """So many keys are stored and no more (G13)."""
    keys = {str(number): 1 for number in range(METADATA_KEYS_MAX)}
    assert head_document(a_head(metadata=keys))
    with pytest.raises(LimitExceededError, match="metadata"):
        head_document(a_head(metadata={**keys, "one more": 1}))


def test_a_head_has_a_limit() -> None:
    """What a session holds beside its messages is bounded."""
    with pytest.raises(LimitExceededError, match="without its messages"):
        head_document(a_head(metadata={"k": "x" * HEAD_BYTES_MAX}))


def test_the_run_status_is_one_word() -> None:
    """A text is its own status; an object has it under its name; anything else has none."""
    assert run_status_of("running") == "running"
    assert run_status_of({"status": "idle", "step": 3}) == "idle"
    assert run_status_of({"status": 5}) is None
    assert run_status_of(None) is None
