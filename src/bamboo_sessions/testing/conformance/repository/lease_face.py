"""The calls of a run lease carry its token, whatever copy they are given (G12, L119)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from bamboo_sessions.domain.errors import InputError, LeaseLostError, PreconditionFailedError, SessionDeletedError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.repository.run_lease import RunLease
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.testing.clock import START, ManualClock
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved

USAGE: Final = TokenUsageRecord(id="usage", at=START, input_tokens=1)


def user(id: str) -> Message:
    """A message with this id and text."""
    return Message.user(id, id=id)


async def _save_a_fresh_copy(lease: RunLease, sessions: SessionRepository) -> object:
    copy = await sessions.get("s")
    copy.add_message(user("zombie"))
    return await lease.save(copy)


async def _save_after_reload(lease: RunLease, _: SessionRepository) -> object:
    (await lease.reload()).add_message(user("zombie"))
    return await lease.save()


async def _replace_by_the_same(lease: RunLease, sessions: SessionRepository) -> object:
    return await lease.replace_history((await sessions.get("s")).messages)


Call = Callable[[RunLease, SessionRepository], Awaitable[Any]]

CALLS: Final[dict[str, Call]] = {
    "save of a fresh copy": _save_a_fresh_copy,
    "save after reload": _save_after_reload,
    "save of nothing": lambda lease, _: lease.save(),
    "checkpoint": lambda lease, _: lease.checkpoint(),
    "append": lambda lease, _: lease.append(user("zombie")),
    "append of records": lambda lease, _: lease.append(records=[RecordWrite("k", "a", b"1")]),
    "append of usage": lambda lease, _: lease.append(usage=[USAGE]),
    "remove_last": lambda lease, _: lease.remove_last(),
    "truncate": lambda lease, _: lease.truncate(after_message_id="a"),
    "truncate of nothing": lambda lease, _: lease.truncate(after_message_id="c"),
    "replace_history by the same": _replace_by_the_same,
    "replace_history": lambda lease, _: lease.replace_history([user("zombie")]),
}


class LeaseFaceConformance(RepositoryCase):
    """What is written through a lease is fenced, also by copies that came from elsewhere."""

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    async def test_L119_a_zombie_writes_nothing(
        self, call: Call, sessions: SessionRepository, others: SessionRepository, storage_clock: ManualClock
    ) -> None:
        """A run that was stopped until another took over is refused at every call, whatever copy it uses."""
        await saved(sessions, user("a"), user("b"))
        async with sessions.lease("s", ttl=30) as zombie:
            storage_clock.move(timedelta(seconds=31))
            async with others.lease("s") as lease:
                lease.session.add_message(user("c"))
                await lease.save()
                with pytest.raises(LeaseLostError):
                    await call(zombie, sessions)
        assert ids_of(await others.load("s")) == ["a", "b", "c"]
        assert (await others.get("s")).revision == 2
        assert (await others.token_usage("s")).calls == 0

    async def test_L119_the_session_of_a_lease_is_read_only(self, sessions: SessionRepository) -> None:
        """No other copy can be put in its place; `reload` does, with a fenced one."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            with pytest.raises(AttributeError):
                lease.session = await sessions.get("s")  # type: ignore[misc]
            await sessions.append("s", user("b"))
            old = lease.session
            old.title = "unsaved"
            fresh = await lease.reload()
            assert fresh is lease.session
            assert (ids_of(fresh), fresh.title, old.title) == (["a", "b"], None, "unsaved")

    async def test_rewrites_through_a_lease(self, sessions: SessionRepository) -> None:
        """A lease's rewrites do what the repository's do, to what is committed."""
        await saved(sessions, user("a"), user("b"), user("c"))
        async with sessions.lease("s") as lease:
            assert [message.id for message in await lease.remove_last()] == ["c"]
            assert ids_of(await lease.truncate(after_message_id="a")) == ["a"]
            with pytest.raises(PreconditionFailedError):
                await lease.replace_history([user("x")], if_last_message="b")
            assert ids_of(await lease.replace_history([user("x")], records=[RecordWrite("k", "a", b"1")])) == ["x"]
            assert await sessions.records.get("k", "a", session="s") is not None
            lease.session.model = "other"
            await lease.save()
        session = await sessions.get("s")
        assert (session.model, ids_of(session)) == ("other", ["x"])

    async def test_a_lease_writes_its_own_session_only(self, sessions: SessionRepository) -> None:
        """A copy of another session is refused with a hint, and nothing is written."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            for wrong in (Session("other"), Session("s", namespace="else"), "s"):
                with pytest.raises(InputError) as refused:
                    await lease.save(wrong)  # type: ignore[arg-type]
                assert refused.value.hint
        assert await sessions.load("other") is None

    async def test_a_lease_is_for_one_life(self, sessions: SessionRepository) -> None:
        """What is written through a lease goes to the life of the session that it was taken for, or nowhere (G9)."""
        await saved(sessions, user("a"))
        async with sessions.lease("s") as lease:
            await sessions.delete("s", force=True)
            await sessions.create(Session("s"))
            for call in (lease.append(user("b")), lease.remove_last(), lease.replace_history([]), lease.reload()):
                with pytest.raises(SessionDeletedError):
                    await call
        assert ids_of(await sessions.load("s")) == []
