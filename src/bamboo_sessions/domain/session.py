"""A working copy of a session: plain mutable data without I/O, owned by one task.

It shares the frozen head and messages that it was loaded from and holds only what was changed since, so that making
one costs the same at any length, and saving it costs as much as the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock, utc
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.head import ForkOrigin, SessionHead, Summary, run_status_of
from bamboo_sessions.domain.history import NO_MESSAGES, FrozenMessages, differences
from bamboo_sessions.domain.ids import check_name, check_session_id
from bamboo_sessions.domain.limits import QUESTIONS_PER_SESSION_MAX, SPAWN_DEPTH_MAX, check_limit
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.message_list import MessageList
from bamboo_sessions.domain.question import (
    PendingQuestion,
    Questions,
    advanced,
    check_question,
    oldest_open,
    remembered,
    withdrawn,
)
from bamboo_sessions.domain.session_fields import Field, Fixed, LatestUsage, Title
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.domain.values import shown
from bamboo_sessions.domain.window import model_view, newest

_NONE = type(None)


class Link:
    """What ties a working copy to its store: no business of the user's (see `working_copy`).

    Args:
        base: The snapshot that the copy was loaded from or last saved as; `None` before the first save.
        fence: The token of the run lease that it writes through, if any.
        unsettled: The store's own: the last save, while its outcome isn't known.
        is_foreign: Whether the base came from outside, as in a document: the next save compares it with storage.
    """

    __slots__ = ("base", "fence", "is_foreign", "unsettled")

    def __init__(
        self,
        base: Snapshot | None = None,
        fence: int | None = None,
        unsettled: object = None,
        *,
        is_foreign: bool = False,
    ) -> None:
        self.base = base
        self.fence = fence
        self.unsettled = unsettled
        self.is_foreign = is_foreign

    def copy(self) -> Link:
        """An independent one with the same values."""
        return Link(self.base, self.fence, self.unsettled, is_foreign=self.is_foreign)


class Session:
    """A working copy: one conversation, mutable, not shared between tasks.

    Args:
        id: 1 to 512 characters without control characters.
        model: The model that the agent runs on.
        namespace: The tenant; saving to a repository of another namespace is refused.
        owner: Whom it belongs to inside the namespace; `SessionRepository.set_owner` alone changes it.
        kind: `"root"`, `"child"`, or a word of your own; fixed at creation.
        parent_session_id: The session that spawned it (see `new_child`). It has to live when this one is created, which
            takes root, depth and, if it names none, its owner from it.
        root_session_id: The root of its tree; the session itself, or left out.
        spawn_depth: Distance to that root, 0 to 64; 0: at the root, or left out.
        title: `None` means that it has none yet.
        metadata: Any JSON by text keys.
        created_at, updated_at: Aware times; now by default.
        clock: Where mutators take the time from.

    Raises:
        InvalidSessionIdError, InputError: An argument can't be stored.
    """

    _link: Link
    _changes: dict[str, Any]
    _metadata: dict[str, Any] | None
    _touched_at: datetime | None

    __slots__ = (
        "_changes",
        "_clock",
        "_head",
        "_link",
        "_messages",
        "_metadata",
        "_mutations",
        "_touched_at",
    )

    id = Fixed[str]()
    namespace = Fixed[str]()
    owner = Fixed["str | None"]()
    kind = Fixed[str]()
    parent_session_id = Fixed["str | None"]()
    root_session_id = Fixed[str]()
    spawn_depth = Fixed[int]()
    forked_from = Fixed[ForkOrigin | None]()
    created_at = Fixed[datetime]()
    incarnation = Fixed[int]()
    revision = Fixed[int]()
    authoritative_keys = Fixed[frozenset[str]]()
    title = Title()
    title_version = Field[int](int)
    title_generated = Field[bool](bool)
    pinned = Field[bool](bool)
    archived = Field[bool](bool)
    metadata_version = Field[int](int)
    model = Field["str | None"](str, _NONE)
    provider = Field["str | None"](str, _NONE)
    reasoning_effort = Field["str | None"](str, _NONE)
    workspace = Field["str | None"](str, _NONE)
    token_usage = LatestUsage()
    run_state = Field["str | Mapping[str, Any] | None"](str, Mapping, _NONE)
    summary = Field["Summary | None"](Summary, _NONE)

    def __init__(
        self,
        id: str,
        model: str | None = None,
        *,
        namespace: str = "default",
        owner: str | None = None,
        kind: str = "root",
        parent_session_id: str | None = None,
        root_session_id: str | None = None,
        spawn_depth: int = 0,
        title: str | None = None,
        title_generated: bool = False,
        pinned: bool = False,
        archived: bool = False,
        provider: str | None = None,
        reasoning_effort: str | None = None,
        workspace: str | None = None,
        run_state: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
        updated_at: datetime | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_session_id(id)
        for other in (parent_session_id, root_session_id):
            if other is not None:
                check_session_id(other)
        _check_names(namespace, kind, owner)
        _check_depth(spawn_depth)
        created = clock.now() if created_at is None else utc(created_at, what="Session.created_at")
        head = SessionHead(
            id=id,
            namespace=namespace,
            owner=owner,
            kind=kind,
            parent_session_id=parent_session_id,
            root_session_id=root_session_id or id,
            spawn_depth=spawn_depth,
            created_at=created,
            metadata=json.EMPTY if metadata is None else json.frozen_object(metadata, what="Session.metadata"),
            updated_at=created if updated_at is None else utc(updated_at, what="Session.updated_at"),
        )
        self._become(head, Link(), NO_MESSAGES, clock)
        given = {
            "model": model,
            "title": title,
            "title_generated": title_generated,
            "pinned": pinned,
            "archived": archived,
            "provider": provider,
            "reasoning_effort": reasoning_effort,
            "workspace": workspace,
            "run_state": run_state,
        }
        for name, value in given.items():
            if value is not None and value is not False:
                setattr(self, name, value)
        self._touched_at = None

    def _become(self, head: SessionHead, link: Link, messages: FrozenMessages, clock: Clock) -> None:
        self._head = head
        self._link = link
        self._clock = clock
        self._changes = {}
        self._metadata = None
        self._touched_at = None
        self._mutations = 0
        self._messages = MessageList(messages, self._touch)

    # --- messages and questions

    @property
    def messages(self) -> MessageList:
        """The conversation: behaves as a list and records what is done to it."""
        return self._messages

    @messages.setter
    def messages(self, value: MessageList) -> None:
        if value is self._messages:
            return  # this is how `session.messages += …` ends
        message = (
            "Session.messages can't be assigned: a shorter list would cut the history. Change the list in place; to "
            "trim for a model's window read `history` or `model_view`; to rewrite on purpose use `replace_history`."
        )
        raise AttributeError(message)

    def add_message(self, message: Message) -> None:
        """Append `message`."""
        self._messages.append(message)

    def model_view(self, *, limit: int | None = None) -> tuple[Message, ...]:
        """The messages of this copy that can be sent to a model: no events, no calls without results, nor the reverse.

        Args:
            limit: The newest so many messages at most, 1 or more, cut at the borders of call groups; `None`: all.

        Raises:
            InputError: `limit` can't be meant.
        """
        messages = self._messages._frozen()
        if limit is None:
            return model_view(list(messages))
        if type(limit) is not int or limit < 1:
            message = f"limit must be a whole number of 1 or more, not {limit!r}."
            raise InputError(message, hint="Leave it out for all messages.")
        return model_view(newest(messages, limit))

    @property
    def questions(self) -> Questions:
        """All open questions, and the settled ones that are remembered: the last thousand at least."""
        questions: Questions = self._changes.get("questions", self._head.questions)
        return questions

    @property
    def pending_question(self) -> PendingQuestion | None:
        """The oldest open question."""
        return oldest_open(self.questions)

    @property
    def has_question(self) -> bool:
        """Whether a question is open."""
        return self.pending_question is not None

    def set_pending_question(self, question: PendingQuestion) -> None:
        """Add a question. One that the copy has already, in whatever state, is left as it is."""
        check_question(question)
        if any(known.id == question.id for known in self.questions):
            return
        questions = remembered(self.questions)
        check_limit(f"Session {self.id!r}: questions", len(questions) + 1, QUESTIONS_PER_SESSION_MAX)
        if self._link.fence is not None:
            question = msgspec.structs.replace(question, lease_token=self._link.fence)
        self._change("questions", (*questions, question))

    def clear_pending_question(self) -> None:
        """Withdraw every open question that this copy sees."""
        self._change("questions", withdrawn(self.questions))

    def consume_question(self, question_id: str) -> PendingQuestion:
        """Take up an answer: an answered question becomes consumed when this copy is saved (L97)."""
        for question in self.questions:
            if question.id == question_id and question.state in {"answered", "consumed"}:
                self._change("questions", advanced(self.questions, question_id, "consumed"))
                return question
        message = f"Session {self.id!r} has no answered question {question_id!r} to consume."
        raise InputError(message, hint="Only an answered question can be consumed; load the session again.")

    def withdraw_question(self, question_id: str) -> None:
        """Withdraw one question; nothing happens unless it is open."""
        if any(question.id == question_id and question.is_open for question in self.questions):
            self._change("questions", advanced(self.questions, question_id, "withdrawn"))

    # --- other fields

    @property
    def metadata(self) -> dict[str, Any]:
        """Any JSON by text keys. Change it in place, or assign another map."""
        if self._metadata is None:
            self._metadata = {key: json.thawed(value) for key, value in self._head.metadata.items()}
        return self._metadata

    @metadata.setter
    def metadata(self, value: Mapping[str, Any]) -> None:
        """Make these all the metadata: a key that isn't among them is removed. Raises `InputError`."""
        if value is None or value is not self._metadata:  # it is where `session.metadata |= …` ends
            new = json.thawed(json.frozen_object(value, what="Session.metadata"))
            self.metadata.clear()
            self.metadata.update(new)
        self._touch()

    @property
    def updated_at(self) -> datetime:
        """When it was last changed, aware UTC; can be set by hand."""
        moment: datetime = self._touched_at or self._changes.get("updated_at", self._head.updated_at)
        return moment

    @updated_at.setter
    def updated_at(self, value: datetime) -> None:
        self._change("updated_at", utc(value, what="Session.updated_at"))
        self._touched_at = None

    @property
    def run_status(self) -> str | None:
        """The run state as one word."""
        return run_status_of(self.run_state)

    @property
    def message_count(self) -> int:
        """How many messages the copy has."""
        return len(self._messages)

    def __repr__(self) -> str:
        title = f" {shown(self.title)}" if self.title else ""
        unsaved = ", ".join(self._unsaved())
        counts = f"revision {self.revision}, {len(self._messages)} messages"
        return f"<Session {self.id!r}{title}, {counts}{f', unsaved: {unsaved}' if unsaved else ''}>"

    # --- copies

    def copy(self) -> Session:
        """An independent working copy with the same base and the same unsaved changes."""
        twin = Session.__new__(Session)
        twin._become(self._head, self._link.copy(), NO_MESSAGES, self._clock)
        twin._changes = dict(self._changes)
        twin._metadata = json.thawed(self._metadata)
        twin._touched_at = self._touched_at
        twin._messages = self._messages._copy(twin._touch)
        twin._mutations = self._mutations
        return twin

    def new_child(self, id: str, *, model: str | None = None) -> Session:
        """A new session below this one: same root and namespace, one level deeper.

        It gets its owner when it is created: the one that its parent has then.

        If this one was made from its parent's id alone and isn't saved yet, nobody knows its root and depth: then those
        of the child are filled in when it is created.
        """
        is_placed = self.parent_session_id is None or (self.spawn_depth > 0 and self.root_session_id != self.id)
        return Session(
            id,
            model if model is not None else self.model,
            namespace=self.namespace,
            kind="child",
            parent_session_id=self.id,
            root_session_id=self.root_session_id if is_placed else None,
            spawn_depth=self.spawn_depth + 1 if is_placed else 0,
            workspace=self.workspace,
            clock=self._clock,
        )

    # --- inside

    def _unsaved(self) -> Iterator[str]:
        """What was changed since the last save, in words; a session that never was saved says so by its revision."""
        if self._link.base is None:
            return
        if not self._messages._is_clean:
            done = differences(self._messages._base, self._messages._frozen())
            counts = {"added": len(done.added), "edited": len(done.edited), "removed": len(done.removed)}
            yield "messages " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        yield from (name for name in self._changes if name not in {"updated_at", "title_version"})
        if self._metadata is not None and not json.same(self._metadata, self._head.metadata):
            yield "metadata"

    def _change(self, name: str, value: object) -> None:
        self._note(name, value)
        self._touch()

    def _note(self, name: str, value: object) -> None:
        if json.same(value, getattr(self._head, name)):
            self._changes.pop(name, None)
        else:
            self._changes[name] = value

    def _touch(self) -> None:
        self._mutations += 1
        self._touched_at = self._now()

    def _now(self) -> datetime:
        return max(self._clock.now(), self._head.updated_at)


def _check_names(namespace: str, kind: str, owner: str | None) -> None:
    check_name(namespace, what="namespace")
    check_name(kind, what="kind of session")
    if owner is not None:
        check_name(owner, what="owner")


def _check_depth(depth: object) -> None:
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        message = f"Session.spawn_depth must be a whole number of 0 or more, not {depth!r}."
        raise InputError(message, hint="Use `new_child`, which counts by itself.")
    check_limit("Spawn depth", depth, SPAWN_DEPTH_MAX)
