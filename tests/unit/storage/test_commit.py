"""The rules of admission that all engines share."""

from __future__ import annotations

import pytest

from bamboo_sessions import LeaseLostError, SessionDeletedError, SessionNotFoundError
from bamboo_sessions.domain.clock import MICROSECOND
from bamboo_sessions.domain.message import to_stored
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.storage.commit import (
    Commit,
    Current,
    HistorySource,
    RecordWrite,
    RevisionConflict,
    admit,
    kinds_of,
)
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import SECOND, appending, creation, head_of, user

LIVING = Current(5, 2, 7, START, deleted=False)
DEAD = Current(5, 0, 7, START, deleted=True)


def test_a_first_commit_begins_to_count() -> None:
    """Where nothing ever was, counting begins at 1."""
    admission = admit(creation(), None)
    assert (admission.revision, admission.incarnation, admission.metadata_version_min) == (1, 1, 0)
    assert admission.created


def test_a_commit_counts_on() -> None:
    """A commit on a living session raises the revision by one and stays in its life."""
    for expected in (None, 5):
        admission = admit(appending("s", user("a"), expected=expected), LIVING)
        assert (admission.revision, admission.incarnation, admission.created) == (6, 2, False)
        assert admission.metadata_version_min == 7


def test_the_next_life_counts_on() -> None:
    """L103: counters go on over a deletion, and the metadata version lies above the old one."""
    admission = admit(creation(reuse_deleted=True), DEAD)
    assert (admission.revision, admission.incarnation, admission.metadata_version_min) == (6, 6, 8)


@pytest.mark.parametrize(
    ("commit", "current", "error"),
    [
        (creation(), LIVING, RevisionConflict),
        (appending(expected=4), LIVING, RevisionConflict),
        (appending(expected=6), LIVING, RevisionConflict),
        (appending(incarnation=1), LIVING, SessionDeletedError),
        (appending(incarnation=1, expected=5), LIVING, SessionDeletedError),
        (appending(), DEAD, SessionDeletedError),
        (creation(), DEAD, SessionDeletedError),
        (appending(initial_head=head_of()), DEAD, SessionDeletedError),
        (appending(expected=5, reuse_deleted=True), DEAD, SessionDeletedError),
        (appending(incarnation=2, reuse_deleted=True), DEAD, SessionDeletedError),
        (appending(), None, SessionNotFoundError),
        (appending(expected=5), None, SessionNotFoundError),
        (appending(incarnation=2, initial_head=head_of()), None, SessionNotFoundError),
    ],
)
def test_what_is_refused(commit: Commit, current: Current | None, error: type[Exception]) -> None:
    """Stale, late and homeless commits are refused, each with its own error."""
    with pytest.raises(error):
        admit(commit, current)


def test_an_older_token_is_refused() -> None:
    """G12: fenced commits need the newest token, unfenced ones none; deletion and lives come first, revisions after."""
    leased = LIVING._replace(lease_token=3)
    for fence in (None, 3, 4):
        assert admit(appending(fence=fence), leased).revision == 6
    for expected in (None, 4, 5):
        with pytest.raises(LeaseLostError) as lost:
            admit(appending(fence=2, expected=expected), leased)
        assert (lost.value.token, lost.value.newer_token) == (2, 3)
    for commit, current in ((appending(fence=2), DEAD), (appending(fence=2, incarnation=1), leased)):
        with pytest.raises(SessionDeletedError):
            admit(commit, current)


def test_times_rise() -> None:
    """The later of the wish and the committed time + 1 µs; a creation and a rewriting take the wish as it is."""
    assert admit(appending(updated_at=START), LIVING).updated_at == START + MICROSECOND
    assert admit(appending(updated_at=START + SECOND), LIVING).updated_at == START + SECOND
    assert admit(appending(at=START + SECOND), LIVING).updated_at == START + SECOND
    assert admit(appending(updated_at=START - SECOND, replace=True), LIVING).updated_at == START - SECOND
    assert admit(creation(updated_at=START - SECOND), None).updated_at == START - SECOND


def test_kinds_name_what_changes() -> None:
    """Each part of a commit is one kind of change."""

    def kinds(
        commit: Commit, *, created: bool = False, inserted: bool = False, used: bool = False, recorded: bool = False
    ) -> tuple[str, ...]:
        return kinds_of(commit, created=created, inserted=inserted, used=used, recorded=recorded)

    assert kinds(creation(), created=True) == ("created",)
    asking = creation(head=head_of(questions=(PendingQuestion("1", "ask", "Go?"),)))
    assert kinds(asking, created=True) == ("created", "questions")
    assert kinds(appending("s", user("a")), inserted=True) == ("messages",)
    assert kinds(appending(removals=("a",))) == ("messages",)
    assert kinds(appending(edits=(to_stored(user("a")),))) == ("messages",)
    assert kinds(creation(history_from=HistorySource("t", 1, None)), created=True) == ("created", "messages")
    assert kinds(appending(usage=(TokenUsageRecord(),)), used=True) == ("usage",)
    assert kinds(appending(records=(RecordWrite("k", "a", b""),)), recorded=True) == ("records",)
    assert kinds(appending(head=head_of())) == ("head",)
    assert kinds(appending(head=head_of(), head_kinds=("questions", "authoritative"))) == ("questions", "authoritative")


def test_sizes_count_bodies_and_records() -> None:
    """A commit is as large as its messages, edits and records."""
    stored = to_stored(user("a"))
    commit = appending("s", user("a"), edits=(stored,), records=(RecordWrite("k", "a", b"123"),))
    assert commit.size == 2 * len(stored.body) + 3
    assert appending().size == 0
