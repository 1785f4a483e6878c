"""Trees of sessions: deleted as a whole or not at all, and no child outlives its parents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from bamboo_sessions.coordination.next_snapshot import committed_head
from bamboo_sessions.domain.errors import (
    InputError,
    LimitExceededError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import SPAWN_DEPTH_MAX
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot, Tombstone
from bamboo_sessions.domain.working_copy import freeze
from bamboo_sessions.storage.commit import Commit
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery, ListQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import SECOND, appending, creation, head_of, key_of, snapshot_of, user

TREE = ("root", "left", "right", "leaf")


def child_head(id: str, parent: str, root: str = "root", **fields: Any) -> SessionHead:  # noqa: ANN401 - of a head
    """The head of a child."""
    return head_of(id, kind="child", parent_session_id=parent, root_session_id=root, **fields)


async def plant(storage: SessionStorage) -> None:
    """A root with two children, one of which has a child; and a session beside them."""
    await storage.commit(creation("root"))
    await storage.commit(creation("left", head=child_head("left", "root")))
    await storage.commit(creation("right", head=child_head("right", "root")))
    await storage.commit(creation("leaf", head=child_head("leaf", "left")))
    await storage.commit(creation("beside"))


async def alive(storage: SessionStorage, *ids: str) -> set[str]:
    """Those of the ids that live."""
    return {id_ for id_ in ids if isinstance(await storage.read(key_of(id_)), Snapshot)}


class TreesConformance(Conformance):
    """`delete_tree` is one transaction, and creating a child looks at its ancestors in its own."""

    async def test_a_tree_goes_as_a_whole(self, storage: SessionStorage) -> None:
        """Deleting a root deletes all below it, the given one named first, and nothing else."""
        await plant(storage)
        deleted = await storage.delete_tree(key_of("root"), DeleteQuery(at=START))
        assert deleted[0] == "root"
        assert sorted(deleted) == sorted(TREE)
        assert await alive(storage, *TREE, "beside") == {"beside"}
        for id_ in TREE:
            assert await storage.read(key_of(id_)) == Tombstone(id_, 2, 0)

    async def test_whoever_looks_sees_all_of_a_tree_or_nothing(self, storage: SessionStorage) -> None:
        """While a tree is being deleted its sessions are there together, or gone together, in reads and in listings."""
        await plant(storage)
        deletion = asyncio.create_task(storage.delete_tree(key_of("root"), DeleteQuery(at=START)))
        while not deletion.done():
            await checkpoint()
            page = await storage.list_heads(ListQuery("default"))
            listed = {head.id for head in page.heads}
            assert listed in ({*TREE, "beside"}, {"beside"})
            if "root" not in listed:
                assert await alive(storage, *TREE) == set()
        for id_ in TREE:
            with pytest.raises(SessionDeletedError):
                await storage.commit(appending(id_, user("late")))
        assert set(await deletion) == set(TREE)

    async def test_a_branch_goes_alone(self, storage: SessionStorage) -> None:
        """Deleting a child deletes what is below it, and leaves its parent and siblings."""
        await plant(storage)
        assert await storage.delete_tree(key_of("left"), DeleteQuery(at=START)) == ("left", "leaf")
        assert await alive(storage, *TREE) == {"root", "right"}

    async def test_there_must_be_something_to_delete(self, storage: SessionStorage) -> None:
        """Deleting what never was, or twice, deletes nothing and leaves the tombstone as it is."""
        assert await storage.delete_tree(key_of("s"), DeleteQuery(at=START)) == ()
        assert await storage.read(key_of("s")) is None
        await storage.commit(creation())
        await storage.delete_tree(key_of("s"), DeleteQuery(at=START))
        assert await storage.delete_tree(key_of("s"), DeleteQuery(at=START)) == ()
        assert await storage.read(key_of("s")) == Tombstone("s", 2, 0)

    async def test_L39_a_pin_saves_its_whole_tree(self, storage: SessionStorage) -> None:
        """With `keep_pinned`, a pinned grandchild spares the tree, also from a deletion of its root."""
        await storage.commit(creation("root"))
        await storage.commit(creation("left", head=child_head("left", "root")))
        await storage.commit(creation("leaf", head=child_head("leaf", "left", pinned=True)))
        assert await storage.delete_tree(key_of("root"), DeleteQuery(at=START, keep_pinned=True)) == ()
        assert await alive(storage, "root", "left", "leaf") == {"root", "left", "leaf"}
        assert len(await storage.delete_tree(key_of("root"), DeleteQuery(at=START))) == 3

    async def test_L39_a_pin_saves_the_branches_beside_it(self, storage: SessionStorage) -> None:
        """With `keep_pinned`, a pin above or beside a branch spares that, too; a pin in another tree doesn't."""
        await storage.commit(creation("root", head=head_of("root", pinned=True)))
        await storage.commit(creation("left", head=child_head("left", "root")))
        await storage.commit(creation("other"))
        query = DeleteQuery(at=START, keep_pinned=True)
        assert await storage.delete_tree(key_of("left"), query) == ()
        assert await storage.delete_tree(key_of("other"), query) == ("other",)

    async def test_a_deletion_can_name_a_revision(self, storage: SessionStorage) -> None:
        """With `if_revision` only that state of the session is deleted; one that doesn't live is no error."""
        await plant(storage)
        await storage.commit(appending("root", user("a")))
        with pytest.raises(PreconditionFailedError) as refused:
            await storage.delete_tree(key_of("root"), DeleteQuery(at=START, if_revision=1))
        assert (refused.value.expected, refused.value.actual) == (1, 2)
        assert await alive(storage, *TREE) == set(TREE)
        await storage.commit(appending("leaf", user("a")))  # of the session itself, not of its tree
        assert len(await storage.delete_tree(key_of("root"), DeleteQuery(at=START, if_revision=2))) == 4
        assert await storage.delete_tree(key_of("root"), DeleteQuery(at=START, if_revision=2)) == ()
        assert await storage.delete_tree(key_of("never"), DeleteQuery(at=START, if_revision=2)) == ()

    async def test_a_deletion_can_be_repeated(self, storage: SessionStorage) -> None:
        """G4: the same commit id again tells what was deleted then, and spares the session's next life."""
        await plant(storage)
        query = DeleteQuery(at=START, commit_id="mine")
        deleted = await storage.delete_tree(key_of("root"), query)
        assert await storage.delete_tree(key_of("root"), query) == deleted
        assert await storage.find_commit(key_of("root"), "mine") == 2
        await storage.commit(creation("root", reuse_deleted=True))
        assert await storage.delete_tree(key_of("root"), query) == deleted
        assert await alive(storage, "root") == {"root"}

    async def test_commit_ids_of_several_sessions_are_apart(self, storage: SessionStorage) -> None:
        """One id may name a commit of each session of a tree, and the deletion of one; never both of one session."""
        await plant(storage)
        for session_id in ("left", "leaf", "beside"):
            await storage.commit(appending(session_id, user("a"), commit_id="job"))
        query = DeleteQuery(at=START, commit_id="job")
        with pytest.raises(InputError):
            await storage.delete_tree(key_of("left"), query)
        deleted = await storage.delete_tree(key_of("root"), query)
        assert set(deleted) == set(TREE)
        assert await storage.delete_tree(key_of("root"), query) == deleted
        with pytest.raises(InputError):
            await storage.commit(creation("root", commit_id="job", reuse_deleted=True))
        assert await alive(storage, "root", "beside") == {"beside"}

    async def test_only_empty_trees(self, storage: SessionStorage) -> None:
        """With `only_empty`, one message anywhere spares the tree."""
        await plant(storage)
        await storage.commit(appending("leaf", user("a")))
        query = DeleteQuery(at=START, only_empty=True)
        assert await storage.delete_tree(key_of("root"), query) == ()
        assert await storage.delete_tree(key_of("right"), query) == ("right",)

    async def test_only_old_trees(self, storage: SessionStorage) -> None:
        """With `updated_before`, one session that was changed at that time or later spares the tree."""
        await plant(storage)
        await storage.commit(appending("leaf", user("a"), updated_at=START + 5 * SECOND))
        for moment, spared in ((START + 5 * SECOND, True), (START + 6 * SECOND, False)):
            deleted = await storage.delete_tree(key_of("root"), DeleteQuery(at=START, updated_before=moment))
            assert (deleted == ()) == spared

    async def test_L120_a_childs_place_follows_from_its_parent(self, storage: SessionStorage) -> None:
        """Root, depth and owner of a child that names none are its parent's; whoever created it gets to know them."""
        await storage.commit(creation("root", head=head_of("root", owner="ann")))
        await storage.commit(creation("left", head=head_of("left", parent_session_id="root")))
        for commit in (
            creation("leaf", head=head_of("leaf", parent_session_id="left")),
            appending("blind", user("a"), initial_head=head_of("blind", parent_session_id="left")),
        ):
            committed = await storage.commit(commit)
            stored = (await snapshot_of(storage, commit.key.session_id)).head
            assert (stored.root_session_id, stored.spawn_depth, stored.owner) == ("root", 2, "ann")
            assert committed.head is not None
            assert committed_head(head_of("any"), committed) == stored
        listed = await storage.list_heads(ListQuery("default", root="root", owner="ann"))
        assert {head.id for head in listed.heads} == {"root", "left", "leaf", "blind"}

    async def test_L120_what_a_child_says_itself_stays(self, storage: SessionStorage) -> None:
        """A child may have an owner of its own; root and depth may be named if they are right."""
        await storage.commit(creation("root", head=head_of("root", owner="ann")))
        head = child_head("left", "root", owner="ben", spawn_depth=1)
        assert (await storage.commit(creation("left", head=head))).head is None
        assert (await snapshot_of(storage, "left")).head.owner == "ben"

    async def test_L120_a_contradiction_is_refused(self, storage: SessionStorage) -> None:
        """A root or a depth that isn't what follows from the parent is an error, and nothing is created."""
        await plant(storage)
        for fields in (
            {"parent_session_id": "left", "root_session_id": "left"},
            {"parent_session_id": "left", "root_session_id": "beside"},
            {"parent_session_id": "left", "root_session_id": "unknown"},
            {"parent_session_id": "left", "spawn_depth": 1},
            {"parent_session_id": "left", "spawn_depth": 3},
            {"root_session_id": "root"},
            {"spawn_depth": 1},
            {"parent_session_id": "new"},
        ):
            with pytest.raises(InputError):
                await storage.commit(creation("new", head=head_of("new", **fields)))
            with pytest.raises(InputError):
                await storage.commit(appending("new", user("a"), initial_head=head_of("new", **fields)))
        assert await storage.read(key_of("new")) is None

    async def test_a_tree_has_a_limit(self, storage: SessionStorage) -> None:
        """A tree grows `SPAWN_DEPTH_MAX` levels below its root, whatever its members say of their depth."""
        await storage.commit(creation("0"))
        for depth in range(1, SPAWN_DEPTH_MAX + 1):
            await storage.commit(creation(str(depth), head=head_of(str(depth), parent_session_id=str(depth - 1))))
        with pytest.raises(LimitExceededError):
            await storage.commit(creation("new", head=head_of("new", parent_session_id=str(SPAWN_DEPTH_MAX))))

    async def test_L120_no_session_is_its_own_ancestor(self, storage: SessionStorage) -> None:
        """Neither creating it again nor writing it as a whole puts a session below itself."""
        await plant(storage)
        with pytest.raises(InputError):
            await storage.save_session(Session("left", parent_session_id="leaf"))
        with pytest.raises(InputError):
            await storage.save_session(Session("root", parent_session_id="leaf"))
        await storage.delete_tree(key_of("left"), DeleteQuery(at=START))
        for parent in ("left", "leaf"):
            with pytest.raises((InputError, SessionDeletedError)):
                await storage.save_session(Session("left", parent_session_id=parent))
        assert await alive(storage, *TREE) == {"root", "right"}

    async def test_L120_a_session_keeps_its_place_for_life(self, storage: SessionStorage) -> None:
        """A whole session that is written over a child leaves it in its tree."""
        await plant(storage)
        await storage.save_session(Session("leaf", title="anew"))
        head = (await snapshot_of(storage, "leaf")).head
        assert (head.title, head.parent_session_id, head.root_session_id, head.spawn_depth) == (
            "anew",
            "left",
            "root",
            2,
        )

    async def test_L120_a_pin_of_a_child_made_by_hand_saves_its_tree(self, storage: SessionStorage) -> None:
        """`keep_pinned` finds a pinned child that was made from its parent's id alone, or written as a whole."""
        for number, root in enumerate(("one", "two")):
            await storage.commit(creation(root))
            child = Session(f"child{number}", parent_session_id=root, pinned=True)
            if number:
                await storage.save_session(child)
            else:
                await storage.commit(creation(child.id, head=freeze(child).head))
            query = DeleteQuery(at=START, keep_pinned=True)
            assert await storage.delete_tree(key_of(root), query) == ()
            assert await storage.delete_tree(key_of(child.id), query) == ()
            assert await alive(storage, root, child.id) == {root, child.id}

    async def test_a_child_needs_a_living_parent(self, storage: SessionStorage) -> None:
        """L110: a child of a parent that never was, or was deleted, isn't created."""
        await storage.commit(creation("root"))
        with pytest.raises(SessionNotFoundError):
            await storage.commit(creation("child", head=child_head("child", "unknown")))
        await storage.delete_tree(key_of("root"), DeleteQuery(at=START))
        for commit in (
            creation("child", head=child_head("child", "root")),
            appending("child", user("a"), initial_head=child_head("child", "root")),
        ):
            with pytest.raises(SessionDeletedError):
                await storage.commit(commit)
        assert await storage.read(key_of("child")) is None

    async def test_a_child_needs_its_parent_only_at_birth(self, storage: SessionStorage) -> None:
        """A living child is written to like any session."""
        await plant(storage)
        assert (await storage.commit(appending("leaf", user("a")))).revision == 2

    async def test_L110_no_child_is_born_into_a_dying_tree(self, storage: SessionStorage) -> None:
        """Children created while their tree is being deleted either go with it or are refused."""
        for attempt in range(10):
            root = f"root{attempt}"
            await storage.commit(creation(root))
            commits = [
                creation(f"{root}-{number}", head=child_head(f"{root}-{number}", root, root=root))
                for number in range(8)
            ]
            births = [self._tried(storage, commit) for commit in commits]
            births.insert(attempt % 8, self._deleted(storage, root))
            await asyncio.gather(*births)
            living = await alive(storage, root, *(commit.key.session_id for commit in commits))
            assert living == set()

    async def _tried(self, storage: SessionStorage, commit: Commit) -> None:
        try:
            await storage.commit(commit)
        except SessionDeletedError:
            return

    async def _deleted(self, storage: SessionStorage, root: str) -> None:
        assert root in await storage.delete_tree(key_of(root), DeleteQuery(at=START))

    async def test_a_tree_can_be_planted_again(self, storage: SessionStorage) -> None:
        """Creating a deleted root again brings none of its children back."""
        await plant(storage)
        await storage.delete_tree(key_of("root"), DeleteQuery(at=START))
        await storage.commit(creation("root", reuse_deleted=True))
        assert await alive(storage, *TREE) == {"root"}
        assert await storage.delete_tree(key_of("root"), DeleteQuery(at=START)) == ("root",)
