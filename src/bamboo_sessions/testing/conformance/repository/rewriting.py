"""Rewriting a history on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    InvalidMessageError,
    MessageNotFoundError,
    PreconditionFailedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import Summary
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.repository.admin import StoreAdmin
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import call, edited, result, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage


def all_rewrites(sessions: SessionRepository, if_revision: int | None = None) -> list[Callable[[], Awaitable[object]]]:
    """Each way to rewrite once."""
    return [
        lambda: sessions.truncate("s", after_message_id="a", if_revision=if_revision),
        lambda: sessions.remove_last("s", if_revision=if_revision),
        lambda: sessions.replace_history("s", users("z"), if_revision=if_revision),
        lambda: sessions.clear("s", if_revision=if_revision),
    ]


class RewritingConformance(RepositoryCase):
    """`truncate`, `clear`, `replace_history` and `remove_last` change the latest state, and older revisions stay."""

    async def test_truncating(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """All behind the message named goes, what others just added too; naming the last changes nothing."""
        await saved(sessions, *users("a", "b", "c"))
        await others.append("s", user("d"))
        session = await sessions.truncate("s", after_message_id="b")
        assert (ids_of(session), session.revision) == (["a", "b"], 3)
        assert (await sessions.truncate("s", after_message_id="b")).revision == 3
        with pytest.raises(MessageNotFoundError):
            await sessions.truncate("s", after_message_id="c")
        assert ids_of(await others.load("s")) == ["a", "b"]

    async def test_clearing(self, sessions: SessionRepository) -> None:
        """All messages go but the system's and the developer's, and open questions are withdrawn."""
        system, developer = Message.system("S", id="s"), Message(role="developer", id="d")
        await saved(sessions, system, user("a"), developer, user("b"))
        await sessions.ask("s", PendingQuestion("1", "ask", "Go?", id="q"))
        session = await sessions.clear("s")
        assert (ids_of(session), session.has_question) == (["s", "d"], False)
        assert ids_of(await sessions.clear("s", keep_system=False)) == []
        assert ids_of(await sessions.load("s")) == []

    async def test_removing_the_last(self, sessions: SessionRepository) -> None:
        """The last messages go and come back to the caller, oldest first; no more than there are."""
        await saved(sessions, *users("a", "b", "c", "d"))
        assert await sessions.remove_last("s") == users("d")
        assert await sessions.remove_last("s", 2) == users("b", "c")
        assert await sessions.remove_last("s", 9) == users("a")
        assert await sessions.remove_last("s") == ()
        for wrong in (0, -1):
            with pytest.raises(InputError):
                await sessions.remove_last("s", wrong)

    async def test_nobody_gets_the_same_message(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L18: many callers at once never get the same message, and none is lost."""
        await saved(sessions, *users(*map(str, range(20))))
        calls = [(sessions, others)[number % 2].remove_last("s", 2) for number in range(10)]
        taken = [message.id for messages in await asyncio.gather(*calls) for message in messages]
        assert sorted(taken) == sorted(map(str, range(20)))
        assert ids_of(await sessions.load("s")) == []

    async def test_a_rewrite_that_runs_again(
        self, sessions: SessionRepository, others: SessionRepository, faults: FaultyStorage
    ) -> None:
        """If somebody was faster, the removal runs again on the newest state and tells only what it really took."""
        await saved(sessions, *users("a", "b", "c"))
        stall = faults.stall("commit")
        removing = asyncio.create_task(sessions.remove_last("s"))
        await stall.reached.wait()
        assert await others.remove_last("s") == users("c")
        stall.release()
        assert await removing == users("b")
        assert ids_of(await others.load("s")) == ["a"]

    async def test_replacing(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """The new messages are the whole history, in their order: old ids, other contents and places included."""
        await saved(sessions, *users("a", "b", "c"))
        new = [user("c"), edited(user("a"), "A"), call("x", "1"), user("d"), result("r", "1")]
        session = await sessions.replace_history("s", new)
        assert list(session.messages) == new
        for repository in (sessions, others):
            assert list((await repository.get("s")).messages) == new
            assert list((await repository.get("s")).messages) == new
        assert (await sessions.replace_history("s", new)).revision == session.revision
        assert ids_of(await sessions.replace_history("s", [])) == []

    async def test_L86_a_bad_replacement_changes_nothing(self, sessions: SessionRepository) -> None:
        """All messages are checked before the old ones go."""
        await saved(sessions, *users("a", "b"))
        for bad in ([user("c"), user("d", id="c")], [user("c"), "text"], [user("c"), Message.user("\ud83d\ude00")]):
            with pytest.raises(InvalidMessageError):
                await sessions.replace_history("s", bad)  # type: ignore[arg-type]
        assert ids_of(await sessions.load("s", fresh=True)) == ["a", "b"]

    async def test_a_stale_copy_after_a_rewrite(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """G4: what was removed on purpose isn't brought back by a copy that still has it; its additions stay."""
        await saved(sessions, *users("a", "b", "c"))
        for rewrite in all_rewrites(sessions):
            stale = await others.get("s")
            before = ids_of(stale)
            await rewrite()
            after = ids_of(await sessions.load("s"))
            stale.add_message(user(f"new{stale.revision}"))
            await others.save(stale)
            assert ids_of(await sessions.load("s")) == [*after, ids_of(stale)[-1]], before

    async def test_L18_refusal_in_place_of_rewriting(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """With `if_revision` each rewrite is refused once somebody committed."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))
        for rewrite in all_rewrites(sessions, if_revision=1):
            with pytest.raises(PreconditionFailedError):
                await rewrite()
        assert ids_of(await sessions.load("s")) == ["a", "b"]
        await sessions.remove_last("s", if_revision=2)

    async def test_there_must_be_a_session_to_rewrite(self, sessions: SessionRepository) -> None:
        """A session that isn't there can't be rewritten."""
        for rewrite in all_rewrites(sessions):
            with pytest.raises(SessionNotFoundError):
                await rewrite()

    async def test_older_revisions_stay(self, sessions: SessionRepository) -> None:
        """G2: what a rewrite took out can still be read at the revision before."""
        await saved(sessions, *users("a", "b", "c"))
        for rewrite in all_rewrites(sessions):
            before = await sessions.get("s")
            await rewrite()
            page = await sessions.history("s", at_revision=before.revision)
            assert list(page.messages) == list(before.messages)

    async def test_what_was_taken_out_can_be_purged(
        self, sessions: SessionRepository, owner: StoreAdmin, clock: ManualClock
    ) -> None:
        """The owner makes the store forget what old rewrites took out; younger ones and living messages stay."""
        await saved(sessions, *users("a", "b", "c"))
        await sessions.truncate("s", after_message_id="b")
        clock.move(timedelta(days=2))
        await sessions.truncate("s", after_message_id="a")
        for wrong in (-timedelta(days=1), timedelta.max, 86_400):
            with pytest.raises(InputError):
                await owner.purge_versions(older_than=wrong)  # type: ignore[arg-type]
        assert await owner.purge_versions(older_than=timedelta(days=1)) == 1
        assert await owner.purge_versions(older_than=timedelta(days=1)) == 0
        with pytest.raises(MessageNotFoundError):
            await sessions.history("s", at_revision=1)
        assert [message.id for message in (await sessions.history("s", at_revision=2)).messages] == ["a", "b"]
        assert ids_of(await sessions.load("s", fresh=True)) == ["a"]

    async def test_a_summary_goes_with_its_message(self, sessions: SessionRepository) -> None:
        """A summary that covers a message that is gone is dropped."""
        session = await saved(sessions, *users("a", "b"))
        for rewrite in all_rewrites(sessions):
            session = await sessions.get("s")
            if not session.messages:
                await sessions.append("s", user("again"))
                session = await sessions.get("s")
            session.summary = Summary("so far", session.messages[-1].id)
            await sessions.save(session)
            await rewrite()
            after = await sessions.get("s")
            covered = session.messages[-1].id in ids_of(after)
            assert (after.summary is not None) == covered
