"""Which of two copies of a session is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.reconcile import prefers_storage

START = datetime(2026, 1, 1, tzinfo=UTC)


def _head(revision: int, minutes: int = 0, *, asks: bool = False) -> SessionHead:
    questions = (PendingQuestion("call", "ask", "Go?"),) if asks else ()
    at = START + timedelta(minutes=minutes)
    return SessionHead(
        id="s", root_session_id="s", created_at=START, updated_at=at, revision=revision, questions=questions
    )


@pytest.mark.parametrize(
    ("memory", "durable", "expected"),
    [
        (_head(1, 9), _head(2, 0), True),
        (_head(2, 0), _head(1, 9), False),
        (_head(2, 0), _head(2, 9), True),
        (_head(0, 9), _head(2, 0), False),
        (_head(1, 9), _head(0, 0), False),
        (_head(1, 0), _head(0, 9), True),
        (_head(0, 0), _head(0, 9), True),
        (_head(0), _head(0), False),
        (_head(0), _head(0, asks=True), True),
        (_head(0, asks=True), _head(0, asks=True), False),
        (_head(0, asks=True), _head(0), False),
        (_head(0, 9), _head(0, 0, asks=True), False),
    ],
)
def test_which_copy_is_shown(memory: SessionHead, durable: SessionHead, expected: bool) -> None:
    """Different revisions decide, then times; at the same age an open question that memory lost (L14, L24)."""
    assert prefers_storage(memory, durable) is expected
