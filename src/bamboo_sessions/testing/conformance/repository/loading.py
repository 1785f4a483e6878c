"""The load family: nothing is hidden, nothing goes back, nothing is shared."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bamboo_sessions.domain.errors import (
    InvalidSessionIdError,
    SessionDeletedError,
    SessionNotFoundError,
    StorageCorruptError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import KEY, SECOND, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage

QUESTION = PendingQuestion("call", "ask", "Go?", id="q")


class LoadingConformance(RepositoryCase):
    """G7, G8: loads are current, and tell failure from absence."""

    async def test_absence(self, sessions: SessionRepository) -> None:
        """Without a session `load`, `load_merged` and `load_best_effort` give `None`, `get` raises."""
        assert await sessions.load("s") is None
        assert await sessions.load("s", fresh=True) is None
        assert await sessions.load_merged("s") is None
        assert await sessions.load_best_effort("s") is None
        with pytest.raises(SessionNotFoundError):
            await sessions.get("s")

    async def test_a_new_session_waits_for_its_save(self, sessions: SessionRepository, storage: SessionStorage) -> None:
        """`load_or_create` persists nothing; the save does."""
        session = await sessions.load_or_create("s", model="m")
        assert (session.revision, session.model) == (0, "m")
        assert await storage.read(KEY) is None
        await sessions.save(session)
        again = await sessions.load_or_create("s", model="other")
        assert (again.revision, again.model) == (1, "m")

    async def test_what_was_saved_is_loaded(self, sessions: SessionRepository) -> None:
        """A loaded copy has all that was saved, from the cache and from storage alike."""
        session = await saved(sessions, *users("a", "b"), model="m")
        session.metadata["k"] = {"deep": [1]}
        session.run_state = {"status": "idle"}
        await sessions.save(session)
        for loaded in (await sessions.load("s"), await sessions.load("s", fresh=True), await sessions.get("s")):
            assert loaded is not None
            assert ids_of(loaded) == ["a", "b"]
            assert (loaded.model, loaded.metadata, loaded.run_status) == ("m", {"k": {"deep": [1]}}, "idle")
            assert loaded.revision == session.revision == 2

    async def test_copies_are_independent(self, sessions: SessionRepository) -> None:
        """What is done to one copy is seen by nobody before it is saved."""
        await saved(sessions, user("a"))
        copy = await sessions.get("s")
        copy.add_message(user("b"))
        copy.title = "mine"
        copy.metadata["k"] = 1
        other = await sessions.get("s")
        assert (ids_of(other), other.title, other.metadata) == (["a"], None, {})

    async def test_loads_see_the_commits_of_others(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """G7: a cached session is noticed to be old, whatever the other commit was."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))
        assert ids_of(await sessions.load("s")) == ["a", "b"]
        await others.rename("s", "T")
        assert (await sessions.get("s")).title == "T"
        await others.remove_last("s")
        assert ids_of(await sessions.load("s")) == ["a"]
        await others.delete("s")
        assert await sessions.load("s") is None

    async def test_one_sees_ones_own_writes(self, sessions: SessionRepository) -> None:
        """L17, L19, L25: after each kind of write the next load shows it, and the whole history with it."""
        await saved(sessions, *users("a", "b"))
        await sessions.append("s", user("c"))
        await sessions.pin("s")
        session = await sessions.get("s")
        assert (ids_of(session), session.pinned) == (["a", "b", "c"], True)
        await sessions.truncate("s", after_message_id="a")
        assert ids_of(await sessions.load("s")) == ["a"]
        await sessions.clear("s")
        assert ids_of(await sessions.load("s")) == []

    async def test_hits_do_not_read(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """A current session is loaded from memory, however often, also after one's own commits of others (L106)."""
        await saved(sessions, user("a"))
        await saved(sessions, user("x"), id="t")
        await sessions.load("s")
        faults.calls.clear()
        for _ in range(3):
            await sessions.append("t", user(str(len(ids_of(await sessions.load("t"))))))
            await sessions.load("s")
        assert not {"read", "read_newer", "read_head"} & set(faults.calls)

    async def test_a_deleted_session_is_absent(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """G9: a deleted session is loaded as absent, and `load_or_create` says that it was deleted."""
        await saved(sessions, user("a"))
        await others.load("s")
        await sessions.delete("s")
        for repository in (sessions, others):
            assert await repository.load("s") is None
            assert await repository.load_merged("s") is None
            with pytest.raises(SessionNotFoundError):
                await repository.get("s")
            with pytest.raises(SessionDeletedError):
                await repository.load_or_create("s")

    @pytest.mark.parametrize("error", [StorageUnavailableError, StorageCorruptError])
    async def test_L26_failure_is_not_absence(
        self, sessions: SessionRepository, faults: FaultyStorage, error: type[StorageUnavailableError]
    ) -> None:
        """G8: what can't be read is raised, and no empty session is made in its place."""
        with faults.fail(None, error, times=None):
            for load in (sessions.load, sessions.get, sessions.load_or_create, sessions.load_merged):
                with pytest.raises(error):
                    await load("s")
            assert await sessions.load_best_effort("s") is None
        assert await sessions.load("s") is None

    async def test_a_tombstone_that_cannot_be_read(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """Whatever creates a session fails closed: also if only the look for a tombstone fails."""
        with faults.fail("read_head", times=None), pytest.raises(StorageUnavailableError):
            await sessions.load_or_create("s")

    @pytest.mark.parametrize("id", ["", "a\0b", "x" * 513, "\ud800", 7])
    async def test_L64_bad_ids(self, sessions: SessionRepository, id: str) -> None:
        """An id that can't be one is refused at the door."""
        with pytest.raises(InvalidSessionIdError):
            await sessions.load(id)

    async def test_namespaces(self, sessions: SessionRepository, other_namespace: str) -> None:
        """L99: a view of another namespace sees and changes its own sessions only."""
        await saved(sessions, user("a"))
        view = sessions.in_namespace(other_namespace)
        assert (view.namespace, sessions.namespace) == (other_namespace, "default")
        assert await view.load("s") is None
        await saved(view, user("b"))
        assert ids_of(await view.load("s")) == ["b"]
        assert ids_of(await sessions.load("s")) == ["a"]
        await view.delete("s")
        assert ids_of(await sessions.load("s")) == ["a"]

    # --- memory against storage

    async def test_L14_the_newer_memory_copy_stands(
        self, sessions: SessionRepository, storage: SessionStorage, clock: ManualClock
    ) -> None:
        """Storage is 10 s older and has a question: the memory copy is the answer, and stays as it is."""
        durable = Session("s", "m", clock=clock)
        durable.set_pending_question(QUESTION)
        durable.updated_at = clock.now() - timedelta(seconds=10)
        await storage.save_session(durable)
        memory = Session("s", "m", clock=clock)
        memory.updated_at = clock.now()
        sessions.cache.insert(memory)

        merged = await sessions.load_merged("s")

        assert merged is not None
        assert merged.pending_question is None
        cached = sessions.cache.get("s")
        assert cached is not None
        assert cached.pending_question is None

    async def test_L24_a_question_that_memory_lost(
        self, sessions: SessionRepository, storage: SessionStorage, clock: ManualClock
    ) -> None:
        """Both copies are of the same age and storage has a question: it is the answer."""
        durable = Session("s", "m", clock=clock)
        durable.set_pending_question(QUESTION)
        durable.updated_at = clock.now()
        await storage.save_session(durable)
        memory = Session("s", "m", clock=clock)
        memory.updated_at = clock.now()
        sessions.cache.insert(memory)

        merged = await sessions.load_merged("s")

        assert merged is not None
        assert merged.pending_question == QUESTION

    async def test_the_newer_storage_copy_wins(
        self, sessions: SessionRepository, storage: SessionStorage, clock: ManualClock
    ) -> None:
        """Storage is strictly newer: it is the answer, and the cache has it from then on."""
        memory = Session("s", "old", clock=clock)
        sessions.cache.insert(memory)
        durable = Session("s", "new", clock=clock)
        durable.updated_at = clock.now() + SECOND
        await storage.save_session(durable)
        merged = await sessions.load_merged("s")
        cached = sessions.cache.get("s")
        assert merged is not None
        assert cached is not None
        assert (merged.model, cached.model) == ("new", "new")

    async def test_only_one_copy(
        self, sessions: SessionRepository, storage: SessionStorage, clock: ManualClock
    ) -> None:
        """Memory only gives memory; storage only gives storage, and fills the cache."""
        sessions.cache.insert(Session("memory", "m", clock=clock))
        await storage.save_session(Session("durable", "d", clock=clock))
        memory = await sessions.load_merged("memory")
        durable = await sessions.load_merged("durable")
        assert memory is not None
        assert durable is not None
        assert (memory.model, durable.model) == ("m", "d")
        assert sessions.cache.get("durable") is not None
        assert await storage.read(KEY) is None

    async def test_load_merged_never_lags(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A cached session that others changed is merged with what they committed."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))
        assert ids_of(await sessions.load_merged("s")) == ["a", "b"]

    async def test_load_merged_has_waiting_work(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """Work that isn't durable yet and what others committed are both in the answer."""
        session = await saved(sessions, user("a"))
        session.add_message(user("mine"))
        with faults.fail("commit", times=None):
            assert not await sessions.save_best_effort(session)
        await others.append("s", user("theirs"))
        for merged in (await sessions.load_merged("s"), await sessions.load("s")):
            assert sorted(ids_of(merged)) == ["a", "mine", "theirs"]
        assert await sessions.flush() == ()
        assert sorted(ids_of(await others.load("s"))) == ["a", "mine", "theirs"]
