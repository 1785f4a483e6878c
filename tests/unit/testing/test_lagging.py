"""The lagging twin: what a host knows, and what it doesn't."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.testing.conformance.kit import key_of
from bamboo_sessions.testing.lagging import LaggingDatabase, LaggingStorage

pytestmark = pytest.mark.anyio


@pytest.fixture
def database() -> LaggingDatabase:
    """One whose notifications wait until the test lets them arrive."""
    return LaggingDatabase(delay_seconds_max=None)


@pytest.fixture
def host(database: LaggingDatabase) -> LaggingStorage:
    """One of its hosts."""
    return database.connect()


@pytest.fixture
async def near(database: LaggingDatabase, host: LaggingStorage) -> AsyncIterator[SessionRepository]:
    """A host that has loaded the session before the other one wrote to it."""
    async with SessionRepository.open(host) as sessions:
        await sessions.append("chat", Message.user("one"), create=True)
        await sessions.load("chat")
        async with SessionRepository.open(database.connect()) as far:
            await far.append("chat", Message.user("two"))
            yield sessions


async def count(sessions: SessionRepository) -> int:
    """How many messages a cached load shows."""
    return len((await sessions.get("chat")).messages)


async def test_a_load_lags_until_the_notification_arrives(database: LaggingDatabase, near: SessionRepository) -> None:
    """A cached load shows what the host has heard of, a fresh one what is there."""
    assert await count(near) == 1
    database.deliver()
    assert await count(near) == 2


async def test_what_a_page_of_history_showed_a_load_shows(near: SessionRepository) -> None:
    """G7: through one repository a session never appears older than it did before, whichever call showed it."""
    assert await count(near) == 1
    assert (await near.history("chat")).message_count == 2
    assert await count(near) == 2


async def test_what_a_page_of_an_older_revision_showed_is_no_news(
    near: SessionRepository, host: LaggingStorage
) -> None:
    """The history at a revision says nothing about what is there now."""
    host.lose_connection()
    assert (await near.history("chat", at_revision=1)).message_count == 1
    assert await count(near) == 2


async def test_what_the_feed_told_a_load_shows(near: SessionRepository) -> None:
    """L55, G11: whoever hears of a commit can read what it made."""
    assert await count(near) == 1
    async with aclosing(near.changes(live=False)) as changes:
        assert [change.revision async for change in changes] == [1, 2]
    assert await count(near) == 2


async def test_what_was_under_way_when_the_connection_was_lost_never_arrives(
    database: LaggingDatabase, near: SessionRepository, host: LaggingStorage
) -> None:
    """A notification of before would be taken for the newest."""
    async with SessionRepository.open(database.connect()) as far:
        host.lose_connection()
        database.deliver()
        await far.append("chat", Message.user("three"))
        assert host.still_newest(key_of("chat"), 2, None) is None
