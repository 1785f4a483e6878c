"""Appending, updating and editing the latest state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    InputError,
    MessageIdConflictError,
    PreconditionFailedError,
    SessionBusyError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.testing.conformance.kit import call, edited, result, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage


class ChangingConformance(RepositoryCase):
    """Each intent has one call, and each call says what happens if somebody else was faster."""

    # --- append

    async def test_appending(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """An append adds without loading, and tells the revision and count."""
        await saved(sessions, user("a"))
        faults.calls.clear()
        appended = await sessions.append("s", *users("b", "c"))
        assert (appended.revision, appended.message_count, appended.duplicates) == (2, 3, ())
        assert not {name for name in faults.calls if name.startswith("read")}
        assert ids_of(await sessions.load("s")) == ["a", "b", "c"]

    async def test_L60_an_append_again(self, sessions: SessionRepository) -> None:
        """G4: repeating an append adds nothing and says so, also after an edit and a removal (L102)."""
        await saved(sessions, user("a"))
        await sessions.append("s", *users("b", "c"))
        session = await sessions.get("s")
        session.messages[1] = edited(session.messages[1], "B")
        del session.messages[2]
        await sessions.save(session)
        appended = await sessions.append("s", *users("b", "c"))
        assert (appended.revision, appended.duplicates) == (3, ("b", "c"))
        assert [m.text for m in (await sessions.get("s")).messages] == ["a", "B"]
        with pytest.raises(MessageIdConflictError):
            await sessions.append("s", user("other", id="b"))

    async def test_appending_to_nothing(self, sessions: SessionRepository) -> None:
        """Without a session an append is refused, unless it may create one."""
        with pytest.raises(SessionNotFoundError):
            await sessions.append("s", user("a"))
        appended = await sessions.append("s", user("a"), create=True, model="m")
        assert (appended.revision, appended.message_count) == (1, 1)
        await sessions.append("s", user("b"), create=True, model="other")
        session = await sessions.get("s")
        assert (ids_of(session), session.model) == (["a", "b"], "m")

    async def test_appending_to_a_deleted_session(self, sessions: SessionRepository) -> None:
        """G9: an append to a deleted session is refused, with `create` too; so is one that means an older life."""
        await saved(sessions, user("a"))
        await sessions.delete("s")
        for create in (False, True):
            with pytest.raises(SessionDeletedError):
                await sessions.append("s", user("b"), create=create)
        await sessions.create(Session("s"))
        with pytest.raises(SessionDeletedError):
            await sessions.append("s", user("b"), incarnation=1)
        await sessions.append("s", user("b"), incarnation=3)
        assert ids_of(await sessions.load("s")) == ["b"]

    async def test_appending_at_a_revision(self, sessions: SessionRepository) -> None:
        """With `if_revision` an append is refused once somebody committed."""
        await saved(sessions, user("a"))
        await sessions.append("s", user("b"), if_revision=1)
        with pytest.raises(PreconditionFailedError) as refused:
            await sessions.append("s", user("c"), if_revision=1)
        assert (refused.value.expected, refused.value.actual) == (1, 2)

    async def test_appending_nothing(self, sessions: SessionRepository) -> None:
        """An append without messages is a mistake."""
        await saved(sessions, user("a"))
        with pytest.raises(InputError):
            await sessions.append("s")

    async def test_appending_with_records(self, sessions: SessionRepository) -> None:
        """G3: messages and records of an append are one commit."""
        await saved(sessions, user("a"))
        await sessions.append("s", user("b"), records=[RecordWrite("k", "r", b"1", if_absent=True)])
        with pytest.raises(PreconditionFailedError):
            await sessions.append("s", user("c"), records=[RecordWrite("k", "r", b"1", if_absent=True)])
        assert ids_of(await sessions.load("s")) == ["a", "b"]

    async def test_appended_results_join_their_call(self, sessions: SessionRepository) -> None:
        """L105: a tool's result that is appended late stands behind its call, also in the cached copy."""
        await saved(sessions, call("c", "1"), user("meanwhile"))
        await sessions.append("s", result("r", "1"))
        for session in (await sessions.load("s"), await sessions.load("s", fresh=True)):
            assert ids_of(session) == ["c", "r", "meanwhile"]

    async def test_appends_and_saves_at_once(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L84, L108: blind appenders and a saver at once: everything lands."""
        session = await saved(sessions, user("a"))
        session.add_message(user("saved"))
        appends = [
            (sessions, others)[number % 2].append("s", user(f"x{number}"), user(f"y{number}")) for number in range(12)
        ]
        await asyncio.gather(*appends[:6], sessions.save(session), *appends[6:])
        ids = ids_of(await others.load("s"))
        assert sorted(ids) == sorted(["a", "saved", *(f"{end}{n}" for n in range(12) for end in "xy")])

    # --- update

    async def test_updating(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """An update works on the newest state and gives it back."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))

        def change(session: Session) -> None:
            session.add_message(user("c"))
            session.title = "T"

        session = await sessions.update("s", change)
        assert (ids_of(session), session.title, session.metadata_version, session.revision) == (
            ["a", "b", "c"],
            "T",
            1,
            3,
        )

    async def test_an_update_that_fails(self, sessions: SessionRepository) -> None:
        """What the function raises is raised, and nothing is written."""
        await saved(sessions, user("a"))

        def fail(session: Session) -> None:
            session.title = "half"
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await sessions.update("s", fail)
        assert (await sessions.get("s")).title is None

    async def test_an_update_that_awaits(self, sessions: SessionRepository) -> None:
        """An asynchronous function is refused: it would run outside the lock."""
        await saved(sessions, user("a"))

        async def change(session: Session) -> None:
            session.title = "T"

        with pytest.raises(InputError):
            await sessions.update("s", change)
        assert (await sessions.get("s")).revision == 1

    async def test_an_update_without_a_session(self, sessions: SessionRepository) -> None:
        """There must be a session to update, at the revision named."""
        with pytest.raises(SessionNotFoundError):
            await sessions.update("s", lambda _: None)
        await saved(sessions, user("a"))
        with pytest.raises(PreconditionFailedError):
            await sessions.update("s", lambda _: None, if_revision=7)
        assert (await sessions.update("s", lambda _: None, if_revision=1)).revision == 1

    async def test_updates_under_contention(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L10, L47: many read-modify-writes at once, in two repositories, lose no step."""
        await saved(sessions, user("a"))

        def count(session: Session) -> None:
            session.metadata["n"] = session.metadata.get("n", 0) + 1

        await asyncio.gather(*((sessions, others)[number % 2].update("s", count) for number in range(30)))
        session = await sessions.get("s")
        assert (session.metadata["n"], session.revision) == (30, 31)

    # --- edit

    async def test_editing(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A block's changes are committed at its end, with what others added meanwhile."""
        await saved(sessions, user("a"))
        async with sessions.edit("s") as session:
            session.add_message(user("b"))
            session.title = "T"
            await others.append("s", user("c"))
        assert (ids_of(session), session.metadata_version) == (["a", "c", "b"], 1)
        assert ids_of(await others.load("s")) == ["a", "c", "b"]

    async def test_a_block_that_raises(self, sessions: SessionRepository) -> None:
        """A block that raises writes nothing."""
        await saved(sessions, user("a"))

        async def edit() -> None:
            async with sessions.edit("s") as session:
                session.title = "half"
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await edit()
        assert (await sessions.get("s")).title is None

    async def test_a_block_without_changes(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A block that changes nothing commits nothing, whatever others do."""
        await saved(sessions, user("a"))
        async with sessions.edit("s"):
            await others.rename("s", "T")
        assert (await sessions.get("s")).revision == 2

    async def test_a_block_in_conflict(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L63: if a field was changed on both sides, nothing of the block is written."""
        await saved(sessions, *users("a", "b"), model="m")
        changes: list[tuple[Callable[[Session], object], Callable[[], Awaitable[object]]]] = [
            (
                lambda session: setattr(session, "model", "mine"),
                lambda: others.update("s", lambda session: setattr(session, "model", "theirs")),
            ),
            (lambda session: setattr(session, "title", "mine"), lambda: others.rename("s", "theirs")),
            (lambda session: session.metadata.update(k=1), lambda: others.set_value("s", "k", 2)),
        ]
        for mine, theirs in changes:
            before = ids_of(await sessions.load("s"))
            with pytest.raises(PreconditionFailedError):
                await _edited(sessions, mine, theirs)
            assert ids_of(await sessions.load("s")) == before
        session = await sessions.get("s")
        assert (session.model, session.title, session.metadata) == ("theirs", "theirs", {"k": 2})

    async def test_writing_inside_a_block(self, sessions: SessionRepository) -> None:
        """Writing the session by another call from inside the block fails at once; another session is free."""
        await saved(sessions, user("a"))
        await saved(sessions, user("x"), id="t")
        async with sessions.edit("s") as session:
            copy = await sessions.get("s")
            copy.add_message(user("b"))
            calls: list[Awaitable[object]] = [
                sessions.save(copy),
                sessions.checkpoint(copy),
                sessions.save_best_effort(copy),
                sessions.append("s", user("b")),
                sessions.update("s", lambda _: None),
                sessions.rename("s", "T"),
                sessions.delete("s"),
                sessions.remove_last("s"),
            ]
            for write in calls:
                with pytest.raises(SessionBusyError):
                    await write
            with pytest.raises(SessionBusyError):
                await asyncio.create_task(_awaited(sessions.rename("s", "T")))
            await sessions.append("t", user("y"))
            session.title = "mine"
        assert (await sessions.get("s")).title == "mine"
        await sessions.append("s", user("b"))

    async def test_a_task_that_outlives_its_block(self, sessions: SessionRepository) -> None:
        """A task that was started inside a block may write the session once the block has ended."""
        await saved(sessions, user("a"))
        ended = asyncio.Event()

        async def write_later() -> None:
            await ended.wait()
            await sessions.append("s", user("b"))

        async with sessions.edit("s"):
            task = asyncio.create_task(write_later())
        ended.set()
        await task
        assert ids_of(await sessions.load("s")) == ["a", "b"]

    async def test_a_block_without_a_session(self, sessions: SessionRepository) -> None:
        """There must be a session to edit."""
        errors: list[type[BambooSessionsError]] = [SessionNotFoundError, SessionDeletedError]
        for error in errors:
            with pytest.raises(error):
                async with sessions.edit("s"):
                    pass
            if error is SessionNotFoundError:
                await saved(sessions, user("a"))
                await sessions.delete("s")


async def _edited(
    sessions: SessionRepository, mine: Callable[[Session], object], theirs: Callable[[], Awaitable[object]]
) -> None:
    async with sessions.edit("s") as session:
        mine(session)
        session.add_message(user("lost"))
        await theirs()


async def _awaited(call: Awaitable[object]) -> None:
    await call
