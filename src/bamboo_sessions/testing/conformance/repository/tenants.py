"""What a namespace's handle may look at and mend, and what only the store's owner may (L130)."""

from __future__ import annotations

import pytest

from bamboo_sessions.domain.message import Message, ToolCall
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.admin import StoreAdmin
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase
from bamboo_sessions.testing.faults import FaultyStorage


def interrupted(id: str) -> tuple[Message, ...]:
    """A message that makes a call which never got its result: a problem that a repair mends."""
    return (Message.assistant("", [ToolCall("call", "look", {})], id=id),)


class TenantsConformance(RepositoryCase):
    """A tenant's handle knows of its own namespace only; the owner's knows of all."""

    @pytest.fixture
    def tenant(self, sessions: SessionRepository, other_namespace: str) -> SessionRepository:
        """A handle of another namespace, on the same tiers."""
        return sessions.in_namespace(other_namespace)

    async def test_L130_a_check_sees_and_mends_its_own_namespace(
        self, sessions: SessionRepository, tenant: SessionRepository, owner: StoreAdmin
    ) -> None:
        """Each handle finds its own interrupted call, and a repair by one leaves the other's as it is."""
        await sessions.append("mine", *interrupted("m"), create=True)
        await tenant.append("theirs", *interrupted("t"), create=True)
        await tenant.append("quiet", Message.user("x"), create=True)
        report = await sessions.check(repair=True)
        assert [(each.namespace, each.session_id) for each in report.problems] == [(sessions.namespace, "mine")]
        assert (report.sessions, report.messages, report.ok) == (1, 1, True)
        assert (await tenant.get("theirs")).revision == 1
        report = await tenant.check()
        assert [(each.session_id, each.repaired) for each in report.problems] == [("theirs", False)]
        assert report.sessions == 2
        whole = await owner.check(repair=True)
        assert [(each.namespace, each.session_id) for each in whole.problems] == [(tenant.namespace, "theirs")]
        assert (whole.sessions, whole.ok) == (3, True)
        assert (await tenant.check()).problems == ()

    async def test_L130_counters_are_of_ones_own_namespace(
        self, sessions: SessionRepository, tenant: SessionRepository, owner: StoreAdmin
    ) -> None:
        """Whatever another tenant does, one's own counters stay as they are; the owner's count all."""
        await sessions.append("s", Message.user("x"), create=True)
        await sessions.records.put("k", "a", b"mine", session="s")
        before = await sessions.stats()
        await tenant.append("s", Message.user("y"), Message.user("z"), create=True)
        await tenant.append("gone", Message.user("y"), create=True)
        await tenant.delete("gone")
        await tenant.records.put("k", "a", b"theirs", shared="app")
        assert await sessions.stats() == before
        assert (before["sessions"], before["messages"], before["records"]) == (1, 1, 1)
        theirs = await tenant.stats()
        assert (theirs["sessions"], theirs["deleted_sessions"], theirs["messages"]) == (1, 1, 2)
        whole = await owner.stats()
        assert (whole["sessions"], whole["messages"], whole["records"]) == (2, 3, 2)

    async def test_L130_unsaved_work_is_told_to_its_own_namespace(
        self, sessions: SessionRepository, tenant: SessionRepository, faults: FaultyStorage
    ) -> None:
        """What waits for storage is counted and told where it belongs, also when the store is closed."""
        faults.fail("commit", times=1_000)
        work = Session("mine", namespace=sessions.namespace)
        assert not await sessions.save_best_effort(work)
        assert not await tenant.save_best_effort(Session("theirs", namespace=tenant.namespace))
        assert [each.session_id for each in await tenant.flush()] == ["theirs"]
        assert (await sessions.stats())["dirty_sessions"] == 1
        assert [each.session_id for each in await sessions.aclose()] == ["mine"]

    async def test_the_owner_lists_the_namespaces(
        self, sessions: SessionRepository, tenant: SessionRepository, owner: StoreAdmin
    ) -> None:
        """Each namespace that has or had a session is named once, in order."""
        assert [name async for name in owner.namespaces()] == []
        await sessions.append("a", Message.user("x"), create=True)
        await tenant.append("b", Message.user("x"), create=True)
        await tenant.append("c", Message.user("x"), create=True)
        await tenant.delete("b")
        assert [name async for name in owner.namespaces()] == sorted([sessions.namespace, tenant.namespace])
