"""Hypothesis strategies for everything that a session is made of, and for histories that were edited on two sides.

They go to the edges on purpose: NUL and lone surrogates in any text (L94), letters beyond the first plane, call ids
that providers reuse, arguments as text and as objects, metadata of any JSON, native items of any bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Final

import msgspec

from bamboo_sessions.domain.head import SessionHead, Summary
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.message import (
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    Native,
    Part,
    Role,
    TextPart,
    ToolCall,
)
from bamboo_sessions.domain.message_list import MessageList
from bamboo_sessions.domain.question import PendingQuestion, QuestionOption
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageRecord
from bamboo_sessions.domain.working_copy import copy_of

try:
    from hypothesis import strategies as st
except ImportError as exc:
    message = "bamboo_sessions.testing.strategies needs hypothesis: `pip install hypothesis`."
    raise ImportError(message) from exc

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""Any JSON value."""

_NASTY: Final = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "x\udfffy",
    "😀",
    "\U0001d4b3",
    "日本語",
    '"role":"user"',
    "\\",
    "\u2028",
    "\x7f",
)
_CALL_IDS: Final = ("call-1", "call-2", "call-3")  # few, for providers reuse them
_KEYS: Final = ("colour", "plan", "note")


def texts(*, max_size: int = 30) -> st.SearchStrategy[str]:
    """Any text, lone surrogates and NUL included."""
    return st.one_of(st.sampled_from(_NASTY), st.text(st.characters(), max_size=max_size))


def ids() -> st.SearchStrategy[str]:
    """What may be an id: 1 to 20 characters without control characters and lone surrogates."""
    return st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


def times() -> st.SearchStrategy[datetime]:
    """Aware times in UTC, to the microsecond."""
    first, last = datetime(1970, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - hypothesis adds the time zone
    return st.datetimes(first, last, timezones=st.just(UTC))


def json_values() -> st.SearchStrategy[Json]:
    """Any JSON value, whole numbers beyond 64 bits included."""
    numbers = st.one_of(st.integers(), st.integers(min_value=2**62, max_value=2**200), st.floats(allow_nan=False))
    plain = st.one_of(st.none(), st.booleans(), numbers.filter(lambda n: n not in _INFINITE), texts())
    return st.recursive(
        plain,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(), inner, max_size=3)),
        max_leaves=6,
    )


_INFINITE: Final = (float("inf"), float("-inf"))


def metadata() -> st.SearchStrategy[dict[str, Json]]:
    """A metadata map."""
    return st.dictionaries(st.one_of(st.sampled_from(_KEYS), texts()), json_values(), max_size=4)


def tool_calls() -> st.SearchStrategy[ToolCall]:
    """A tool call with arguments as text (valid or not) or as an object."""
    arguments = st.one_of(texts(), st.just('{"a": 1}'), st.dictionaries(texts(), json_values(), max_size=3))
    return st.builds(ToolCall, id=st.one_of(st.sampled_from(_CALL_IDS), texts()), name=texts(), arguments=arguments)


def parts() -> st.SearchStrategy[Part]:
    """One part of a message's content."""
    maybe = st.none() | texts()
    return st.one_of(
        st.builds(TextPart, text=texts()),
        st.builds(ImagePart, url=texts(), media_type=maybe, detail=maybe),
        st.builds(FilePart, url=texts(), name=maybe, media_type=maybe),
        st.builds(AudioPart, url=texts(), media_type=maybe, transcript=maybe),
    )


def contents() -> st.SearchStrategy[str | tuple[Part, ...]]:
    """Text, or parts."""
    return st.one_of(texts(), st.lists(parts(), max_size=3).map(tuple))


def messages(*, id: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Message]:
    """A message of any role with any fields."""
    roles: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool", "event")
    return st.builds(
        Message,
        id=ids() if id is None else id,
        created_at=times(),
        role=st.sampled_from(roles),
        content=contents(),
        tool_calls=st.lists(tool_calls(), max_size=2).map(tuple),
        tool_call_id=st.one_of(st.none(), st.sampled_from(_CALL_IDS), texts()),
        tool_success=st.none() | st.booleans(),
        name=st.none() | texts(),
        reasoning=st.none() | texts(),
        metadata=metadata(),
        native=st.none() | st.builds(Native, format=texts(), data=st.binary(max_size=20)),
    )


def questions() -> st.SearchStrategy[PendingQuestion]:
    """An open question, with and without options."""
    options = st.lists(st.one_of(texts(), st.builds(QuestionOption, id=texts(), label=texts())), max_size=3)
    return st.builds(
        PendingQuestion,
        tool_call_id=st.sampled_from(_CALL_IDS),
        tool_name=texts(),
        question=texts(),
        options=options.map(tuple),
        allow_custom=st.booleans(),
        source=st.none() | texts(),
        id=ids(),
        asked_at=times(),
    )


def token_usage_records() -> st.SearchStrategy[TokenUsageRecord]:
    """A record of the token ledger."""
    counts = st.integers(0, 10**9)
    return st.builds(
        TokenUsageRecord,
        id=ids(),
        at=times(),
        model=st.none() | texts(),
        provider=st.none() | texts(),
        input_tokens=counts,
        output_tokens=counts,
        cache_read_input_tokens=counts,
        cache_creation_input_tokens=counts,
        thinking_tokens=counts,
        metadata=metadata(),
    )


def sessions(*, messages_max: int = 4) -> st.SearchStrategy[Session]:
    """A new working copy, never saved, with any fields and up to `messages_max` messages."""

    @st.composite
    def build(draw: st.DrawFn) -> Session:
        session = Session(
            draw(ids()),
            draw(st.none() | texts()),
            owner=draw(st.none() | ids()),
            title=draw(st.none() | texts()),
            pinned=draw(st.booleans()),
            archived=draw(st.booleans()),
            run_state=draw(st.none() | texts() | metadata()),
            metadata=draw(metadata()),
            created_at=draw(times()),
            updated_at=draw(times()),
        )
        for message in draw(st.lists(messages(), max_size=messages_max, unique_by=lambda message: message.id)):
            session.add_message(message)
        for question in draw(st.lists(questions(), max_size=2)):
            session.set_pending_question(question)
        return session

    return build()


def heads() -> st.SearchStrategy[SessionHead]:
    """The head of a committed session, with any fields."""
    return st.builds(
        SessionHead,
        id=ids(),
        namespace=ids(),
        owner=st.none() | ids(),
        root_session_id=ids(),
        created_at=times(),
        updated_at=times(),
        incarnation=st.just(1),
        revision=st.integers(1, 2**40),
        title=st.none() | texts(),
        title_version=st.integers(0, 9),
        title_generated=st.booleans(),
        pinned=st.booleans(),
        archived=st.booleans(),
        metadata_version=st.integers(0, 9),
        model=st.none() | texts(),
        provider=st.none() | texts(),
        reasoning_effort=st.none() | texts(),
        workspace=st.none() | texts(),
        token_usage=st.none() | st.builds(TokenUsage, input_tokens=st.integers(0, 9)),
        run_state=st.none() | texts() | metadata(),
        summary=st.none() | st.builds(Summary, text=texts(), covers_through=ids()),
        metadata=metadata(),
        questions=st.lists(questions(), max_size=3, unique_by=lambda question: question.id).map(tuple),
    )


# --- histories that were edited on two sides


class Divergence:
    """What was committed once (`base`), and two working copies of it that went separate ways (`mine`, `theirs`)."""

    def __init__(self, base: Snapshot, mine: Session, theirs: Session) -> None:
        self.base = base
        self.mine = mine
        self.theirs = theirs

    def __repr__(self) -> str:
        """The three histories in short, so that a failing example can be understood."""
        sides = (("base", self.base.messages), ("mine", self.mine.messages), ("theirs", self.theirs.messages))
        return "\n".join(f"{name}: {', '.join(map(_in_short, messages))}" for name, messages in sides)


def _in_short(message: Message) -> str:
    calls = "".join(f" calls {call.id}" for call in message.tool_calls)
    answers = f" answers {message.tool_call_id}" if message.tool_call_id else ""
    edited = " (edited)" if message.text.startswith("edited") else ""
    return f"{message.id} {message.role}{calls}{answers}{edited}"


_numbers: Final = count(1)


def _small_messages() -> tuple[Message, ...]:
    calls = (("call-1",), ("call-2",), ("call-1", "call-2"), ("call-2", "call-3"), ("call-1", "call-1"))
    return (
        Message.user("said"),
        Message.assistant("thought"),
        Message(role="event", content="tick"),
        *(Message.assistant("", [ToolCall(id_, "tool") for id_ in ids_]) for ids_ in calls),
        *(Message.tool("result", tool_call_id=id_) for id_ in _CALL_IDS),
    )


def new_messages(prefix: str) -> st.SearchStrategy[Message]:
    """A small message with a new id that begins with `prefix`; many call tools or answer calls."""
    small = st.sampled_from(_small_messages())
    return small.map(lambda message: msgspec.structs.replace(message, id=f"{prefix}-{next(_numbers)}"))


@st.composite
def edits(draw: st.DrawFn, messages: MessageList, prefix: str, *, only_append: bool = False) -> None:
    """Do one random thing to `messages`: append, insert, edit, exchange, delete, or replace a slice.

    An edit changes the text, or makes another thing of the message: one that makes a call, or none any more (L125).
    """
    kinds = ["append"]
    if len(messages) and not only_append:
        kinds += ["insert", "edit", "become", "exchange", "delete", "replace"]
    kind = draw(st.sampled_from(kinds))
    index = draw(st.integers(0, max(0, len(messages) - 1)))
    if kind == "append":
        messages.append(draw(new_messages(prefix)))
    elif kind == "insert":
        messages.insert(index, draw(new_messages(prefix)))
    elif kind == "edit":
        old = messages[index]
        text = f"edited by {draw(st.sampled_from([prefix, 'both']))}"
        messages[index] = msgspec.structs.replace(old, content=text)
    elif kind == "become":
        old = messages[index]
        other = draw(st.sampled_from(_small_messages()))
        messages[index] = msgspec.structs.replace(other, id=old.id, created_at=old.created_at)
    elif kind == "exchange":
        messages[index] = draw(new_messages(prefix))
    elif kind == "delete":
        del messages[index : draw(st.integers(index, len(messages)))]
    else:
        _replace_slice(draw, messages, prefix, index)


def _replace_slice(draw: st.DrawFn, messages: MessageList, prefix: str, start: int) -> None:
    """Put new messages in the place of some, and let others of the slice stay where they are, in their order."""
    stop = draw(st.integers(start, min(len(messages), start + 4)))
    kept = [message for message in messages[start:stop] if draw(st.booleans())]
    new = list(kept)
    for _ in range(draw(st.integers(0, 2))):
        new.insert(draw(st.integers(0, len(new))), draw(new_messages(prefix)))
    messages[start:stop] = new


@st.composite
def snapshots(draw: st.DrawFn, *, messages_max: int = 8) -> Snapshot:
    """A committed session with a few small messages."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    history = FrozenMessages(draw(st.lists(new_messages("base"), max_size=messages_max)))
    head = SessionHead(
        id="s",
        root_session_id="s",
        created_at=moment,
        updated_at=moment,
        revision=draw(st.integers(1, 9)),
        incarnation=1,
        title="base",
        metadata_version=draw(st.integers(0, 3)),
        model="base",
        metadata={"colour": "base", "plan": "base"},
        authoritative_keys=frozenset(draw(st.sets(st.sampled_from(["colour", "plan"])))),
        message_count=len(history),
    )
    return Snapshot(head, history)


@st.composite
def divergences(draw: st.DrawFn, *, only_append: bool = False) -> Divergence:
    """A snapshot and two working copies of it, each with a few random edits and fields changed.

    Now and then they share messages that were new to both: one began as a twin of the other, unsaved work included, or
    both got the same ones, as the results that a tool's process appends and the agent has in its copy, too (L124).
    """
    base = draw(snapshots())
    mine = copy_of(base)
    _work(draw, mine, "mine", only_append=only_append)
    theirs = mine.copy() if draw(st.integers(0, 3)) == 0 else copy_of(base)
    _work(draw, theirs, "theirs", only_append=only_append)
    for shared in draw(st.lists(new_messages("both"), max_size=2)):
        for copy in (mine, theirs):
            length = len(copy.messages)
            copy.messages.insert(length if only_append or draw(st.booleans()) else draw(st.integers(0, length)), shared)
    if draw(st.booleans()):
        _work(draw, mine, "mine", only_append=only_append)
    return Divergence(base, mine, theirs)


def _work(draw: st.DrawFn, copy: Session, prefix: str, *, only_append: bool) -> None:
    for _ in range(draw(st.integers(0, 5))):
        draw(edits(copy.messages, prefix, only_append=only_append))
    _change_fields(draw, copy, prefix)


def _change_fields(draw: st.DrawFn, session: Session, prefix: str) -> None:
    for name in draw(st.sets(st.sampled_from(["model", "provider", "workspace", "run_state", "title"]), max_size=3)):
        setattr(session, name, f"{prefix}'s")
    if draw(st.booleans()):
        session.metadata_version += draw(st.integers(0, 1))
    for key in draw(st.sets(st.sampled_from(_KEYS), max_size=2)):
        session.metadata[key] = draw(st.sampled_from([f"{prefix}'s", "both"]))
    for key in draw(st.sets(st.sampled_from(_KEYS), max_size=1)):
        session.metadata.pop(key, None)
    if draw(st.booleans()):
        session.set_pending_question(PendingQuestion("call-1", "ask", "Go?", id=f"question-{prefix}"))
