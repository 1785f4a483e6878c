"""What a process hears: which cached session is still the newest, and that something changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bamboo_sessions.domain.message import Message
from bamboo_sessions.storage.commit import RecordWrite, SessionKey
from bamboo_sessions.storage.port import News, SessionStorage
from bamboo_sessions.storage.query import DeleteQuery
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.kit import KEY, appending, creation, key_of, user

HEARD_SECONDS_MAX = 60
"""How long a test waits for what another storage did."""


class Ear:
    """What was heard."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self._more = asyncio.Event()

    def hear(self, news: News) -> None:
        """Note it."""
        self.news.append(news)
        self._more.set()

    def has_heard(self, key: SessionKey, *, has_commit: bool = True) -> bool:
        """Whether it knows of a change of this session."""
        return any(news.key in {None, key} and news.has_commit >= has_commit for news in self.news)

    async def until(self, key: SessionKey, *, has_commit: bool = True) -> None:
        """Wait until it has heard of it."""
        while not self.has_heard(key, has_commit=has_commit):
            await self.more()

    async def more(self) -> None:
        """Wait until it has heard more than before."""
        self._more.clear()
        async with asyncio.timeout(HEARD_SECONDS_MAX):
            await self._more.wait()


@contextmanager
def listening(storage: SessionStorage) -> Iterator[Ear]:
    """Listens for a block."""
    ear = Ear()
    stop = storage.listen(ear.hear)
    try:
        yield ear
    finally:
        stop()


class FreshnessConformance(Conformance):
    """`still_newest` knows of all that was done through the same storage, and of others' commits if it is exact."""

    async def test_what_is_cached_is_compared_with_the_session(self, storage: SessionStorage) -> None:
        """Only the newest revision of a living session is still the newest, at once."""
        assert storage.still_newest(KEY, 1, None) is None
        await storage.commit(creation())
        assert storage.still_newest(KEY, 1, None) is not None
        await storage.commit(appending("s", user("a")))
        assert storage.still_newest(KEY, 1, None) is None
        assert storage.still_newest(KEY, 2, None) is not None
        await storage.delete_tree(KEY, DeleteQuery(at=START))
        assert [storage.still_newest(KEY, revision, None) for revision in (2, 3)] == [None, None]
        await storage.commit(creation(reuse_deleted=True))
        assert storage.still_newest(KEY, 4, None) is not None

    async def test_a_token_says_no_more_than_what_is_so(self, storage: SessionStorage) -> None:
        """Whatever token is handed in, an old revision is never taken for the newest; tokens go on being good."""
        await storage.commit(creation())
        token = storage.still_newest(KEY, 1, None)
        assert token is not None
        assert storage.still_newest(KEY, 1, token) is not None
        await storage.commit(creation("t"))
        await storage.read(KEY)
        assert storage.still_newest(KEY, 1, token) is not None
        for number, commit in enumerate((appending("s", user("a")), appending("s", records=(_WRITE,))), 1):
            token = storage.still_newest(KEY, number, token)
            await storage.commit(commit)
            assert storage.still_newest(KEY, number, token) is None
            assert storage.still_newest(KEY, number + 1, None) is not None

    async def test_the_commits_of_others_are_known(self, storage: SessionStorage, second: SessionStorage) -> None:
        """G7: an exact storage knows at once what another one committed; any other after it has heard of it."""
        await storage.commit(creation())
        await second.read(KEY)
        for number in range(1, 6):
            token = second.still_newest(KEY, number, None)
            with listening(second) as ear:
                await storage.commit(appending("s", user(str(number))))
                while not second.is_exact and second.still_newest(KEY, number, token) is not None:
                    await ear.more()
            assert second.still_newest(KEY, number, token) is None
            await second.read(KEY)

    async def test_every_change_is_told(self, storage: SessionStorage) -> None:
        """Creations, appends, deletions of trees: each names its session, and no other one; after the end, nothing."""
        with listening(storage) as ear:
            await storage.commit(creation())
            assert ear.has_heard(KEY)
            assert not ear.has_heard(key_of("t"))
            await storage.commit(creation("t"))
            assert ear.has_heard(key_of("t"))
            ear.news.clear()
            await storage.transact(KEY, lambda _: appending("s", *_ONE))
            assert ear.has_heard(KEY)
            ear.news.clear()
            await storage.delete_tree(key_of("t"), DeleteQuery(at=START))
            assert ear.has_heard(key_of("t"))
        ear.news.clear()
        await storage.commit(appending("s", user("b")))
        assert ear.news == []

    async def test_what_others_do_is_told(self, storage: SessionStorage, second: SessionStorage) -> None:
        """Commits and deletions through another storage are heard of after a while."""
        with listening(second) as ear:
            await storage.commit(creation())
            await ear.until(KEY)
            ear.news.clear()
            await storage.commit(creation("t"))
            await ear.until(key_of("t"))
            ear.news.clear()
            await storage.delete_tree(KEY, DeleteQuery(at=START))
            await ear.until(KEY)


_WRITE = RecordWrite("k", "a", b"")
_ONE: tuple[Message, ...] = (user("a"),)
