"""What people set: it stands against every stale save, and its version only rises (G5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bamboo_sessions.domain.errors import (
    InputError,
    PreconditionFailedError,
    SessionDeletedError,
    SessionNotFoundError,
)
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.conformance.kit import KEY, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved
from bamboo_sessions.testing.faults import FaultyStorage


def all_changes(sessions: SessionRepository) -> list[Callable[[], Awaitable[SessionHead]]]:
    """Each kind of change once."""
    return [
        lambda: sessions.rename("s", "T"),
        lambda: sessions.pin("s"),
        lambda: sessions.archive("s"),
        lambda: sessions.set_value("s", "k", 1),
        lambda: sessions.remove_value("s", "k"),
        lambda: sessions.pin("s", pinned=False),
        lambda: sessions.apply_generated_title("s", "G", force=True),
    ]


class AuthoringConformance(RepositoryCase):
    """Changes by people: to the latest state, each with its version, compared if asked."""

    async def test_each_change_raises_the_version(self, sessions: SessionRepository) -> None:
        """Every change is one commit and one version, and gives back the head."""
        await saved(sessions, *users("a", "b"))
        for number, change in enumerate(all_changes(sessions), start=1):
            head = await change()
            assert (head.metadata_version, head.revision, head.message_count) == (number, number + 1, 2)
            session = await sessions.get("s")
            assert (session.metadata_version, session.revision, ids_of(session)) == (number, number + 1, ["a", "b"])

    async def test_a_change_that_changes_nothing(self, sessions: SessionRepository) -> None:
        """The same title, pin or value again bumps and writes nothing."""
        await saved(sessions, user("a"))
        await sessions.rename("s", "T")
        await sessions.pin("s")
        await sessions.set_value("s", "k", {"deep": [1]})
        idle = [
            sessions.rename("s", "T"),
            sessions.pin("s"),
            sessions.set_value("s", "k", {"deep": [1]}),
            sessions.archive("s", archived=False),
            sessions.remove_value("s", "unknown"),
        ]
        for change in idle:
            head = await change
            assert (head.metadata_version, head.revision) == (3, 4)

    @pytest.mark.parametrize("way", ["update", "edit", "save"])
    async def test_L122_a_title_set_in_a_copy_is_a_persons(self, sessions: SessionRepository, way: str) -> None:
        """G5, L61: by whichever way it comes in, it is no generated one any more, and no generated one replaces it."""
        await saved(sessions, user("a"))
        before = await sessions.apply_generated_title("s", "G1")
        if way == "update":
            await sessions.update("s", lambda session: setattr(session, "title", "P"))
        elif way == "edit":
            async with sessions.edit("s") as session:
                session.title = "P"
        else:
            session = await sessions.get("s")
            session.title = "P"
            await sessions.save(session)
        head = await sessions.apply_generated_title("s", "G2")
        assert (head.title, head.title_generated, head.title_version) == ("P", False, before.title_version + 1)

    async def test_a_copy_may_say_that_its_title_is_generated(self, sessions: SessionRepository) -> None:
        """Set behind the title, the flag stands; a title that is set back leaves nothing to save."""
        await saved(sessions, user("a"))
        session = await sessions.get("s")
        session.title, session.title_generated = "G1", True
        await sessions.save(session)
        assert (await sessions.apply_generated_title("s", "G2")).title == "G2"
        session = await sessions.get("s")
        session.title = "P"
        session.title = "G2"
        assert not (await sessions.save(session)).changed

    async def test_values(self, sessions: SessionRepository) -> None:
        """Any JSON can be a value; `None` is null, removing is another call; types are told apart."""
        await saved(sessions, user("a"))
        values: list[Any] = ["text\0\ud800", 1, 1.0, True, None]
        for value in values:
            await sessions.set_value("s", "k", value)
            stored = (await sessions.load("s", fresh=True)).metadata["k"]  # type: ignore[union-attr]
            assert stored == value
            assert type(stored) is type(value)
        await sessions.set_value("s", "k", {"deep": [1, {"er": None}]})
        assert (await sessions.get("s")).metadata["k"] == {"deep": [1, {"er": None}]}
        await sessions.remove_value("s", "k")
        assert (await sessions.get("s")).metadata == {}
        for wrong in (object(), float("nan"), {1: 2}):
            with pytest.raises(InputError):
                await sessions.set_value("s", "k", wrong)
        with pytest.raises(InputError):
            await sessions.rename("s", " ")

    async def test_titles(self, sessions: SessionRepository) -> None:
        """L61: a generated title gives way to a person's and never replaces it, unless forced."""
        await saved(sessions, user("a"))
        head = await sessions.apply_generated_title("s", "G1")
        assert (head.title, head.title_generated, head.title_version) == ("G1", True, 1)
        assert (await sessions.apply_generated_title("s", "G2")).title == "G2"
        head = await sessions.rename("s", "P")
        assert (head.title, head.title_generated) == ("P", False)
        assert (await sessions.apply_generated_title("s", "G3")).title == "P"
        assert (await sessions.apply_generated_title("s", "G4", force=True)).title == "G4"

    async def test_comparing_versions(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """With `if_metadata_version` a change is refused once another person changed something."""
        await saved(sessions, user("a"))
        await others.rename("s", "T")
        refused: list[Awaitable[SessionHead]] = [
            sessions.rename("s", "U", if_metadata_version=0),
            sessions.pin("s", if_metadata_version=0),
            sessions.archive("s", if_metadata_version=2),
            sessions.set_value("s", "k", 1, if_metadata_version=0),
            sessions.remove_value("s", "k", if_metadata_version=0),
        ]
        for change in refused:
            with pytest.raises(PreconditionFailedError) as error:
                await change
            assert error.value.actual == 1
        assert (await sessions.rename("s", "U", if_metadata_version=1)).metadata_version == 2

    async def test_one_of_many_comparing_wins(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Of many changes that name one version exactly one goes in."""
        await saved(sessions, user("a"))

        async def renamed(number: int) -> bool:
            repository = (sessions, others)[number % 2]
            try:
                await repository.rename("s", f"T{number}", if_metadata_version=0)
            except PreconditionFailedError:
                return False
            return True

        assert sum(await asyncio.gather(*map(renamed, range(10)))) == 1
        assert (await sessions.get("s")).metadata_version == 1

    async def test_changes_at_once_all_land(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """L63: changes of different things by different people all stand."""
        await saved(sessions, user("a"))
        await asyncio.gather(
            sessions.rename("s", "T"),
            others.pin("s"),
            sessions.set_value("s", "k", 1),
            others.set_value("s", "l", 2),
            sessions.archive("s"),
            others.append("s", user("b")),
        )
        session = await sessions.get("s")
        assert (session.title, session.pinned, session.archived) == ("T", True, True)
        assert (session.metadata, session.metadata_version) == ({"k": 1, "l": 2}, 5)
        assert ids_of(session) == ["a", "b"]

    async def test_a_removed_value_stays_removed(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """A value that a person removed isn't brought back by a copy that still has it."""
        await saved(sessions, user("a"))
        await sessions.set_value("s", "k", 1)
        stale = await others.get("s")
        await sessions.remove_value("s", "k")
        stale.add_message(user("b"))
        await others.save(stale)
        assert (await sessions.get("s")).metadata == {}

    async def test_there_must_be_a_session(self, sessions: SessionRepository) -> None:
        """Changes of what isn't there, or was deleted, are refused."""
        for change in all_changes(sessions):
            with pytest.raises(SessionNotFoundError):
                await change()
        await saved(sessions, user("a"))
        await sessions.delete("s")
        for change in all_changes(sessions):
            with pytest.raises(SessionDeletedError):
                await change()

    async def test_histories_are_not_read(self, sessions: SessionRepository, faults: FaultyStorage) -> None:
        """Renaming a session that isn't cached reads its head only."""
        await saved(sessions, user("a"))
        sessions.cache.evict(KEY)
        faults.calls.clear()
        await sessions.rename("s", "T")
        assert not {"read", "read_newer"} & set(faults.calls)
