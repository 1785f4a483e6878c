"""Freshness: what a cache asks before it trusts itself."""

from __future__ import annotations

from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.storage.port import Peek, SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import KEY, appending, creation, key_of, user


def differs(before: int | None, after: int | None) -> bool:
    """Whether a cache would notice. `None` can't be told: the cache asks on."""
    return before is None or after is None or before != after


class FreshnessConformance(Conformance):
    """The token differs once anybody committed anything, and a peek sees every acknowledged commit."""

    async def test_a_peek_follows_the_session(self, storage: SessionStorage) -> None:
        """A peek shows the newest revision, a deletion, and the next life, at once."""
        assert storage.peek(KEY) is None
        await storage.commit(creation())
        assert storage.peek(KEY) == Peek(1, deleted=False)
        await storage.commit(appending("s", user("a")))
        assert storage.peek(KEY) == Peek(2, deleted=False)
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        assert storage.peek(KEY) == Peek(3, deleted=True)
        await storage.commit(creation(reuse_deleted=True))
        assert storage.peek(KEY) == Peek(4, deleted=False)

    async def test_every_commit_changes_the_token(self, storage: SessionStorage) -> None:
        """Creations, appends, deletions and commits of other sessions are noticed."""
        token = storage.freshness()
        for commit in (creation(), appending("s", user("a")), creation("t"), appending("s", records=(_WRITE,))):
            await storage.commit(commit)
            assert differs(token, storage.freshness())
            token = storage.freshness()
        await storage.delete_tree(key_of("t"), DeleteQuery(at=START))
        assert differs(token, storage.freshness())

    async def test_the_token_stays_while_nothing_happens(self, storage: SessionStorage) -> None:
        """Reading changes no token, or every hit would be a miss."""
        await storage.commit(creation())
        token = storage.freshness()
        await storage.read(KEY)
        storage.peek(KEY)
        assert not differs(token, storage.freshness()) or token is None

    async def test_the_commits_of_others_are_seen(self, storage: SessionStorage, second: SessionStorage) -> None:
        """G7: what another storage on the same data committed is seen by the very next token and peek."""
        await storage.commit(creation())
        for number in range(5):
            token = second.freshness()
            await storage.commit(appending("s", user(str(number))))
            assert differs(token, second.freshness())
            assert second.peek(KEY) == Peek(number + 2, deleted=False)


_WRITE = RecordWrite("k", "a", b"")
