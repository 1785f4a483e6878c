from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.call_groups import groups_of
from bamboo_sessions.domain.message import ImagePart, Message, Native, ToolCall
from bamboo_sessions.domain.window import end_of_window, first_of_window, model_view
from bamboo_sessions.testing import strategies


def _call(*ids: str, text: str = "", id: str = "call") -> Message:
    return Message.assistant(text, [ToolCall(call_id, "f") for call_id in ids], id=id)


def _result(call_id: str, id: str | None = None) -> Message:
    return Message.tool("r", tool_call_id=call_id, id=id or f"result-{call_id}")


USER = Message.user("u", id="user")
EVENT = Message(role="event", content="e", id="event")


@st.composite
def accepted_histories(draw: st.DrawFn) -> list[Message]:
    """A history in which each call is followed by its results, as every merged one is."""
    history: list[Message] = []
    for _ in range(draw(st.integers(0, 6))):
        count = draw(st.integers(0, 4))
        if count:
            history.append(Message.assistant("", [ToolCall(str(number), "f") for number in range(count)]))
            history += [Message.tool("r", tool_call_id=str(number)) for number in range(count)]
        else:
            history.append(Message.user("u"))
    return history


def _begins_whole(window: Sequence[Message]) -> bool:
    return not window or window[0].role != "tool"


@given(accepted_histories(), st.integers(1, 6))
def test_L54_paging_backwards_shows_everything_once(history: list[Message], limit: int) -> None:
    """Windows from the newest to the oldest show each message once, and none begins with a cut-off result (L54)."""
    rest, pages = history, []
    while rest:
        start = first_of_window(rest, limit, has_earlier=False)
        assert start is not None
        assert _begins_whole(rest[start:])
        pages.append(rest[start:])
        rest = rest[:start]
    assert [message for page in reversed(pages) for message in page] == history


@given(accepted_histories(), st.integers(1, 6))
def test_L54_paging_forwards_shows_everything_once(history: list[Message], limit: int) -> None:
    """Windows from the oldest to the newest show each message once, and none begins with a cut-off result (L54)."""
    rest, pages = history, []
    while rest:
        end = end_of_window(rest, limit, has_later=False)
        assert end is not None
        assert end > 0
        assert _begins_whole(rest[:end])
        pages.append(rest[:end])
        rest = rest[end:]
    assert [message for page in pages for message in page] == history


@given(accepted_histories(), st.integers(1, 6))
def test_a_window_is_only_longer_than_the_limit_if_one_pair_is(history: list[Message], limit: int) -> None:
    """A window has more than `limit` messages only if it is a single call with its results."""
    start = first_of_window(history, limit, has_earlier=False)
    end = end_of_window(history, limit, has_later=False)
    for window in (history[start:], history[:end]):
        heads = [message for message in window if message.role != "tool"]
        assert len(window) <= limit or len(heads) == 1


@given(st.lists(strategies.new_messages("x"), max_size=12), st.integers(0, 12), st.integers(1, 6))
def test_L124_no_border_of_a_window_is_inside_a_call_group(history: list[Message], known: int, limit: int) -> None:
    """Of any history, orphans and reused call ids included, however much of it was read to cut the window."""
    inside = {place for group in groups_of(history) for place in range(group.start + 1, group.end)}
    cut = min(known, len(history))
    start = first_of_window(history[cut:], limit, has_earlier=cut > 0)
    assert start is None or cut + start not in inside
    end = end_of_window(history[:cut], limit, has_later=cut < len(history))
    if end is not None and end < cut:
        assert end not in inside


def test_the_newest_window_is_cut_before_a_call() -> None:
    """A window that would begin with a result begins behind the pair; if nothing follows the pair, before it."""
    pair = [_call("a", "b"), _result("a"), _result("b")]
    assert first_of_window([USER, *pair, USER, USER], 3, has_earlier=False) == 4
    assert first_of_window([USER, *pair], 2, has_earlier=False) == 1
    assert first_of_window([USER, *pair], 3, has_earlier=False) == 1
    assert first_of_window([USER, *pair], 4, has_earlier=False) == 0


def test_a_pair_that_begins_earlier_asks_for_more() -> None:
    """If the call isn't among what was read, more has to be read."""
    assert first_of_window([_result("a"), _result("b")], 2, has_earlier=True) is None
    assert end_of_window([_call("a", "b"), _result("a"), _result("b")], 2, has_later=True) is None


def test_the_oldest_window_ends_before_a_call() -> None:
    """A window ends behind a whole pair, or before it."""
    history = [USER, _call("a"), _result("a"), USER]
    assert [end_of_window(history, limit, has_later=False) for limit in (1, 2, 3)] == [1, 1, 3]
    assert end_of_window(history, 5, has_later=False) == 4


def test_results_of_an_older_call_begin_a_history() -> None:
    """A window begins behind results whose call is not there, unless they are the first messages of all."""
    assert first_of_window([_result("a"), USER, USER], 2, has_earlier=True) == 1
    assert first_of_window([_result("a"), USER, USER], 3, has_earlier=True) == 1
    assert first_of_window([_result("a"), USER, USER], 3, has_earlier=False) == 0


def test_parallel_calls_are_one_group_for_windows() -> None:
    """No border is inside a run of calls and its results, also where only what isn't read could tell that."""
    text = Message.assistant("and", id="and")
    run = [_call("a"), text, EVENT, _call("b"), _result("a"), _result("b")]
    history = [USER, *run, USER, USER]
    assert [first_of_window(history, limit, has_earlier=False) for limit in range(1, 9)] == [8, 7, 7, 7, 7, 7, 7, 1]
    assert [end_of_window(history, limit, has_later=False) for limit in range(1, 9)] == [1, 1, 1, 1, 1, 1, 7, 8]
    assert first_of_window([text, _call("b"), _result("b")], 2, has_earlier=True) is None
    assert first_of_window([USER, _call("b"), _result("b")], 2, has_earlier=True) == 1
    assert end_of_window([_call("a"), text], 1, has_later=True) is None
    assert end_of_window([_call("a"), text, USER], 1, has_later=True) == 1


def test_all_that_is_left_is_one_window() -> None:
    """A history of exactly `limit` messages isn't parted; a longer one is looked through to its end for a border."""
    assert end_of_window([USER, USER, USER], 3, has_later=False) == 3
    assert end_of_window([_call("a", "b"), _result("a"), _result("b"), USER], 2, has_later=False) == 3


# --- the model's view


def _view(*messages: Message) -> list[str]:
    return [message.id for message in model_view(messages)]


@given(st.lists(strategies.new_messages("x"), max_size=12))
def test_L93_a_model_never_sees_orphans(history: list[Message]) -> None:
    """In any view each run of calls has exactly its results right behind it, and each result its call (L93)."""
    seen = list(model_view(history))
    assert all(message.role != "event" for message in seen)
    waiting: list[str] = []
    before = ""
    for message in seen:
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
        else:
            assert waiting == [] or before == message.role == "assistant"
            waiting += [call.id for call in message.tool_calls]
        before = message.role
    assert waiting == []


@given(st.lists(strategies.new_messages("x"), max_size=12))
def test_a_view_only_leaves_out(history: list[Message]) -> None:
    """A view has no message that isn't stored, in no other order, and everything that a person said."""
    seen = [message.id for message in model_view(history)]
    stored = [message.id for message in history]
    assert seen == [id for id in stored if id in set(seen)]
    assert [message for message in history if message.role == "user"] == [
        message for message in model_view(history) if message.role == "user"
    ]


@given(accepted_histories())
def test_a_whole_history_is_seen_as_it_is(history: list[Message]) -> None:
    """Where nothing is wrong, nothing is left out or changed."""
    assert list(model_view(history)) == history


def test_L93_an_interrupted_call_is_left_out() -> None:
    """A call without a result is hidden; what was said with it stays (L93)."""
    assert _view(USER, _call("a")) == ["user"]
    (spoken,) = model_view([_call("a", text="Let me see")])
    assert spoken.text == "Let me see"
    assert spoken.tool_calls == ()


def test_a_message_of_parts_without_text_stays() -> None:
    """An image is something said, too."""
    image = Message(role="assistant", content=(ImagePart("i"),), tool_calls=(ToolCall("a", "f"),), id="image")
    assert _view(image) == ["image"]


def test_half_answered_calls_are_seen_in_part() -> None:
    """Of two calls the one with a result is shown; the native form, which still has both, isn't."""
    both = Message.assistant("", [ToolCall("a", "f"), ToolCall("b", "f")], native=Native("x", b"both"))
    shown, answer = model_view([both, _result("b")])
    assert [tool_call.id for tool_call in shown.tool_calls] == ["b"]
    assert shown.native is None
    assert answer.tool_call_id == "b"
    whole, *_ = model_view([both, _result("a"), _result("b")])
    assert whole is both


def test_results_without_their_call_are_left_out() -> None:
    """A result that stands behind something else, was followed by a newer one, or has no call id isn't shown."""
    assert _view(_result("a"), USER) == ["user"]
    assert _view(_call("a"), USER, _result("a")) == ["user"]
    assert _view(_call("a"), _result("a"), _result("a", id="again")) == ["call", "again"]
    assert _view(_call("a"), Message(role="tool", content="x", id="no call"), _result("a")) == ["call", "result-a"]


def test_parallel_calls_in_messages_of_their_own_are_seen() -> None:
    """[A][B][a][b] is one group: all of it is shown (L126)."""
    calls = [_call("a", id="A"), _call("b", id="B")]
    assert _view(*calls, _result("a"), _result("b")) == ["A", "B", "result-a", "result-b"]
    assert _view(_call("a", id="A"), _call("b", id="B"), _result("b")) == ["B", "result-b"]


def test_of_n_calls_with_one_id_n_results_are_seen() -> None:
    """Some providers give one id to several calls of a message: each keeps a result, the last ones."""
    results = [_result("a", id=id) for id in ("r1", "r2", "r3")]
    assert _view(_call("a", "a"), *results[:2]) == ["call", "r1", "r2"]
    assert _view(_call("a", "a"), *results) == ["call", "r2", "r3"]
    shown, answer = model_view([_call("a", "a"), results[0]])
    assert (len(shown.tool_calls), answer.id) == (1, "r1")


def test_an_assistant_that_says_nothing_is_left_out() -> None:
    """Providers refuse an empty message of the assistant; a person's is shown, and what only its framework can read."""
    empty = Message.assistant("", id="empty")
    assert _view(USER, empty, Message.user("", id="nothing")) == ["user", "nothing"]
    assert _view(_call("a"), empty, _call("b", id="B"), _result("a"), _result("b")) == [
        "call",
        "B",
        "result-a",
        "result-b",
    ]
    assert _view(msgspec.structs.replace(empty, native=Native("x", b"item"))) == ["empty"]


def test_calls_that_only_an_assistant_can_make() -> None:
    """What looks like a call in a person's message isn't one: it is shown without."""
    (shown,) = model_view([Message(role="user", content="u", tool_calls=(ToolCall("a", "f"),)), _result("a")])
    assert shown.tool_calls == ()


def test_events_are_not_seen() -> None:
    """An event between a call and its result doesn't part them."""
    assert _view(EVENT, _call("a"), EVENT, _result("a"), EVENT) == ["call", "result-a"]


@pytest.mark.parametrize("limit", [1, 10])
def test_an_empty_history_has_an_empty_window(limit: int) -> None:
    """Nothing is a window of nothing."""
    assert end_of_window([], limit, has_later=False) == 0
    assert model_view([]) == ()
