"""Saving working copies: merged with what others committed, whole, and never twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import (
    InputError,
    MessageIdConflictError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionExistsError,
    StorageCorruptError,
    StorageTimeoutError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.report import MergeConflict
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.session_json import session_from_json, session_to_json
from bamboo_sessions.domain.working_copy import freeze, is_clean
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import call, edited, ids_in, result, snapshot_of, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage


class SavingConformance(RepositoryCase):
    """G2, G5: every save is a merge; nobody's acknowledged work is lost."""

    async def test_a_first_save(self, sessions: SessionRepository, storage: SessionStorage) -> None:
        """The first save makes revision 1, and the copy knows it."""
        session = await sessions.load_or_create("s", model="m")
        session.add_message(user("a"))
        report = await sessions.save(session)
        assert (report.revision, report.changed) == (1, True)
        assert (session.revision, session.incarnation, is_clean(session)) == (1, 1, True)
        assert await ids_in(storage) == ["a"]

    async def test_a_first_save_keeps_a_past_time(
        self, sessions: SessionRepository, storage: SessionStorage, clock: ManualClock
    ) -> None:
        """A time that was set by hand is stored; one far ahead is cut to five minutes."""
        past = clock.now() - timedelta(days=30)
        session = Session("s", clock=clock)
        session.updated_at = past
        await sessions.save(session)
        assert (await snapshot_of(storage)).head.updated_at == past
        ahead = Session("t", clock=clock)
        ahead.updated_at = clock.now() + timedelta(days=30)
        await sessions.save(ahead)
        assert (await snapshot_of(storage, "t")).head.updated_at == clock.now() + timedelta(minutes=5)

    async def test_L42_unchanged_writes_nothing(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """A save without changes makes no commit, and neither does saving twice."""
        session = await saved(sessions, user("a"))
        faults.calls.clear()
        report = await sessions.save(session)
        assert (report.revision, report.changed) == (1, False)
        assert faults.calls["commit"] == 0

    async def test_the_fast_path_reads_nothing(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """If nobody wrote in between, a save is one commit and no read."""
        session = await saved(sessions, user("a"))
        faults.calls.clear()
        session.add_message(user("b"))
        await sessions.save(session)
        assert faults.calls["commit"] == 1
        assert not {name for name in faults.calls if name.startswith("read")}

    async def test_L80_two_stale_copies_lose_nothing(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """Two copies of one session that add ten messages each end with all twenty, each turn in one piece."""
        await saved(sessions, user("a"))
        one, two = await sessions.get("s"), await others.get("s")
        for number in range(10):
            one.add_message(user(f"1-{number}"))
            two.add_message(user(f"2-{number}"))
        await sessions.save(one)
        report = await others.save(two)
        assert report.merged == tuple(f"1-{number}" for number in range(10))
        expected = ["a", *(f"1-{n}" for n in range(10)), *(f"2-{n}" for n in range(10))]
        assert ids_of(two) == expected
        assert ids_of(await sessions.load("s")) == expected

    async def test_L01_a_stale_save_keeps_what_a_person_set(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """G5: rename, pin and values survive the save of a copy that is older than they."""
        stale = await saved(sessions, user("a"))
        await others.rename("s", "mine")
        await others.pin("s")
        await others.set_value("s", "colour", "red")
        stale.add_message(user("b"))
        stale.title = "generated"
        stale.metadata["colour"] = "blue"
        report = await sessions.save(stale)
        assert set(report.authoritative_ignored) == {"title", "metadata.colour"}
        for session in (stale, await sessions.get("s"), await others.get("s")):
            assert (session.title, session.pinned, session.metadata["colour"]) == ("mine", True, "red")
            assert ids_of(session) == ["a", "b"]
            assert session.metadata_version == 3

    async def test_L02_lacking_is_not_removing(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A copy that merely lacks newer messages removes none of them."""
        stale = await saved(sessions, user("a"))
        await others.append("s", *users("b", "c"))
        stale.model = "changed"
        await sessions.save(stale)
        assert ids_of(await others.load("s")) == ["a", "b", "c"]

    async def test_removals_and_edits_are_merged(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Recorded removals and edits of one side, additions of the other: all of them stand."""
        mine = await saved(sessions, *users("a", "b", "c"))
        theirs = await others.get("s")
        theirs.messages.insert(1, user("a1"))
        theirs.messages[3] = edited(theirs.messages[3], "C")
        await others.save(theirs)
        del mine.messages[1]
        report = await sessions.save(mine)
        assert report.removed == ("b",)
        assert [message.text for message in mine.messages] == ["a", "a1", "C"]

    async def test_conflicts_are_settled_and_told(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A register changed on both sides is the saver's; a message removed here and edited there is gone."""
        mine = await saved(sessions, *users("a", "b"), model="first")
        theirs = await others.get("s")
        theirs.model, theirs.provider = "theirs", "theirs"
        theirs.messages[0] = edited(theirs.messages[0], "A")
        await others.save(theirs)
        mine.model = "mine"
        del mine.messages[0]
        report = await sessions.save(mine)
        assert set(report.conflicts) == {MergeConflict("model", "mine"), MergeConflict("message:a", "removed")}
        assert (mine.model, mine.provider, ids_of(mine)) == ("mine", "theirs", ["b"])

    async def test_L105_a_late_result_joins_its_call(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """A call was checkpointed, a person wrote, the result is saved: it stands behind its call."""
        run = await saved(sessions, user("q"), call("c", "1"))
        await others.append("s", user("meanwhile"))
        run.add_message(result("r", "1"))
        await sessions.save(run)
        assert ids_of(run) == ids_of(await others.load("s")) == ["q", "c", "r", "meanwhile"]

    async def test_L100_what_is_added_meanwhile_stays(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """What is done to the copy while its save is awaited survives, unsaved, and goes with the next save."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        stall = faults.stall("commit")
        saving = asyncio.create_task(sessions.save(session))
        await stall.reached.wait()
        session.add_message(user("c"))
        session.model = "meanwhile"
        stall.release()
        await saving
        assert (ids_of(session), session.model, is_clean(session)) == (["a", "b", "c"], "meanwhile", False)
        await sessions.save(session)
        assert ids_of(await sessions.load("s", fresh=True)) == ["a", "b", "c"]

    async def test_refusal_in_place_of_merging(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """With `if_revision` a save is refused once somebody committed, and nothing is written."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        await sessions.save(session, if_revision=1)
        await others.append("s", user("c"))
        session.add_message(user("d"))
        with pytest.raises(PreconditionFailedError) as refused:
            await sessions.save(session, if_revision=2)
        assert (refused.value.expected, refused.value.actual) == (2, 3)
        assert ids_of(await others.load("s")) == ["a", "b", "c"]
        assert ids_of(session) == ["a", "b", "d"]

    async def test_a_checkpoint_only_adds(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Removals and edits are held back, stay pending in the copy, and go with the next save."""
        session = await saved(sessions, *users("a", "b"))
        del session.messages[0]
        session.messages[0] = edited(session.messages[0], "B")
        session.add_message(user("c"))
        await sessions.checkpoint(session)
        assert [m.text for m in (await others.get("s")).messages] == ["a", "b", "c"]
        assert [m.text for m in session.messages] == ["B", "c"]
        await sessions.save(session)
        assert [m.text for m in (await others.get("s")).messages] == ["B", "c"]

    async def test_a_copy_without_a_base_is_united(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """A copy built by hand for an id that exists adds what is new, and removes nothing."""
        await saved(sessions, *users("a", "b"))
        await sessions.remove_last("s")
        by_hand = Session("s", clock=clock)
        for message in users("a", "b", "c"):
            by_hand.add_message(message)
        await sessions.save(by_hand)
        assert ids_of(by_hand) == ids_of(await sessions.load("s")) == ["a", "c"]

    async def test_an_id_is_taken(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """G4: two writers with different content under one id: the later is refused, and keeps its work."""
        mine = await saved(sessions, user("a"))
        await others.append("s", user("theirs", id="b"))
        mine.add_message(user("mine", id="b"))
        mine.add_message(user("c"))
        with pytest.raises(MessageIdConflictError):
            await sessions.save(mine)
        assert ids_of(await sessions.load("s")) == ["a", "b"]
        assert ids_of(mine) == ["a", "b", "c"]

    async def test_L36_a_late_save_resurrects_nothing(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """G9: a copy of a deleted session is refused, before and after the id was created again."""
        late = await saved(sessions, user("a"))
        never_saved = Session("s")
        await others.delete("s")
        late.add_message(user("b"))
        for copy in (late, never_saved):
            with pytest.raises(SessionDeletedError):
                await sessions.save(copy)
        assert await sessions.load("s") is None
        created = await others.create(Session("s"))
        assert created.revision == 3
        with pytest.raises(SessionDeletedError):
            await sessions.save(late)
        assert ids_of(await sessions.load("s")) == []

    async def test_creating_what_exists(self, sessions: SessionRepository) -> None:
        """`create` raises where a session lives, and for a copy of a deleted one."""
        old = await saved(sessions, user("a"))
        with pytest.raises(SessionExistsError):
            await sessions.create(Session("s"))
        await sessions.delete("s")
        with pytest.raises(SessionDeletedError):
            await sessions.create(old)

    async def test_what_is_no_session_of_this_repository(self, sessions: SessionRepository) -> None:
        """Something that isn't a session, or is one of another namespace, is refused at the door."""
        with pytest.raises(InputError):
            await sessions.save(Session("s", namespace="elsewhere"))
        with pytest.raises(InputError):
            await sessions.save({"id": "s"})  # type: ignore[arg-type]
        assert await sessions.load("s") is None

    async def test_records_in_the_same_commit(self, sessions: SessionRepository) -> None:
        """G3: adapter state goes with the save: both or neither."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        await sessions.save(session, records=[RecordWrite("k", "r", b"1", if_absent=True)])
        session.add_message(user("c"))
        with pytest.raises(PreconditionFailedError):
            await sessions.save(session, records=[RecordWrite("k", "r", b"2", if_absent=True)])
        record = await sessions.records.get("k", "r", session="s")
        assert record is not None
        assert record.value == b"1"
        assert ids_of(await sessions.load("s", fresh=True)) == ["a", "b"]

    async def test_the_names_that_agent_loops_use(self, sessions: SessionRepository) -> None:
        """`RuntimeSessionPersistence` is satisfied: save, checkpoint and load by their other names."""
        session = await sessions.load_or_create("s")
        session.add_message(user("a"))
        await sessions.save_runtime_session(session)
        session.add_message(user("b"))
        await sessions.checkpoint_runtime_session(session)
        assert ids_of(await sessions.load_runtime_session("s")) == ["a", "b"]
        assert await sessions.load_runtime_session("unknown") is None

    # --- when storage fails

    async def test_G4_an_unknown_outcome_is_settled(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """A commit whose answer was lost is found by its id: the save succeeds, once."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        faults.fail("commit", StorageTimeoutError, after=True)
        report = await sessions.save(session)
        assert (report.revision, session.revision, is_clean(session)) == (2, 2, True)
        assert ids_of(await sessions.load("s", fresh=True)) == ["a", "b"]

    async def test_G4_a_failed_save_can_be_repeated(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """Whether the commit happened or not, saving again ends with each message once."""
        session = await saved(sessions, user("a"))
        for number, after in enumerate((False, True)):
            session.add_message(user(f"m{number}"))
            faults.fail("commit", after=after)
            faults.fail("find_commit")
            with pytest.raises(StorageUnavailableError):
                await sessions.save(session)
            await sessions.save(session)
        assert ids_of(session) == ids_of(await sessions.load("s", fresh=True)) == ["a", "m0", "m1"]

    async def test_L20_a_failed_save_publishes_nothing(
        self, sessions: SessionRepository, faults: FaultyStorage
    ) -> None:
        """Readers see what is committed, not what could not be."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        faults.fail("commit", StorageCorruptError)
        with pytest.raises(StorageCorruptError):
            await sessions.save(session)
        assert ids_of(await sessions.load("s")) == ["a"]
        assert ids_of(session) == ["a", "b"]

    async def test_a_tolerant_save(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """L22: while storage is down the work is kept, shown, and made durable later; `True` where it is durable."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        assert await sessions.save_best_effort(session)
        session.add_message(user("c"))
        with faults.fail("commit", times=None):
            assert not await sessions.save_best_effort(session)
            loaded = await sessions.get("s")
            assert (ids_of(loaded), loaded.revision) == (["a", "b", "c"], 2)
            assert [work.session_id for work in await sessions.flush()] == ["s"]
        assert await sessions.flush() == ()
        assert ids_of(await sessions.load("s", fresh=True)) == ["a", "b", "c"]

    async def test_a_tolerant_save_is_no_blind_eye(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """What can't pass by itself is raised: a corrupt store, a deleted session."""
        session = await saved(sessions, user("a"))
        session.add_message(user("b"))
        faults.fail("commit", StorageCorruptError)
        with pytest.raises(StorageCorruptError):
            await sessions.save_best_effort(session)
        await sessions.delete("s")
        with pytest.raises(SessionDeletedError):
            await sessions.save_best_effort(session)

    async def test_L117_unsaved_work_travels_in_a_document(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """What was done to a copy that went through JSON is saved on top of what others did."""
        await saved(sessions, *users("a", "b", "c"))
        copy = await sessions.get("s")
        copy.messages[0] = Message.user("edited", id="a")
        del copy.messages[1]
        copy.add_message(user("d"))
        copy.model = "m"
        data = session_to_json(copy)
        await others.append("s", user("x"))
        report = await sessions.save(session_from_json(data))
        session = await others.get("s")
        assert (ids_of(session), session.messages[0].text, session.model) == (["a", "c", "x", "d"], "edited", "m")
        assert (report.removed, report.merged) == (("b",), ("x",))
        assert (await sessions.save(session_from_json(session_to_json(session)))).changed is False

    @pytest.mark.parametrize("forged", ["messages", "head"])
    async def test_L117_a_base_that_storage_never_had_is_refused(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage, forged: str
    ) -> None:
        """What it claims is neither taken for committed, nor shown by a load, nor kept for later."""
        await saved(sessions, *users("a"))
        stored = await sessions.get("s")
        data, head = session_to_json(stored), freeze(stored).head
        if forged == "messages":
            data = data.replace(b'"id":"a"', b'"id":"z"')
        else:
            data = data.replace(json.encode(head), json.encode(msgspec.structs.replace(head, model="forged")))
        copy = session_from_json(data)
        copy.add_message(user("b"))
        for save in (sessions.save, sessions.checkpoint, sessions.save_best_effort):
            with pytest.raises(InputError, match="loaded at revision 1"):
                await save(copy)
        with faults.fail("read_head"), pytest.raises(StorageUnavailableError):
            await sessions.save_best_effort(copy)
        assert ids_of(await sessions.load("s")) == ids_of(await others.get("s")) == ["a"]
        kept = await sessions.save_as_fork(copy)
        assert len(kept.messages) == 2

    async def test_many_savers_at_once(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """G2: many stale copies, saved at once through two repositories: every message once, every turn whole."""
        await saved(sessions, user("a"))
        copies = [await repository.get("s") for repository in (sessions, others) for _ in range(6)]
        for number, copy in enumerate(copies):
            copy.add_message(user(f"{number}x"))
            copy.add_message(user(f"{number}y"))
        await asyncio.gather(
            *((sessions if number < 6 else others).save(copy) for number, copy in enumerate(copies)),
        )
        ids = ids_of(await sessions.load("s", fresh=True))
        assert sorted(ids) == sorted(["a", *(f"{n}{end}" for n in range(12) for end in "xy")])
        for number in range(12):
            assert ids[ids.index(f"{number}x") + 1] == f"{number}y"

    async def test_L117_a_document_of_waiting_work_is_refused(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """A base that was never committed is not taken for that, neither before its work is stored nor after."""
        session = Session("s")
        session.add_message(user("a"))
        with faults.fail("commit", times=None):
            assert not await sessions.save_best_effort(session)
        data = session_to_json(session)
        for _ in range(2):
            copy = session_from_json(data)
            copy.add_message(user("b"))
            with pytest.raises(InputError, match="another state"):
                await others.save(copy)
            await sessions.flush()
        assert ids_of(await others.get("s")) == ["a"]
