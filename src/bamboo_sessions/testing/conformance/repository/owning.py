"""Giving sessions to another owner, as when a guest signs in."""

from __future__ import annotations

import asyncio

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
    StorageUnavailableError,
)
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.conformance.kit import user
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of
from bamboo_sessions.testing.faults import FaultyStorage

GUESTS = {"root", "left", "leaf"}
TREE = {**dict.fromkeys(GUESTS, "guest"), "right": "bob"}


async def planted(sessions: SessionRepository) -> None:
    """A guest's root with a child and its child, a child that is somebody else's, and a session beside them."""
    await sessions.create(Session("root", owner="guest"))
    await sessions.create(Session("left", parent_session_id="root"))
    await sessions.create(Session("right", parent_session_id="root", owner="bob"))
    await sessions.create(Session("leaf", parent_session_id="left"))
    await sessions.create(Session("beside", owner="guest"))


async def owners(sessions: SessionRepository) -> dict[str, str | None]:
    """Who owns what, but for the session beside the tree."""
    return {head.id: head.owner async for head in sessions.iter_sessions() if head.id != "beside"}


class OwningConformance(RepositoryCase):
    """A session and what is below it change hands as one, and no stale copy gives them back."""

    async def test_the_tree_goes_with_it(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """All below that has the same owner goes along; what is somebody else's, or isn't below, stays as it is."""
        await planted(sessions)
        for session_id in TREE:
            await others.load(session_id)
        head = await sessions.set_owner("root", "ann")
        assert (head.id, head.owner, head.revision, head.metadata_version) == ("root", "ann", 2, 1)
        for repository in (sessions, others):
            assert await owners(repository) == {**dict.fromkeys(GUESTS, "ann"), "right": "bob"}
            assert (await repository.get("leaf")).owner == "ann"
        assert {head.id for head in (await sessions.list_sessions(owner="ann")).sessions} == GUESTS
        assert {head.id for head in (await sessions.list_sessions(owner="guest")).sessions} == {"beside"}

    async def test_a_branch_may_be_given_away(self, sessions: SessionRepository) -> None:
        """Of a child, what is below it goes along, and nothing above; nobody is an owner, too."""
        await planted(sessions)
        await sessions.set_owner("left", None)
        assert await owners(sessions) == {"root": "guest", "left": None, "leaf": None, "right": "bob"}

    async def test_a_stale_copy_may_still_be_saved(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """G2, G5: what an agent saves that loaded the session before is merged, and the new owner stays."""
        await planted(sessions)
        copy, hand_made = await others.get("root"), Session("root")
        await sessions.set_owner("root", "ann")
        copy.add_message(user("a"))
        copy.metadata_version += 5
        report = await others.save(copy)
        assert (copy.owner, report.changed) == ("ann", True)
        hand_made.add_message(user("b"))
        await others.save(hand_made)
        root = await sessions.get("root")
        assert (root.owner, ids_of(root)) == ("ann", ["a", "b"])
        with pytest.raises(InputError):
            await sessions.save(Session("root", owner="guest"))

    async def test_a_child_of_a_stale_copy(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A child made from a copy of before belongs to whom its parent belongs when it is created."""
        await planted(sessions)
        copy = await others.get("root")
        await sessions.set_owner("root", "ann")
        child = await others.create(copy.new_child("late"))
        assert (child.owner, (await sessions.get("late")).owner) == ("ann", "ann")

    async def test_a_fork_of_a_stale_copy(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """What is kept of a copy of before belongs to whom the session belongs now."""
        await planted(sessions)
        copy = await others.get("root")
        await sessions.set_owner("root", "ann")
        assert (await others.save_as_fork(copy)).owner == "ann"
        await sessions.delete("root")
        assert (await others.save_as_fork(copy)).owner == "guest"

    async def test_the_same_owner_again(self, sessions: SessionRepository) -> None:
        """An owner that it has already changes nothing: no revision, no row in the feed."""
        await planted(sessions)
        position = await sessions.feed_position()
        assert (await sessions.set_owner("root", "guest")).revision == 1
        assert await sessions.feed_position() == position

    async def test_the_feed_tells_of_each(self, sessions: SessionRepository) -> None:
        """G11: each session that changed hands has its own row in the feed."""
        await planted(sessions)
        position = await sessions.feed_position()
        await sessions.set_owner("root", "ann")
        changes = [change async for change in sessions.changes(after=position, live=False)]
        assert changes[0].session_id == "root"
        assert {change.session_id for change in changes} == GUESTS
        assert {change.kinds for change in changes} == {("authoritative",)}
        assert {change.revision for change in changes} == {2}

    async def test_refusals(self, sessions: SessionRepository) -> None:
        """No session, a deleted one, another version, and what can't be an owner: refused, and nothing changed."""
        await planted(sessions)
        with pytest.raises(SessionNotFoundError):
            await sessions.set_owner("nobody", "ann")
        await sessions.delete("beside")
        with pytest.raises(SessionDeletedError):
            await sessions.set_owner("beside", "ann")
        with pytest.raises(PreconditionFailedError) as refused:
            await sessions.set_owner("root", "ann", if_metadata_version=7)
        assert (refused.value.expected, refused.value.actual) == (7, 0)
        for wrong in ("", "a\tb", "\ud800", 7):
            with pytest.raises(InputError):
                await sessions.set_owner("root", wrong)  # type: ignore[arg-type]
        assert await owners(sessions) == TREE

    async def test_G3_all_or_nothing(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """A failure before it leaves the tree as it was; after it, the whole tree has changed hands (G4)."""
        await planted(sessions)
        faults.fail("set_owner", StorageUnavailableError)
        with pytest.raises(StorageUnavailableError):
            await sessions.set_owner("root", "ann")
        assert await owners(sessions) == TREE
        faults.heal()
        faults.fail("set_owner", after=True)
        with pytest.raises(StorageUnavailableError) as lost:
            await sessions.set_owner("root", "ann")
        faults.heal()
        assert await owners(sessions) == {**dict.fromkeys(GUESTS, "ann"), "right": "bob"}
        await sessions.set_owner("left", "cay")
        again = await sessions.set_owner("root", "ann", commit_id=lost.value.commit_id)
        assert (again.owner, again.revision) == ("ann", 2)
        assert (await owners(sessions))["left"] == "cay"

    async def test_a_commit_id_of_another_call(self, sessions: SessionRepository) -> None:
        """The id of a deletion names no change of the owner, and the other way round."""
        await planted(sessions)
        await sessions.delete("root", commit_id="mine")
        await sessions.create(Session("root"))
        with pytest.raises(InputError):
            await sessions.set_owner("root", "ann", commit_id="mine")
        await sessions.set_owner("root", "ann", commit_id="other")
        with pytest.raises(InputError):
            await sessions.delete("root", commit_id="other")

    async def test_while_others_write(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """G2: appends and saves at the same time all land, and every session has the new owner."""
        await planted(sessions)
        copies = [await others.get(session_id) for session_id in ("root", "leaf")]
        for copy in copies:
            copy.add_message(user(f"{copy.id}-saved"))
        appends = [others.append(session_id, user(f"{session_id}-appended")) for session_id in ("root", "left")]
        await asyncio.gather(*appends, sessions.set_owner("root", "ann"), *(others.save(copy) for copy in copies))
        assert await owners(others) == {**dict.fromkeys(GUESTS, "ann"), "right": "bob"}
        assert sorted(ids_of(await sessions.load("root"))) == ["root-appended", "root-saved"]
