"""Histories: where messages come to stand, what counts as a duplicate, and that every text survives."""

from __future__ import annotations

import copy
import pickle

import pytest

from bamboo_sessions.coordination.next_snapshot import with_insertions
from bamboo_sessions.domain.errors import BambooSessionsError, MessageIdConflictError
from bamboo_sessions.domain.head import Summary
from bamboo_sessions.domain.message import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Native,
    TextPart,
    ToolCall,
    to_stored,
)
from bamboo_sessions.domain.splices import FRONT
from bamboo_sessions.storage.commit import Commit, RecordWrite
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.clock import START
from bamboo_sessions.testing.conformance.base import Conformance
from bamboo_sessions.testing.conformance.histories import History
from bamboo_sessions.testing.conformance.kit import (
    SECOND,
    appending,
    call,
    change,
    content,
    creation,
    edited,
    head_of,
    ids_in,
    insertion,
    result,
    scope_of,
    snapshot_of,
    user,
    users,
)


class MessagesConformance(Conformance):
    """Messages keep their order, come exactly once, and come back as they went in."""

    # --- places

    async def test_messages_are_added_in_order(self, storage: SessionStorage) -> None:
        """G3: the messages of one commit stay next to one another, behind what was there."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(appending("s", *users("c", "d")))
        assert await ids_in(storage) == ["a", "b", "c", "d"]

    async def test_messages_go_behind_their_anchor(self, storage: SessionStorage) -> None:
        """Insertions go directly behind the message named, to the front, or to the end, all in one commit."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        places = (insertion(users("0", "1"), FRONT), insertion(users("b1", "b2"), "b"), insertion(users("z")))
        await storage.commit(change(await snapshot_of(storage), insertions=places))
        assert await ids_in(storage) == ["0", "1", "a", "b", "b1", "b2", "c", "z"]

    async def test_there_is_always_room_for_one_more(self, storage: SessionStorage) -> None:
        """Two hundred insertions at one place, each in a commit of its own, find room, in the middle and in front."""
        await storage.commit(creation("s", *users("a", "z")))
        for number in range(200):
            await storage.commit(appending("s", insertions=(insertion(users(f"m{number}"), "a"),)))
        expected = ["a", *(f"m{number}" for number in reversed(range(200))), "z"]
        assert await ids_in(storage) == expected
        for number in range(200):
            await storage.commit(appending("s", insertions=(insertion(users(f"f{number}"), FRONT),)))
        assert await ids_in(storage) == [*(f"f{number}" for number in reversed(range(200))), *expected]

    async def test_a_long_insertion_finds_room(self, storage: SessionStorage) -> None:
        """Thousands of messages go between two neighbours, or behind all, in one commit."""
        await storage.commit(creation("s", *users("a", "z")))
        many = users(*(f"m{number}" for number in range(3_000)))
        await storage.commit(appending("s", insertions=(insertion(many, "a"),)))
        await storage.commit(appending("s", *users(*(f"e{number}" for number in range(3_000)))))
        ids = await ids_in(storage)
        assert ids == ["a", *(f"m{n}" for n in range(3_000)), "z", *(f"e{n}" for n in range(3_000))]

    async def test_the_outcome_tells_the_places(self, storage: SessionStorage) -> None:
        """What was placed, put into the history of before, gives the history of now: caches rely on it."""
        for seed in range(5):
            history = History(storage, seed, session_id=f"s{seed}")
            await history.run(30)
            for before, after, (commit, committed) in zip(
                history.snapshots, history.snapshots[1:], history.outcomes[1:], strict=False
            ):
                if not (commit.edits or commit.removals):
                    assert list(with_insertions(before.messages, committed.placed)) == list(after.messages)

    # --- tool results

    async def test_L105_a_result_joins_its_call(self, storage: SessionStorage) -> None:
        """A tool's result that comes late goes behind its call, in front of what others said meanwhile."""
        await storage.commit(creation("s", user("q"), call("c", "1")))
        await storage.commit(appending("s", user("meanwhile")))
        committed = await storage.commit(appending("s", result("r", "1"), user("next")))
        assert await ids_in(storage) == ["q", "c", "r", "meanwhile", "next"]
        assert [[m.id for m in place.messages] for place in committed.placed] == [["r"], ["next"]]
        assert [place.after for place in committed.placed] == ["c", None]

    async def test_parallel_results_stay_together(self, storage: SessionStorage) -> None:
        """Results of parallel calls stand behind their call in the order of their coming."""
        await storage.commit(creation("s", call("c", "1", "2", "3")))
        await storage.commit(appending("s", user("meanwhile")))
        for number in ("2", "3", "1"):
            await storage.commit(appending("s", result(f"r{number}", number)))
        assert await ids_in(storage) == ["c", "r2", "r3", "r1", "meanwhile"]

    async def test_a_reused_call_id_means_the_newest_call(self, storage: SessionStorage) -> None:
        """Providers reuse call ids: a result joins the newest call of its id."""
        await storage.commit(creation("s", call("c1", "1"), result("r1", "1"), user("a"), call("c2", "1"), user("b")))
        await storage.commit(appending("s", result("r2", "1")))
        assert await ids_in(storage) == ["c1", "r1", "a", "c2", "r2", "b"]

    async def test_a_result_without_a_call_goes_to_the_end(self, storage: SessionStorage) -> None:
        """A result is kept at the end if there is no such call, or if the call was removed."""
        await storage.commit(creation("s", call("c", "1"), user("a")))
        await storage.commit(appending("s", result("r0", "unknown"), user("b")))
        await storage.commit(change(await snapshot_of(storage), removals=("c",)))
        await storage.commit(appending("s", result("r1", "1")))
        assert await ids_in(storage) == ["a", "r0", "b", "r1"]

    async def test_a_call_and_its_result_can_come_in_one_commit(self, storage: SessionStorage) -> None:
        """A whole turn appended at once stays as it is."""
        await storage.commit(creation("s", user("a")))
        turn = (user("q"), call("c", "1", "2"), result("r1", "1"), result("r2", "2"), user("z"))
        await storage.commit(appending("s", *turn))
        assert await ids_in(storage) == ["a", "q", "c", "r1", "r2", "z"]

    async def test_a_result_with_a_place_takes_it(self, storage: SessionStorage) -> None:
        """An insertion that names its anchor goes there, tool result or not: the merge has decided."""
        await storage.commit(creation("s", call("c", "1"), user("a"), user("b")))
        await storage.commit(change(await snapshot_of(storage), insertions=(insertion([result("r", "1")], "a"),)))
        assert await ids_in(storage) == ["c", "a", "r", "b"]

    # --- edits and removals

    async def test_an_edit_keeps_its_place(self, storage: SessionStorage) -> None:
        """An edited message stays where it stood, as often as it is edited."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        for text in ("one", "two"):
            state = await snapshot_of(storage)
            await storage.commit(change(state, edits=(to_stored(edited(state.messages[1], text)),)))
        state = await snapshot_of(storage)
        assert [message.text for message in state.messages] == ["a", "two", "c"]
        assert state.revision == 3
        assert state.head.message_count == 3

    async def test_removals_take_messages_out(self, storage: SessionStorage) -> None:
        """Removed messages are gone from the newest state; the others keep their order."""
        await storage.commit(creation("s", *users("a", "b", "c", "d")))
        committed = await storage.commit(change(await snapshot_of(storage), removals=("a", "c")))
        assert committed.message_count == 2
        assert await ids_in(storage) == ["b", "d"]

    async def test_everything_at_once(self, storage: SessionStorage) -> None:
        """One commit can remove, edit, insert and append, and is one revision."""
        await storage.commit(creation("s", *users("a", "b", "c")))
        state = await snapshot_of(storage)
        committed = await storage.commit(
            change(
                state,
                head=head_of(title="T"),
                removals=("a",),
                edits=(to_stored(edited(state.messages[1], "B")),),
                insertions=(insertion(users("b1"), "b"), insertion(users("d"))),
            )
        )
        assert committed.revision == 2
        state = await snapshot_of(storage)
        assert [message.text for message in state.messages] == ["B", "b1", "c", "d"]
        assert state.head.title == "T"

    async def test_a_replacement_stands_where_the_replaced_stood(self, storage: SessionStorage) -> None:
        """A compaction in one commit: removals, and the summary behind the neighbour that stays."""
        await storage.commit(creation("s", *users("a", "b", "c", "d")))
        commit = change(await snapshot_of(storage), removals=("b", "c"), insertions=(insertion(users("sum"), "a"),))
        await storage.commit(commit)
        assert await ids_in(storage) == ["a", "sum", "d"]

    async def test_what_names_no_living_message_leaves_nothing(self, storage: SessionStorage) -> None:
        """An edit, removal or anchor without its message is refused with the whole commit."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(change(await snapshot_of(storage), removals=("b",)))
        before = await snapshot_of(storage)
        new = insertion(users("new"))
        wrong: list[Commit] = [
            change(before, insertions=(new,), removals=("unknown",)),
            change(before, insertions=(new,), removals=("b",)),
            change(before, insertions=(new,), edits=(to_stored(user("other", id="b")),)),
            change(before, insertions=(new, insertion(users("more"), "b"))),
        ]
        for commit in wrong:
            with pytest.raises(BambooSessionsError):
                await storage.commit(commit)
        assert content(await snapshot_of(storage)) == content(before)

    async def test_a_history_can_be_written_anew(self, storage: SessionStorage) -> None:
        """With `replace` the messages come as they are: known ids included, results where they were put."""
        await storage.commit(creation("s", call("c", "1"), user("a")))
        state = await snapshot_of(storage)
        new = (user("a"), call("c", "1"), user("between"), result("r", "1"))
        commit = change(state, removals=("c", "a"), insertions=(insertion(new),), replace=True, updated_at=START)
        committed = await storage.commit(commit)
        state = await snapshot_of(storage)
        assert list(state.messages) == list(new)
        assert (committed.duplicates, state.head.updated_at, state.head.message_count) == ((), START, 4)

    # --- the same message again

    async def test_a_message_again_is_a_duplicate(self, storage: SessionStorage) -> None:
        """G4: the same id and content again is reported and not inserted; `created_at` is no content."""
        await storage.commit(creation("s", user("a")))
        later = Message.user("a", id="a", created_at=START + SECOND)
        committed = await storage.commit(appending("s", later, user("b")))
        assert committed.duplicates == ("a",)
        assert [[m.id for m in place.messages] for place in committed.placed] == [["b"]]
        state = await snapshot_of(storage)
        assert [(m.id, m.created_at) for m in state.messages] == [("a", START), ("b", START)]

    async def test_L116_an_equal_message_made_otherwise_is_a_duplicate(self, storage: SessionStorage) -> None:
        """G4: pickled, deeply copied, or with an empty object of its own: equal messages are the same again."""
        native = Native("f", b'{"a":1}')
        one = Message.assistant("", [ToolCall("c", "f")], id="a", metadata={"x": [1]}, native=native)
        plain = user("b")
        await storage.commit(creation("s", one, plain))
        again = pickle.loads(pickle.dumps(one)), copy.deepcopy(plain)  # noqa: S301 - our own bytes
        made = Message.assistant("", [ToolCall("c", "f", "{}")], id="a", metadata={"x": (1,)}, native=native)
        empty = Message.user("b", id="b", metadata={})
        for messages in (again, (made, empty)):
            committed = await storage.commit(appending("s", *messages))
            assert (committed.changed, committed.duplicates) == (False, ("a", "b"))

    async def test_L102_a_retry_after_an_edit_changes_nothing(self, storage: SessionStorage) -> None:
        """G4: content that the message once had is a duplicate; the edit stands."""
        await storage.commit(creation("s", user("first", id="a")))
        for text in ("second", "third"):
            state = await snapshot_of(storage)
            await storage.commit(change(state, edits=(to_stored(edited(state.messages[0], text)),)))
        for text in ("first", "second", "third"):
            committed = await storage.commit(appending("s", user(text, id="a")))
            assert (committed.changed, committed.duplicates) == (False, ("a",))
        assert (await snapshot_of(storage)).messages[0].text == "third"

    async def test_L102_a_retry_after_a_removal_stays_removed(self, storage: SessionStorage) -> None:
        """G4: a removed message that is sent again is a duplicate and doesn't come back."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(change(await snapshot_of(storage), removals=("a",)))
        committed = await storage.commit(appending("s", *users("a", "c")))
        assert committed.duplicates == ("a",)
        assert await ids_in(storage) == ["b", "c"]

    async def test_a_duplicate_inside_one_commit(self, storage: SessionStorage) -> None:
        """The same message twice in one commit comes once."""
        committed = await storage.commit(creation("s", *users("a", "b", "a")))
        assert committed.duplicates == ("a",)
        assert await ids_in(storage) == ["a", "b"]

    async def test_an_id_with_other_content_leaves_nothing(self, storage: SessionStorage) -> None:
        """G4: an id with content never stored is a conflict, and nothing of the commit is written."""
        await storage.commit(creation("s", *users("a", "b")))
        await storage.commit(change(await snapshot_of(storage), removals=("b",)))
        before = await snapshot_of(storage)
        for taken in ("a", "b"):
            commit = appending(
                "s", user("new"), user("other", id=taken), user("z"), records=(RecordWrite("k", "r", b"v"),)
            )
            with pytest.raises(MessageIdConflictError) as refused:
                await storage.commit(commit)
            assert (refused.value.session_id, refused.value.message_id) == ("s", taken)
        assert content(await snapshot_of(storage)) == content(before)
        assert await storage.get_record("default", scope_of("s"), "k", "r") is None
        assert not (await storage.commit(appending("s", user("new")))).duplicates

    async def test_an_id_conflict_inside_one_commit(self, storage: SessionStorage) -> None:
        """Two contents under one id in one commit are a conflict; no session is made by it."""
        with pytest.raises(MessageIdConflictError):
            await storage.commit(creation("s", user("one", id="a"), user("two", id="a")))
        assert await storage.read(creation().key) is None

    async def test_every_field_is_content(self, storage: SessionStorage) -> None:
        """A message that differs in any field but id and time isn't the same message."""
        await storage.commit(creation("s", call("c", "1")))
        others = [
            Message.user("", id="c", created_at=START),
            Message.assistant("", (ToolCall("1", "tool", "{ }"),), id="c"),
            Message.assistant("", (ToolCall("1", "tool"),), id="c", name="n"),
            Message.assistant("", (ToolCall("1", "tool"),), id="c", reasoning="r"),
            Message.assistant("", (ToolCall("1", "tool"),), id="c", metadata={"k": 1}),
            Message.assistant("", (ToolCall("1", "tool"),), id="c", native=Native("f", b"")),
        ]
        for other in others:
            with pytest.raises(MessageIdConflictError):
                await storage.commit(appending("s", other))

    # --- contents

    async def test_L94_every_text_comes_back(self, storage: SessionStorage) -> None:
        """NUL, lone surrogates, any script and a megabyte of text are stored without loss, wherever they stand."""
        texts = [
            "",
            "\0",
            "a\0b",
            "\ud800",
            "x\udfff y",
            "\U0001f600",
            "日本語",
            '"role":"user"',
            "\\",
            "\u2028",
            "é" * 2**20,
        ]
        messages = [
            Message(
                id=str(number),
                created_at=START,
                role="assistant",
                content=text if number % 2 else (TextPart(text), TextPart("")),
                tool_calls=(ToolCall(text, text, text), ToolCall("c", "t", {text: [text]})),
                name=text,
                reasoning=text,
                metadata={text: {"deep": [text, None, 1.5, True, 2**60]}},
                native=Native(text, text.encode(errors="surrogatepass")),
            )
            for number, text in enumerate(texts)
        ]
        await storage.commit(creation("s", *messages))
        assert list((await snapshot_of(storage)).messages) == messages
        for message in messages:
            assert (await storage.commit(appending("s", message))).duplicates == (message.id,)

    async def test_every_part_comes_back(self, storage: SessionStorage) -> None:
        """Parts, tool results with their success, events and developer messages are stored as they are."""
        parts = (
            TextPart("t"),
            ImagePart("i", media_type="image/png", detail="low"),
            FilePart("f", name="n"),
            AudioPart("a", transcript="said"),
        )
        messages = [
            Message.user(parts, id="1"),
            Message.tool(parts, tool_call_id="c", id="2", tool_success=False),
            Message.tool("", tool_call_id="c", id="3", tool_success=True),
            Message(role="event", id="4", content="tick"),
            Message(role="developer", id="5"),
            Message.system("s", id="6"),
        ]
        await storage.commit(creation("s", *messages))
        assert list((await snapshot_of(storage)).messages) == messages

    async def test_native_bytes_come_back(self, storage: SessionStorage) -> None:
        """A framework's own item keeps every byte."""
        data = bytes(range(256)) * 64
        await storage.commit(creation("s", Message.user("", id="a", native=Native("pickle", data))))
        native = (await snapshot_of(storage)).messages[0].native
        assert native is not None
        assert (native.format, native.data) == ("pickle", data)

    async def test_every_field_of_a_head_comes_back(self, storage: SessionStorage) -> None:
        """Texts of any kind and any JSON in a head are stored without loss."""
        nasty = "a\0\ud800日"
        head = head_of(
            owner="owner",
            kind="a word",
            title=nasty,
            title_version=2,
            title_generated=True,
            pinned=True,
            archived=True,
            metadata_version=4,
            authoritative_keys=frozenset({nasty, "k"}),
            model=nasty,
            provider=nasty,
            reasoning_effort=nasty,
            workspace=nasty,
            run_state={"status": nasty, "n": [1, 1.0, True, None]},
            summary=Summary(nasty, "a"),
            metadata={nasty: {"n": [2**70, -0.5, {"": []}]}},
        )
        await storage.commit(creation(head=head))
        stored = (await snapshot_of(storage)).head
        for name in head.__struct_fields__:
            if name not in {"revision", "incarnation", "message_count"}:
                assert getattr(stored, name) == getattr(head, name), name

    async def test_the_size_of_a_snapshot_is_told(self, storage: SessionStorage) -> None:
        """`messages_bytes` is the size of the stored messages: caches are bounded by it."""
        history = History(storage, seed=1)
        await history.run(40)
        state = await snapshot_of(storage)
        assert state.messages_bytes == sum(len(to_stored(message).body) for message in state.messages)
