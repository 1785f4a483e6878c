"""Searching: what matches, what doesn't any more, and whose it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from anyio import create_task_group

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import Summary
from bamboo_sessions.domain.limits import SEARCHED_CHARS_MAX, SNIPPET_CHARS_MAX
from bamboo_sessions.domain.message import AudioPart, ImagePart, Message, TextPart, ToolCall
from bamboo_sessions.domain.search import SearchHit
from bamboo_sessions.domain.session import Session
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.testing.clock import ManualClock
from bamboo_sessions.testing.conformance.kit import SECOND, user
from bamboo_sessions.testing.conformance.repository.base import RepositoryCase, saved

TEXTS = {
    "words": "Where is my order number 4711?",
    "part": "Reordering the shelves",
    "accents": "Ein Café in Zürich, Straße 5",
    "chinese": "我的订单在哪里",
    "japanese": "注文はどこですか",
    "korean": "주문은 어디에 있나요",
    "mixed": "AI产品 für 3月",
    "code": 'fetch("/usr/lib/x.so", user_id=5) -> c++',
    "emoji": "Party 🎉🎉 now",
    "broken": "a\x00nul and \ud800 half a sign",
}

FOUND = {
    "order": {"words", "part"},
    "ORDER number": {"words"},
    "number order": {"words"},
    '"order number"': {"words"},
    '"number order"': set(),
    '"order"': {"words"},
    '"order num"': set(),
    '"order num"*': {"words"},
    "order -shelves": {"words"},
    'order -"order number"': {"part"},
    "reorder*": {"part"},
    "orderi*": set(),
    "rder*": set(),
    "ordering": {"part"},
    "orderings": set(),
    "is": {"words"},
    "4711": {"words"},
    "cafe": {"accents"},
    "CAFÉ": {"accents"},
    "cafe\u0301": {"accents"},
    "strasse": {"accents"},
    "zurich": {"accents"},
    "订": {"chinese"},
    "订单": {"chinese"},
    "的订单": {"chinese"},
    "我的订单在": {"chinese"},
    "单订": set(),
    '"订单"': {"chinese"},
    "里": {"chinese"},
    "どこ": {"japanese"},
    "注文は": {"japanese"},
    "か": {"japanese"},
    "주문": {"korean"},
    "있나": {"korean"},
    "ai": {"mixed"},
    "产品": {"mixed"},
    "ai产品": {"mixed"},
    "i产品": {"mixed"},
    "3月": {"mixed"},
    "/usr/lib": {"code"},
    "user_id": {"code"},
    "user_i*": {"code"},
    '("/usr': {"code"},
    "c++": {"code"},
    "sr/li": {"code"},
    "🎉": {"emoji"},
    "🎉🎉": {"emoji"},
    "party 🎉": {"emoji"},
    "nul": {"broken"},
    "half\x00sign": {"broken"},
    "a OR": set(),
    "NEAR(order": set(),
    "order AND number": set(),
    "text:order": set(),
    "order'; DROP TABLE messages; --": set(),
    "half '": {"broken"},
    'order"': {"words", "part"},
    "^order": set(),
    "%rder": set(),
    "ord_r": set(),
    "-> where": {"words"},
    "half \ud800": {"broken"},
}


class SearchingConformance(RepositoryCase):
    """The same is found on every engine."""

    @pytest.mark.parametrize("text", FOUND)
    async def test_what_is_found(self, sessions: SessionRepository, text: str) -> None:
        """Words anywhere, short ones whole; phrases, prefixes, negations; any script; and no syntax but that."""
        await saved(sessions, *(Message.user(content, id=name) for name, content in TEXTS.items()))
        assert {hit.message_id for hit in await self._hits(sessions, text)} == FOUND[text]

    @pytest.mark.parametrize("text", ["", " ", '"""', "-", "*", "--", "\x00", "-draft", '-"a b"', "->", '"..."', "* -"])
    async def test_nothing_to_look_for(self, sessions: SessionRepository, text: str) -> None:
        """A search without a word, or only of what not to find, is a mistake."""
        with pytest.raises(InputError):
            await sessions.search(text)

    async def test_wrong_searches(self, sessions: SessionRepository) -> None:
        """Limits, roles, times and lengths are checked at the door."""
        wrong: list[dict[str, Any]] = [
            {"limit": 0},
            {"limit": 1_001},
            {"role": "robot"},
            {"since": "yesterday"},
            {"text": 5},
            {"text": "x" * 1_001},
            {"text": " ".join(f"w{number}" for number in range(33))},
            {"text": '"' + "日 " * 33 + '"'},
            {"session": ""},
            {"owner": "\x00"},
        ]
        for arguments in wrong:
            with pytest.raises(InputError):
                await sessions.search(**{"text": "x", **arguments})

    async def test_a_hit(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """A hit says where it is, and shows it: pieces of plain text, with what matches told apart."""
        message = Message(role="assistant", content="See <b>Order</b> 5", id="m", created_at=clock.now())
        session = await saved(sessions, message)
        await sessions.rename(session.id, "Shelves")
        (hit,) = await self._hits(sessions, "order")
        assert (hit.session_id, hit.title, hit.place, hit.message_id) == ("s", "Shelves", "message", "m")
        assert (hit.role, hit.at) == ("assistant", message.created_at)
        assert [(piece.text, piece.is_match) for piece in hit.snippet.pieces] == [
            ("See <b>", False),
            ("Order", True),
            ("</b> 5", False),
        ]
        assert (hit.snippet.text, hit.snippet.cut_before, hit.snippet.cut_after) == (message.text, False, False)

    async def test_a_snippet_of_a_long_text(self, sessions: SessionRepository) -> None:
        """Of a long text the stretch is shown that has most of what was looked for."""
        text = "Straße " * 500 + "order. " * 9 + "the Orders are número 5 " + "word " * 5_000
        await saved(sessions, user(text, "m"))
        (hit,) = await self._hits(sessions, "order numero")
        assert [piece.text for piece in hit.snippet.pieces if piece.is_match][-2:] == ["Order", "número"]
        assert len(hit.snippet.text) <= SNIPPET_CHARS_MAX
        assert hit.snippet.cut_before
        assert hit.snippet.cut_after

    async def test_whole_words_come_first(self, sessions: SessionRepository) -> None:
        """Whole words before parts of words, titles before texts, often before once."""
        await saved(sessions, user("order x", "once"), user("reordering", "part"), user("order order", "often"))
        await sessions.create(Session("t", title="Order"))
        hits = await self._hits(sessions, "order")
        assert [hit.message_id for hit in hits] == [None, "often", "once", "part"]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert scores[2] > 1 > scores[3] > 0

    async def test_titles_and_summaries(self, sessions: SessionRepository) -> None:
        """Titles and summaries are found, as they are now; terms don't come together from both."""
        session = await saved(sessions, user("text", "m"))
        session.title = "A first title"
        session.summary = Summary("about parcels", "m")
        await sessions.save(session)
        assert [hit.place for hit in await self._hits(sessions, "title")] == ["title"]
        assert [hit.place for hit in await self._hits(sessions, "parcels")] == ["summary"]
        assert await self._hits(sessions, "title parcels") == []
        assert await self._hits(sessions, "title", role="user") == []
        await sessions.rename("s", "Another")
        assert await self._hits(sessions, "title") == []
        assert len(await self._hits(sessions, "another")) == 1

    async def test_content_of_any_kind(self, sessions: SessionRepository) -> None:
        """Text parts and transcripts are searched; links, metadata and reasoning aren't."""
        parts = (TextPart("first"), ImagePart("https://x/picture"), AudioPart("https://x/a", transcript="spoken"))
        message = Message(role="user", content=parts, id="m", reasoning="thought", metadata={"key": "hidden"})
        await saved(sessions, message)
        assert len(await self._hits(sessions, "first spoken")) == 1
        for text in ("picture", "thought", "hidden"):
            assert await self._hits(sessions, text) == []

    async def test_tools(self, sessions: SessionRepository) -> None:
        """Names and arguments of calls, and results, are found if they are asked for; a message is one hit."""
        called = Message.assistant("a parcel", [ToolCall("1", "find_parcel", {"place": "Bern"})], id="call")
        text_call = Message.assistant("", [ToolCall("2", "find", '{"place": "Basel"}')], id="call-2")
        result = Message.tool("parcel lost", tool_call_id="1", id="result")
        await saved(sessions, called, result, text_call, Message.tool("none", tool_call_id="2", id="result-2"))
        assert await self._ids(sessions, "parcel") == {"call"}
        assert await self._ids(sessions, "parcel", include_tools=True) == {"call", "result"}
        assert len(await self._hits(sessions, "parcel", include_tools=True)) == 2
        assert await self._ids(sessions, "bern") == set()
        (hit,) = await self._hits(sessions, "bern find", include_tools=True)
        assert (hit.message_id, hit.place) == ("call", "tool_call")
        assert await self._ids(sessions, "basel", include_tools=True) == {"call-2"}
        assert await self._ids(sessions, "lost", role="tool") == {"result"}
        assert await self._ids(sessions, "bern", role="assistant", include_tools=True) == {"call"}

    async def test_filters(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """By session, kind, owner, role, time and archive; each alone, and all together."""
        start = clock.now()
        for number, name in enumerate(("a", "b", "c")):
            session = Session(name, owner=f"o-{name}", kind=f"k-{name}", clock=clock)
            at = start + number * SECOND
            session.add_message(Message.user("word", id=f"u-{name}", created_at=at))
            session.add_message(Message.assistant("word", id=f"a-{name}", created_at=at))
            await sessions.save(session)
        await sessions.archive("c")
        filters: dict[str, tuple[dict[str, Any], set[str]]] = {
            "session": ({"session": "a"}, {"u-a", "a-a"}),
            "kind": ({"kind": "k-b"}, {"u-b", "a-b"}),
            "owner": ({"owner": "o-c"}, {"u-c", "a-c"}),
            "role": ({"role": "user"}, {"u-a", "u-b", "u-c"}),
            "since": ({"since": start + SECOND}, {"u-b", "a-b", "u-c", "a-c"}),
            "until": ({"until": start + SECOND}, {"u-a", "a-a"}),
            "archived": ({"archived": True}, {"u-c", "a-c"}),
            "not archived": ({"archived": False}, {"u-a", "a-a", "u-b", "a-b"}),
            "no such session": ({"session": "z"}, set()),
            "all": ({"session": "b", "kind": "k-b", "owner": "o-b", "role": "user", "archived": False}, {"u-b"}),
            "none": ({"session": "b", "owner": "o-c"}, set()),
        }
        for name, (arguments, expected) in filters.items():
            assert await self._ids(sessions, "word", **arguments) == expected, name

    async def test_how_many_hits(self, sessions: SessionRepository) -> None:
        """As many hits as were asked for, and whether there are more."""
        await saved(sessions, *(user(f"word {number}", str(number)) for number in range(5)))
        page = await sessions.search("word", limit=3)
        assert (len(page.hits), page.has_more) == (3, True)
        page = await sessions.search("word", limit=5)
        assert (len(page.hits), page.has_more) == (5, False)

    async def test_many_matches(self, sessions: SessionRepository) -> None:
        """More matches than are ranked give a full page, of whatever limit."""
        await saved(sessions, *(user("common word", str(number)) for number in range(400)))
        assert len((await sessions.search("common")).hits) == 20
        assert len((await sessions.search("ommo", limit=400)).hits) == 400
        assert (await sessions.search("ommo", limit=399)).has_more

    async def test_huge_texts(self, sessions: SessionRepository) -> None:
        """Of a huge text the beginning is searched."""
        text = "start " + "x" * SEARCHED_CHARS_MAX + " end"
        await saved(sessions, user(text, "huge"), user("é" * (SEARCHED_CHARS_MAX - 4) + "last of it", "edge"))
        assert await self._ids(sessions, "start") == {"huge"}
        assert await self._ids(sessions, "last") == {"edge"}
        assert await self._ids(sessions, "end") == set()
        assert await self._ids(sessions, '"of"') == set()

    # --- what changes

    async def test_what_is_acknowledged_is_found(self, sessions: SessionRepository, others: SessionRepository) -> None:
        """Each commit is found by the next search, whoever made it."""
        for number in range(10):
            await (sessions, others)[number % 2].append("s", user(f"word{number} same", f"m{number}"), create=True)
            assert await self._ids(sessions, f"word{number}") == {f"m{number}"}
        assert len(await self._ids(others, "same")) == 10

    async def test_L46_what_is_gone_is_not_found(self, sessions: SessionRepository) -> None:
        """Edited, removed, truncated and deleted texts vanish at once; a new text is never put back to the old one."""
        session = await saved(sessions, user("old", "a"), user("second", "b"), user("third", "c"), user("fourth", "d"))
        assert await self._ids(sessions, "old") == {"a"}
        session.messages[0] = msgspec.structs.replace(session.messages[0], content="new")
        del session.messages[1]
        await sessions.save(session)
        assert await self._ids(sessions, "old") == await self._ids(sessions, "second") == set()
        assert await self._ids(sessions, "new") == {"a"}
        await sessions.truncate("s", after_message_id="c")
        assert await self._ids(sessions, "fourth") == set()
        await sessions.clear("s")
        assert await self._ids(sessions, "third") == set()
        await sessions.append("s", user("fifth", "e"))
        await sessions.delete("s")
        assert await self._hits(sessions, "fifth") == []

    async def test_a_later_life(self, sessions: SessionRepository) -> None:
        """Of a session that was created again only the new life is found."""
        session = Session("s", title="former title")
        session.add_message(user("former word", "a"))
        await sessions.save(session)
        assert len(await self._hits(sessions, "former")) == 2
        await sessions.delete("s")
        again = Session("s", title="later title")
        again.add_message(user("later word", "a"))
        await sessions.create(again)
        assert await self._hits(sessions, "former") == []
        assert len(await self._hits(sessions, "later")) == 2

    async def test_forks_and_trees(self, sessions: SessionRepository) -> None:
        """A fork's messages are its own; a deleted tree takes its children's texts with it."""
        session = await saved(sessions, user("shared word", "a"))
        await sessions.fork("s", new_id="fork")
        child = session.new_child("child")
        child.add_message(user("word of a child", "b"))
        await sessions.save(child)
        assert {hit.session_id for hit in await self._hits(sessions, "word")} == {"s", "fork", "child"}
        await sessions.delete("s")
        assert {hit.session_id for hit in await self._hits(sessions, "word")} == {"fork"}

    async def test_L99_namespaces(self, sessions: SessionRepository, other_namespace: str) -> None:
        """Another namespace's texts are never found, not even through the same ids."""
        other = sessions.in_namespace(other_namespace)
        await saved(sessions, user("word here", "a"))
        theirs = Session("s", namespace=other_namespace, title="word title")
        theirs.add_message(user("word there", "a"))
        await other.save(theirs)
        assert [hit.snippet.text for hit in await self._hits(sessions, "word")] == ["word here"]
        assert {hit.snippet.text for hit in await self._hits(other, "word")} == {"word there", "word title"}
        assert {hit.snippet.text for hit in await self._hits(other, "word", session="s")} == {
            "word there",
            "word title",
        }
        assert await self._hits(sessions.in_namespace("nobody"), "word") == []

    async def test_searches_at_once(self, sessions: SessionRepository) -> None:
        """Any number of searches and writers at the same time: each search finds what was acknowledged before."""
        await saved(sessions, user("word", "first"))

        async def write(name: str) -> None:
            for number in range(5):
                await sessions.append(name, user("word", f"{name}-{number}"), create=True)
                found = await sessions.search("word", session=name)
                assert len(found.hits) == number + 1

        async with create_task_group() as group:
            for name in "abcdef":
                group.start_soon(write, name)
        assert len((await sessions.search("word", limit=100)).hits) == 31

    async def test_newest_first_between_equals(self, sessions: SessionRepository, clock: ManualClock) -> None:
        """Of hits that match as well, the newer message comes first."""
        for number in range(3):
            at = clock.now() + timedelta(minutes=number)
            await sessions.append("s", Message.user("word", id=str(number), created_at=at), create=True)
        assert [hit.message_id for hit in await self._hits(sessions, "word")] == ["2", "1", "0"]

    @staticmethod
    async def _hits(sessions: SessionRepository, text: str, **filters: Any) -> list[SearchHit]:  # noqa: ANN401 - of search
        return list((await sessions.search(text, **filters)).hits)

    async def _ids(self, sessions: SessionRepository, text: str, **filters: Any) -> set[str | None]:  # noqa: ANN401
        return {hit.message_id for hit in await self._hits(sessions, text, **filters)}
