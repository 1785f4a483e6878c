"""Commit ids: what is sent again is the same commit, for a day at least (G4)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from bamboo_sessions.domain.errors import (
    InputError,
)
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import (
    KEY,
    appending,
    change,
    content,
    creation,
    ids_in,
    key_of,
    snapshot_of,
    user,
)


class CommitIdsConformance(Conformance):
    """Outcomes are given again and settled by commit ids."""

    async def test_a_commit_sent_again_is_the_same_commit(self, storage: SessionStorage) -> None:
        """G4: the same commit id answers with the outcome of then, also much later, and changes nothing."""
        await storage.commit(creation())
        commit = change(await snapshot_of(storage), insertions=appending("s", user("a")).insertions)
        first = await storage.commit(commit)
        await storage.commit(appending("s", user("b")))
        before = await snapshot_of(storage)
        again = await storage.commit(commit)
        assert again.replayed
        assert (again.revision, again.incarnation, again.message_count, again.updated_at) == (
            first.revision,
            first.incarnation,
            first.message_count,
            first.updated_at,
        )
        assert content(await snapshot_of(storage)) == content(before)

    async def test_a_creation_sent_again_is_the_same_creation(self, storage: SessionStorage) -> None:
        """L60: a creation whose answer was lost is no conflict when it is repeated."""
        commit = creation("s", user("a"))
        await storage.commit(commit)
        again = await storage.commit(commit)
        assert again.replayed
        assert again.revision == 1
        assert await ids_in(storage) == ["a"]

    async def test_commit_ids_settle_unknown_outcomes(self, storage: SessionStorage) -> None:
        """A commit is found by session and id: its revision, or nothing."""
        commit = creation()
        await storage.commit(commit)
        await storage.commit(creation("t"))
        append = appending("s", user("a"))
        await storage.commit(append)
        assert await storage.settle(KEY, commit.commit_id) == 1
        assert await storage.settle(KEY, append.commit_id) == 2
        assert await storage.settle(KEY, "unknown") is None
        assert await storage.settle(key_of("t"), commit.commit_id) is None

    async def test_a_commit_that_never_happened_never_will(self, storage: SessionStorage) -> None:
        """G4: once a look-up has said so, the id is burnt: the commit is refused when it comes late after all."""
        late = creation()
        assert await storage.settle(KEY, late.commit_id) is None
        for _ in range(2):
            with pytest.raises(InputError, match="can't be used any more"):
                await storage.commit(late)
        assert await storage.read(KEY) is None
        await storage.commit(creation())
        append = appending("s", user("a"))
        assert await storage.settle(KEY, append.commit_id) is None
        assert await storage.settle(KEY, append.commit_id) is None
        with pytest.raises(InputError):
            await storage.commit(append)
        with pytest.raises(InputError):
            await storage.transact(KEY, lambda _: append)
        assert await ids_in(storage) == []
        await storage.commit(msgspec.structs.replace(append, commit_id="another"))
        assert await ids_in(storage) == ["a"]

    async def test_first_tries_need_no_look_up_and_can_be_found_afterwards(self, storage: SessionStorage) -> None:
        """Whoever says that nothing was made with an id so far may be believed, unless the id is burnt."""
        await storage.commit(creation())
        first = msgspec.structs.replace(appending("s", user("a")), is_first_try=True)
        assert (await storage.commit(first)).revision == 2
        assert await storage.settle(KEY, first.commit_id) == 2
        again = await storage.commit(msgspec.structs.replace(first, is_first_try=False))
        assert (again.revision, again.replayed) == (2, True)
        late = msgspec.structs.replace(appending("s", user("b")), is_first_try=True)
        assert await storage.settle(KEY, late.commit_id) is None
        with pytest.raises(InputError, match="can't be used any more"):
            await storage.commit(late)
        assert await ids_in(storage) == ["a"]

    async def test_commit_ids_belong_to_a_call(self, storage: SessionStorage) -> None:
        """A commit of another call with a known id is refused, and so is a deletion; nothing is changed."""
        await storage.commit(creation())
        commit = appending("s", user("a"), call="append")
        await storage.commit(commit)
        for other in ("rename", ""):
            with pytest.raises(InputError, match="another kind of call"):
                await storage.commit(msgspec.structs.replace(commit, call=other))
        with pytest.raises(InputError, match="another kind of call"):
            await storage.delete_tree(KEY, DeleteQuery(at=START, commit_id=commit.commit_id))
        assert (await storage.commit(commit)).replayed
        assert await ids_in(storage) == ["a"]

    async def test_commit_ids_belong_to_a_session(self, storage: SessionStorage) -> None:
        """The same commit id for another session is another commit."""
        commit = creation("s", user("a"))
        await storage.commit(commit)
        other = await storage.commit(msgspec.structs.replace(creation("t", user("b")), commit_id=commit.commit_id))
        assert not other.replayed
        assert await ids_in(storage, "t") == ["b"]

    async def test_commit_ids_are_kept_for_a_day(self, storage: SessionStorage, storage_clock: ManualClock) -> None:
        """An outcome can be settled for 24 hours at least, whatever is committed meanwhile."""
        commit = creation()
        await storage.commit(commit)
        for hour in range(1, 24):
            storage_clock.move(timedelta(hours=1))
            await storage.commit(appending("s", user(str(hour)), at=START + timedelta(days=hour)))
        assert await storage.settle(KEY, commit.commit_id) == 1
