"""What a call can ask for besides its change: preconditions on the history, records, how a session begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from bamboo_sessions.domain.errors import InputError, PreconditionFailedError, SessionDeletedError, SessionNotFoundError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsageRecord
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.storage.commit import RecordScope, RecordWrite
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, ids_of, saved

RECORD: Final = RecordWrite("state", "step", b"1")
USAGE: Final = TokenUsageRecord(id="usage", at=START, input_tokens=1)


def user(id: str) -> Message:
    """A message with this id and text."""
    return Message.user(id, id=id)


async def _save(sessions: SessionRepository, **terms: Any) -> object:  # noqa: ANN401 - of every call
    copy = await sessions.get("s")
    if not any(message.id == "new" for message in copy.messages):
        copy.add_message(user("new"))
    return await sessions.save(copy, **terms)


Call = Callable[..., Awaitable[object]]

ON_THE_HISTORY: Final[dict[str, Call]] = {
    "append": lambda s, **terms: s.append("s", user("new"), **terms),
    "save": _save,
    "truncate": lambda s, **terms: s.truncate("s", after_message_id="a", **terms),
    "clear": lambda s, **terms: s.clear("s", **terms),
    "remove_last": lambda s, **terms: s.remove_last("s", **terms),
    "replace_history": lambda s, **terms: s.replace_history("s", [user("x")], **terms),
}


async def _edit(sessions: SessionRepository, **terms: Any) -> None:  # noqa: ANN401 - of every call
    async with sessions.edit("s", **terms) as session:
        session.model = "other"


def _set_model(session: Session) -> None:
    session.model = "other"


WITH_RECORDS: Final[dict[str, Call]] = {
    **ON_THE_HISTORY,
    "create": lambda s, **terms: s.create(Session("s2"), **terms),
    "update": lambda s, **terms: s.update("s", _set_model, **terms),
    "edit": _edit,
}


class TermsConformance(RepositoryCase):
    """Preconditions, records in the same commit, and what a call makes by the way."""

    @pytest.mark.parametrize("call", ON_THE_HISTORY.values(), ids=ON_THE_HISTORY)
    async def test_a_precondition_on_the_history_alone(
        self, call: Call, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """A person's rename doesn't make it stale; a message that came meanwhile does, and then nothing is written."""
        await saved(sessions, user("a"), user("b"))
        await sessions.load("s")
        await others.append("s", user("c"))
        await others.rename("s", "Title")
        before = await others.get("s")
        for wrong in ("b", "nowhere", ""):
            with pytest.raises(PreconditionFailedError) as refused:
                await call(sessions, if_last_message=wrong)
            assert refused.value.actual == "c"
        assert (await others.get("s")).revision == before.revision
        await call(sessions, if_last_message="c")
        assert (await others.get("s")).revision == before.revision + 1

    async def test_an_empty_history_can_be_asked_for(self, sessions: SessionRepository) -> None:
        """`""` says that there is no message yet: of two who begin a conversation one is refused."""
        await sessions.create(Session("s"))
        await sessions.append("s", user("first"), if_last_message="")
        with pytest.raises(PreconditionFailedError):
            await sessions.append("s", user("second"), if_last_message="")
        assert ids_of(await sessions.load("s")) == ["first"]

    async def test_a_precondition_of_a_save_that_changes_nothing(
        self, sessions: SessionRepository, others: SessionRepository
    ) -> None:
        """Also a save without changes is refused if the history isn't what it expects."""
        session = await saved(sessions, user("a"))
        assert not (await sessions.save(session, if_last_message="a")).changed
        await others.append("s", user("b"))
        with pytest.raises(PreconditionFailedError):
            await sessions.save(session, if_last_message="a")

    @pytest.mark.parametrize("call", WITH_RECORDS.values(), ids=WITH_RECORDS)
    async def test_records_go_with_the_change(self, call: Call, sessions: SessionRepository) -> None:
        """Records are written in the commit of the change, and a refused one of them refuses all (G3)."""
        await saved(sessions, user("a"), user("b"))
        await sessions.records.put("state", "taken", b"x", shared="app")
        refused = RecordWrite("state", "taken", b"y", if_absent=True, scope=RecordScope("shared", "app"))
        with pytest.raises(PreconditionFailedError):
            await call(sessions, records=[RECORD, refused])
        assert [(head.id, head.revision) async for head in sessions.iter_sessions()] == [("s", 1)]
        await call(sessions, records=[RECORD])
        found = {head.id: head.revision async for head in sessions.iter_sessions()}
        assert found in ({"s": 2}, {"s": 1, "s2": 1})
        record = await sessions.records.get("state", "step", session="s" if found["s"] == 2 else "s2")
        assert record is not None
        assert record.value == b"1"

    async def test_records_alone(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """An append needs no message if it has records or usage: a blind commit, which collides with nobody's."""
        session = await saved(sessions, user("a"))
        appended = await sessions.append("s", records=[RECORD], usage=[USAGE])
        assert (appended.revision, appended.message_count) == (2, 1)
        await others.append("s", records=[RecordWrite("state", "step", b"2")])
        assert (await sessions.token_usage("s")).calls == 1
        session.add_message(user("b"))
        await sessions.save(session)
        assert session.revision == 4
        with pytest.raises(InputError) as refused:
            await sessions.append("s")
        assert refused.value.hint
        with pytest.raises(SessionNotFoundError):
            await sessions.append("nowhere", records=[RECORD])

    async def test_a_session_that_an_append_makes(self, sessions: SessionRepository) -> None:
        """Owner, title, kind, parent and metadata of what it makes come in the same commit, once."""
        await sessions.create(Session("parent", owner="ann"))
        wished = Session("s", "m", title="Title", kind="task", parent_session_id="parent", metadata={"k": 1})
        appended = await sessions.append("s", user("a"), create=wished, records=[RECORD])
        assert (appended.revision, wished.revision) == (1, 0)
        made = await sessions.get("s")
        assert (made.model, made.title, made.kind, made.owner) == ("m", "Title", "task", "ann")
        assert (made.parent_session_id, made.root_session_id, made.spawn_depth) == ("parent", "parent", 1)
        assert made.metadata == {"k": 1}
        await sessions.append("s", user("b"), create=Session("s", title="Another"))
        assert ((await sessions.get("s")).title, ids_of(await sessions.load("s"))) == ("Title", ["a", "b"])
        await sessions.delete("s")
        with pytest.raises(SessionDeletedError):
            await sessions.append("s", user("c"), create=wished)

    async def test_a_session_that_a_lease_makes(self, sessions: SessionRepository) -> None:
        """A lease makes its session likewise."""
        async with sessions.lease("s", create=Session("s", owner="ann", title="Title")) as lease:
            assert (lease.session.owner, lease.session.title) == ("ann", "Title")

    async def test_what_can_not_be_made(self, sessions: SessionRepository) -> None:
        """A wrong `create=` is refused with a hint, and nothing is written."""
        full = Session("s")
        full.add_message(user("x"))
        stored = await saved(sessions, id="stored")
        for wrong in (1, "yes", None, Session("other"), Session("s", namespace="else"), full, stored):
            for call in (
                lambda: sessions.append("s", user("a"), create=wrong),  # type: ignore[arg-type]  # noqa: B023
                lambda: sessions.lease("s", create=wrong).__aenter__(),  # type: ignore[arg-type]  # noqa: B023
            ):
                with pytest.raises(InputError) as refused:
                    await call()
                assert refused.value.hint
        with pytest.raises(InputError):
            await sessions.append("s", user("a"), create=Session("s"), model="m")
        assert await sessions.load("s") is None

    async def test_bad_terms_write_nothing(self, sessions: SessionRepository) -> None:
        """What can't be meant is refused with a hint at every call that takes it."""
        await saved(sessions, user("a"), user("b"))
        bad: list[dict[str, Any]] = [
            {"if_last_message": 7},
            {"if_last_message": "x" * 600},
            {"records": ["x"]},
            {"records": [("k", "a", b"")]},
        ]
        bad += [{"records": [RecordWrite("", "a", b"")]}, {"records": [RecordWrite("k", "a", "text")]}]  # type: ignore[arg-type]
        bad += [{"commit_id": ""}, {"commit_id": "x" * 129}]
        for call in ON_THE_HISTORY.values():
            for terms in bad:
                with pytest.raises(InputError) as refused:
                    await call(sessions, **terms)
                assert refused.value.hint
        for changes in ({"if_revision": "1"}, {"if_revision": True}):
            with pytest.raises(InputError):
                await sessions.delete("s", **changes)
        with pytest.raises(InputError):
            await sessions.find_message("")
        for terms in (
            {"owner": ""},
            {"title": " "},
            {"metadata": {"k": object()}},
            {"records": "kind"},
            {"records": [""]},
        ):
            with pytest.raises(InputError) as refused:
                await sessions.fork("s", **terms)
            assert refused.value.hint
        assert [head.revision async for head in sessions.iter_sessions()] == [1]

    async def test_a_deletion_of_what_was_seen(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """With `if_revision` a session that somebody changed since stays; one that is gone is no error."""
        await saved(sessions, user("a"))
        await others.append("s", user("b"))
        with pytest.raises(PreconditionFailedError) as refused:
            await sessions.delete("s", if_revision=1)
        assert (refused.value.expected, refused.value.actual) == (1, 2)
        assert await sessions.delete("s", if_revision=2)
        assert not await sessions.delete("s", if_revision=2)

    async def test_a_fork_takes_records_and_what_it_is_given(self, sessions: SessionRepository) -> None:
        """A fork has its original's records, all or of some kinds, and its own owner, title and metadata (G3)."""
        await sessions.create(Session("s", owner="ann", title="Title", metadata={"k": 1}))
        await sessions.append("s", user("a"), records=[RECORD, RecordWrite("blob", "b", b"2")])
        plain = await sessions.fork("s")
        assert (plain.owner, plain.title, plain.metadata) == ("ann", "Title", {"k": 1})
        given = await sessions.fork("s", owner="bob", title="Other", metadata={"of": "s"}, records=["blob"])
        assert (given.owner, given.title, given.metadata) == ("bob", "Other", {"of": "s"})
        assert (plain.revision, given.revision) == (1, 1)
        bare = await sessions.fork("s", records=False)
        expected = {plain.id: {"state", "blob"}, given.id: {"blob"}, bare.id: set()}
        for id, kinds in expected.items():
            found = {kind for kind in ("state", "blob") async for _ in sessions.records.scan(kind, session=id)}
            assert found == kinds
        await sessions.records.put("state", "step", b"9", session=plain.id)
        original = await sessions.records.get("state", "step", session="s")
        assert original is not None
        assert original.value == b"1"

    async def test_a_message_is_found_by_its_id(self, sessions: SessionRepository) -> None:
        """Without its session; but not one that was removed, or whose session was deleted."""
        await saved(sessions, user("a"), user("b"))
        await saved(sessions, user("c"), id="t")
        found = await sessions.find_message("b")
        assert found is not None
        assert (found[0], found[1].text) == ("s", "b")
        await sessions.remove_last("s")
        await sessions.delete("t")
        assert [await sessions.find_message(id) for id in ("b", "c", "nowhere")] == [None, None, None]
