"""Commit ids of callers: a call that is made again with one answers with the outcome of then (G4)."""

from __future__ import annotations

import pytest

from bamboo_sessions import PreconditionFailedError, Session, StorageTimeoutError, StorageUnavailableError
from bamboo_sessions.coordination.backoff import Backoff
from bamboo_sessions.coordination.plan import Planned, living
from bamboo_sessions.coordination.saving import plan_save
from bamboo_sessions.domain.working_copy import copy_of
from bamboo_sessions.storage.commit import State
from bamboo_sessions.testing.conformance.kit import appending, user, users
from tests.unit.coordination.kit import KEY, Rig

pytestmark = pytest.mark.anyio


@pytest.fixture
def rig() -> Rig:
    """A store over a storage that can fail."""
    return Rig()


async def _remove_last(rig: Rig, commit_id: str) -> int:
    """Take out the last message, by a plan that runs on the newest state; the revision of the commit."""

    def plan(state: State) -> Planned:
        session = copy_of(living(KEY, state), rig.clock)
        del session.messages[-1]
        return plan_save(session, now=rig.clock.now(), commit_id=commit_id)(state)

    return await rig.store.write(
        KEY, plan, then=lambda written: written.committed.revision if written.committed else 0, commit_id=commit_id
    )


async def test_L118_a_repeated_plan_removes_one_message(rig: Rig) -> None:
    """The caller tries again after an unknown outcome, with the id that the error names: one message goes, not two."""
    await rig.saved(*users("a", "b", "c"))
    rig.storage.fail("commit", StorageTimeoutError, after=True)
    rig.storage.fail("find_commit")
    with pytest.raises(StorageTimeoutError) as caught:
        await _remove_last(rig, "mine")
    assert (caught.value.outcome_unknown, caught.value.commit_id) == (True, "mine")
    assert await _remove_last(rig, "mine") == 2
    assert await rig.ids() == ["a", "b"]
    assert await _remove_last(rig, "another") == 3
    assert await rig.ids() == ["a"]


async def test_L118_what_was_done_already_is_no_conflict(rig: Rig) -> None:
    """A save that names a revision, made again by a new copy: it is found before the revision is compared."""
    await rig.saved(user("a"))
    first = await rig.loaded()
    first.add_message(user("b"))
    await rig.store.merge_save(first, if_revision=1, commit_id="mine")
    again = Session("s", clock=rig.clock)
    again.add_message(user("b"))
    report = await rig.store.merge_save(again, if_revision=1, commit_id="mine")
    assert (report.revision, report.changed) == (2, True)
    assert [message.id for message in again.messages] == ["a", "b"]
    with pytest.raises(PreconditionFailedError):
        await rig.store.merge_save(again, if_revision=1, commit_id="other")
    assert await rig.ids() == ["a", "b"]


async def test_L118_a_plan_with_nothing_left_to_do_succeeds(rig: Rig) -> None:
    """A clean copy saved again with the id of its last save gets that save's outcome."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    await rig.store.merge_save(session, commit_id="mine")
    await rig.others.append(appending("s", user("c")))
    report = await rig.store.merge_save(session, commit_id="mine")
    assert (report.revision, report.changed) == (2, True)


async def test_L118_an_error_before_the_commit_names_no_commit(rig: Rig) -> None:
    """An outcome that is known has no id to settle it by."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    with rig.storage.fail("commit", StorageUnavailableError), pytest.raises(StorageUnavailableError) as caught:
        await rig.store.merge_save(session, commit_id="mine")
    assert (caught.value.outcome_unknown, caught.value.commit_id) == (False, None)


# --- others are faster


async def test_L133_two_savers_of_one_process_never_conflict(rig: Rig) -> None:
    """A copy that is a revision behind starts from the newest state that the process knows: no commit is refused."""
    await rig.saved(user("a"))
    one, two = await rig.loaded(), await rig.loaded()
    for number in range(5):
        for name, copy in (("one", one), ("two", two)):
            copy.add_message(user(f"{name}{number}"))
            await rig.store.merge_save(copy)
    assert (rig.store.writes.conflicts, rig.storage.calls["commit"]) == (0, 11)


async def test_L133_a_writer_that_is_unknown_is_waited_for(rig: Rig) -> None:
    """A conflict with another process's commit pauses before it tries again."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    rig.store._committer._backoff = Backoff(0.001, 0.02, sleep=pause)
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    await rig.others.append(appending("s", user("theirs")))
    await rig.store.merge_save(session)
    assert (rig.store.writes.conflicts, len(pauses)) == (1, 1)


# --- what engines needn't look up


async def test_a_commit_whose_answer_was_lost_is_no_first_try(rig: Rig) -> None:
    """Storage may believe that nothing was made with the id of a first try: what is sent again says that it is none."""
    session = await rig.saved(user("a"))
    session.add_message(user("b"))
    rig.storage.fail("commit", StorageTimeoutError, after=True)
    report = await rig.store.merge_save(session)
    assert (report.revision, report.changed, rig.store.writes.conflicts) == (2, True, 0)
    assert await rig.ids() == ["a", "b"]
