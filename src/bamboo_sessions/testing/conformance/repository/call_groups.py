"""Call groups, whoever writes: appends and saves put messages into the same places, and readers see whole groups."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from bamboo_sessions.domain.errors import InvalidMessageError
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.kit import call, result, user, users
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, saved

PARALLEL = (call("A", "1"), call("B", "2"), result("a", "1"), result("b", "2"))


def text(id: str) -> Message:
    """What the assistant says."""
    return Message.assistant("t", id=id, created_at=START)


async def ids_of(sessions: SessionRepository, session_id: str = "s") -> str:
    """The ids of a session's messages as storage has them, in a row."""
    return " ".join(message.id for message in (await fresh(sessions, session_id)).messages)


async def fresh(sessions: SessionRepository, session_id: str = "s") -> Session:
    """The session as storage has it."""
    session = await sessions.load(session_id, fresh=True)
    assert session is not None
    return session


class CallGroupsConformance(RepositoryCase):
    """Calls and their results are one place in a history, from wherever they come."""

    @pytest.mark.parametrize("size", [1, 2, 4])
    async def test_L126_parallel_calls_come_back_as_they_were_appended(
        self, sessions: SessionRepository, size: int
    ) -> None:
        """Two calls and two results, each a message, stay in their order; models see them all, and pages cut none."""
        await saved(sessions, user("q"))
        for start in range(0, 4, size):
            await sessions.append("s", *PARALLEL[start : start + size])
        await sessions.append("s", user("next"))
        assert await ids_of(sessions) == "q A B a b next"
        assert [message.id for message in await sessions.model_view("s")] == ["q", "A", "B", "a", "b", "next"]
        assert [message.id for message in (await sessions.history("s", limit=3)).messages] == ["next"]
        assert [message.id for message in (await sessions.history("s", limit=5)).messages] == [
            "A",
            "B",
            "a",
            "b",
            "next",
        ]
        assert [message.id for message in (await sessions.history("s", after="q", limit=2)).messages] == [
            "A",
            "B",
            "a",
            "b",
        ]

    @pytest.mark.parametrize("way", ["append", "save"])
    @pytest.mark.parametrize(
        ("history", "late", "expected"),
        [
            ([*PARALLEL[:2], user("u")], [result("b", "2"), result("a", "1")], "A B b a u"),
            ([call("A", "1"), text("t"), call("B", "2"), user("u")], [result("a", "1")], "A t B a u"),
            ([call("A", "1"), text("t")], [call("B", "2"), result("a", "1"), result("b", "2")], "A t B a b"),
            ([call("A", "1"), text("t")], [result("a", "1"), call("B", "2"), result("b", "2")], "A a t B b"),
            ([call("A", "1"), Message(role="event", id="e")], [result("a", "1"), user("n")], "A a e n"),
            ([call("A", "1"), result("x", "9"), user("u")], [result("a", "1")], "A x a u"),
            ([call("A", "1"), user("u"), call("B", "1"), user("v")], [result("b", "1")], "A u B b v"),
            ([user("u")], [call("A", "1", "1"), result("r1", "1"), result("r2", "1")], "u A r1 r2"),
        ],
    )
    async def test_L125_saves_and_appends_agree(
        self, sessions: SessionRepository, history: Sequence[Message], late: Sequence[Message], expected: str, way: str
    ) -> None:
        """A result stands in the same place, whether it is appended or saved in a copy."""
        await saved(sessions, *history)
        if way == "append":
            await sessions.append("s", *late)
        else:
            copy = await fresh(sessions)
            copy.messages.extend(late)
            await sessions.save(copy)
        assert await ids_of(sessions) == expected

    async def test_L125_a_call_that_an_edit_brought(self, sessions: SessionRepository) -> None:
        """A result is appended behind a call that came by an edit, as it is put there by a save."""
        copy = await saved(sessions, user("m"), user("u"))
        copy.messages[0] = msgspec.structs.replace(call("m", "k"), created_at=copy.messages[0].created_at)
        old = await fresh(sessions)
        await sessions.save(copy)
        await sessions.append("s", result("r1", "k"))
        old.add_message(result("r2", "k"))
        assert (await sessions.save(old)).orphaned_tool_results == ()
        assert await ids_of(sessions) == "m r1 r2 u"

    async def test_L124_a_result_that_the_copy_has_too(self, sessions: SessionRepository) -> None:
        """A message stands before a result in the copy that the tool's process appended: it goes behind that."""
        copy = await saved(sessions, call("c", "1"))
        await sessions.append("s", result("r", "1"))
        copy.add_message(user("n"))
        copy.add_message(result("r", "1"))
        report = await sessions.save(copy)
        assert await ids_of(sessions) == "c r n"
        assert report.duplicates == ("r",)
        assert [message.id for message in await sessions.model_view("s")] == ["c", "r", "n"]

    async def test_in_order(self, sessions: SessionRepository) -> None:
        """Messages that are appended in order stay exactly so, behind everything; models see what stands in groups."""
        await saved(sessions, call("c", "1"), user("u"))
        given = (result("r", "1"), *PARALLEL, user("v"))
        appended = await sessions.append("s", *given, in_order=True)
        assert appended.message_count == 8
        assert await ids_of(sessions) == "c u r A B a b v"
        assert [message.id for message in await sessions.model_view("s")] == ["u", "A", "B", "a", "b", "v"]
        again = await sessions.append("s", *given, in_order=True)
        assert again.duplicates == tuple(message.id for message in given)

    async def test_an_interrupted_call_whose_id_was_answered_earlier(self, sessions: SessionRepository) -> None:
        """Providers reuse call ids: `check` looks for the result in the call's own group, and mends it there."""
        await saved(sessions, call("c1", "k"), result("r1", "k"), call("c2", "k"), user("u"), call("c3", "k"))
        await sessions.append("s", result("r3", "k"))
        problems = [each.detail for each in (await sessions.check()).problems if each.kind == "orphan_call"]
        assert problems == ["Tool call 'k' (tool) has no result."]
        await sessions.check(repair=True)
        assert (await sessions.check()).ok
        first, second, third, fourth, *rest = (await fresh(sessions)).messages
        assert (first.id, second.id, third.id, [message.id for message in rest]) == (
            "c1",
            "r1",
            "c2",
            ["u", "c3", "r3"],
        )
        assert (fourth.role, fourth.tool_call_id, fourth.tool_success) == ("tool", "k", False)

    # --- what isn't added is named

    async def test_L115_additions_that_are_not_made_are_named(self, sessions: SessionRepository) -> None:
        """A removed message that is added again stays removed, and the report says so; likewise of an append (L115)."""
        copy = await saved(sessions, *users("a", "b"))
        del copy.messages[1]
        await sessions.save(copy)
        copy.add_message(user("b"))
        copy.add_message(user("c"))
        report = await sessions.save(copy)
        assert (report.duplicates, report.changed, await ids_of(sessions)) == (("b",), True, "a c")
        assert [message.id for message in copy.messages] == ["a", "c"]
        copy.add_message(user("b"))
        report = await sessions.save(copy)
        assert (report.duplicates, report.changed, await ids_of(sessions)) == (("b",), False, "a c")
        assert (await sessions.append("s", user("b"), user("a"))).duplicates == ("b", "a")

    async def test_a_result_whose_call_was_not_added_is_an_orphan(self, sessions: SessionRepository) -> None:
        """A call that was removed stays so when it is added again; its new result is named as orphaned."""
        copy = await saved(sessions, user("a"), call("c", "1"))
        del copy.messages[1]
        await sessions.save(copy)
        copy.messages.extend([call("c", "1"), result("r", "1")])
        report = await sessions.save(copy)
        assert (report.duplicates, report.orphaned_tool_results) == (("c",), ("r",))
        assert [message.id for message in await sessions.model_view("s")] == ["a"]

    async def test_L115_two_messages_of_one_id_are_refused(self, sessions: SessionRepository) -> None:
        """By a copy, an append and a new history, if their contents differ; nothing is changed."""
        await saved(sessions, user("a"))
        both = [user("b"), user("other", id="b")]
        with pytest.raises(InvalidMessageError, match="'b' occurs twice"):
            await sessions.append("s", *both)
        with pytest.raises(InvalidMessageError, match="'b' occurs twice"):
            await sessions.replace_history("s", both)
        with pytest.raises(InvalidMessageError, match="'b' occurs twice"):
            Session("new").messages.extend(both)
        assert await ids_of(sessions) == "a"

    async def test_L115_a_message_that_is_there_already_is_named(self, sessions: SessionRepository) -> None:
        """G4: adding a message again changes nothing, in a copy as in an append, and the report names it, once."""
        new = Session("s")
        new.add_message(user("a"))
        new.add_message(user("a"))
        await sessions.create(new)
        assert (await sessions.append("s", user("b"), user("b"))).duplicates == ("b",)
        copy = await sessions.get("s")
        copy.add_message(user("a"))
        copy.messages.extend([user("c"), user("b"), user("c")])
        report = await sessions.save(copy)
        assert (set(report.duplicates), report.changed, await ids_of(sessions)) == ({"a", "b", "c"}, True, "a b c")
        copy.add_message(user("a"))
        report = await sessions.save(copy)
        assert (report.duplicates, report.changed) == (("a",), False)
        assert (await sessions.save(copy)).duplicates == ()
        await sessions.replace_history("s", [user("a"), user("d"), user("a")])
        assert await ids_of(sessions) == "a d"

    async def test_a_history_that_is_written_anew_tells_what_is_new(self, sessions: SessionRepository) -> None:
        """The feed names only messages that weren't there before; the others are kept, also in another order."""
        await saved(sessions, *users("a", "b", "c"))
        position = await sessions.feed_position()
        await sessions.replace_history("s", users("x", "c", "a", "y"))
        assert await ids_of(sessions) == "x c a y"
        changes = [change async for change in sessions.changes(after=position, live=False)]
        assert [change.message_ids for change in changes] == [("x", "y")]
