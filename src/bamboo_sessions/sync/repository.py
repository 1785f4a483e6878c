"""The twin of `SessionRepository`. Written by `python -m tests.sync.generate`; don't edit it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

from bamboo_sessions.domain.change import SessionChange
from bamboo_sessions.domain.clock import SYSTEM_CLOCK, Clock
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.lease import LeaseInfo
from bamboo_sessions.domain.limits import (
    CACHE_BYTES_MAX,
    FEED_PAGE_ROWS_MAX,
    LEASE_SECONDS_DEFAULT,
    PAGE_DEFAULT,
    SEARCH_DEFAULT,
)
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.question import PendingQuestion
from bamboo_sessions.domain.report import (
    Appended,
    CheckReport,
    CleanupReport,
    HistoryPage,
    MergeReport,
    SessionPage,
    UnsavedWork,
)
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageTotals
from bamboo_sessions.repository.leases import OnBusy
from bamboo_sessions.repository.lifecycle import CleanupMode
from bamboo_sessions.repository.listing import SessionFilters
from bamboo_sessions.repository.repository import SessionRepository
from bamboo_sessions.repository.searching import SearchFilters
from bamboo_sessions.storage.commit import RecordWrite
from bamboo_sessions.storage.open import Durability
from bamboo_sessions.storage.port import Progress, SessionStorage
from bamboo_sessions.storage.query import Order
from bamboo_sessions.sync.blocks import Block, iterated, same
from bamboo_sessions.sync.handles import SyncHandle
from bamboo_sessions.sync.records import SyncRecords
from bamboo_sessions.sync.run_lease import SyncRunLease


class SyncSessionRepository(SyncHandle[SessionRepository]):
    """`SessionRepository` for programs without an event loop: the same calls, without `await`.

    `with SyncSessionRepository.open(url) as sessions:`; or `open` it, keep it for as long as the process lives, and
    `close` it. One object serves any number of threads. Behind it runs an event loop in a thread of its own; a call
    blocks its thread until it has ended. Working copies, blocks and iterators belong to one thread at a time.

    Every call that writes is atomic and durable on return (G1). If Ctrl-C or another signal interrupts the waiting,
    the call is cancelled, and over before the interruption goes on; a commit that was under way is made or not
    (G10). All raise `InputError` for arguments that can't be meant, and `StorageError` if storage fails, the
    handle is closed, or this is a forked child: open one in each process, after the fork.
    """

    @property
    def namespace(self) -> str:
        """The tenant whose sessions this handle sees; never another's."""
        return self._inner.namespace

    def load(self, session_id: str, *, fresh: bool = False) -> Session | None:
        """A working copy of the session, or `None` if there is none.

        From the cache if that is current, else from storage; never older than this repository showed it before, or
        than its own last acknowledged write (G7). On SQLite it sees every commit that any process acknowledged
        before the call. Work of a tolerant save that isn't durable yet is part of what is loaded.

        Args:
            session_id: Which session.
            fresh: Ask storage in any case.

        Raises:
            StorageError: Storage failed; that is never read as absence (G8).
        """
        return self._portal.call(self._inner.load(session_id, fresh=fresh))

    def load_best_effort(self, session_id: str) -> Session | None:
        """As `load`, but a storage error is logged and read as absence: for read-only display, never before a save."""
        return self._portal.call(self._inner.load_best_effort(session_id))

    def load_merged(self, session_id: str) -> Session | None:
        """The memory copy against the durable copy: the newer one, or the merge of both.

        Storage is asked in any case. It is preferred if it is strictly newer, or of the same age and carrying an open
        question that memory lost; never if it is strictly older. Work in memory that isn't durable yet is merged into
        it. The cache is refreshed only if it gets newer.

        Raises:
            StorageError: Storage failed.
        """
        return self._portal.call(self._inner.load_merged(session_id))

    def load_or_create(self, session_id: str, *, model: str | None = None) -> Session:
        """The session, or a new one of this id that isn't persisted until it is saved.

        Raises:
            StorageError: Storage failed; no empty session is made in place of one that can't be read (L26).
            SessionDeletedError: It was deleted; only `create` makes it again (G9).
        """
        return self._portal.call(self._inner.load_or_create(session_id, model=model))

    def get(self, session_id: str) -> Session:
        """As `load`; raises `SessionNotFoundError` if there is none."""
        return self._portal.call(self._inner.get(session_id))

    def history(
        self,
        session_id: str,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = PAGE_DEFAULT,
        at_revision: int | None = None,
    ) -> HistoryPage:
        """A window of the messages, without loading the rest. Call groups are never cut.

        Args:
            session_id: Which session.
            after: The oldest messages behind this message id. Neither `after` nor `before`: the newest messages.
            before: The newest messages in front of this message id.
            limit: Messages at most, 1 to 1000; fewer where a call group would be cut, more if one alone is longer.
            at_revision: The messages as they were at this revision of the current incarnation.

        Raises:
            SessionNotFoundError: There is no such session.
            MessageNotFoundError: The anchor was never in it (a removed one pages from its place).
            InputError: `limit` or `at_revision` is out of range.
        """
        return self._portal.call(
            self._inner.history(session_id, after=after, before=before, limit=limit, at_revision=at_revision)
        )

    def model_view(self, session_id: str, *, limit: int | None = None) -> tuple[Message, ...]:
        """The messages that can be sent to a model: no events, no calls without results, no results without calls.

        Args:
            session_id: Which session.
            limit: The newest so many messages at most, cut at the borders of call groups; `None`: all.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        return self._portal.call(self._inner.model_view(session_id, limit=limit))

    def find_message(self, message_id: str) -> tuple[str, Message] | None:
        """A message of this namespace by its id alone, and the id of its session; `None` if no session has it now.

        Forks have messages of their originals: then it is the original's, while that lives. Work of tolerant saves that
        isn't durable yet counts.
        """
        return self._portal.call(self._inner.find_message(message_id))

    def list_sessions(
        self,
        *,
        limit: int = PAGE_DEFAULT,
        cursor: str | None = None,
        order: Order = "-updated_at",
        total: bool = False,
        **filters: Unpack[SessionFilters],
    ) -> SessionPage:
        """A page of sessions without their messages, each as `load` shows it. Filters apply before paging.

        Work of tolerant saves that isn't durable yet counts, also in filters and orders.

        Args:
            limit: Rows at most, 1 to 1000. While work waits, a page may have fewer, and be followed by another.
            cursor: `next_cursor` of the page before.
            order: `-updated_at` (newest first), `updated_at`, `-created_at` or `created_at`.
            total: Count all that match, too; that reads them all.
            filters: See `SessionFilters`.

        Raises:
            InputError: A wrong limit, order or cursor.
            StorageCorruptError: A session of the page can't be read. It is named; leaving it out would be wrong (G8).
        """
        return self._portal.call(
            self._inner.list_sessions(limit=limit, cursor=cursor, order=order, total=total, **filters)
        )

    def iter_sessions(
        self, *, page_size: int = PAGE_DEFAULT, order: Order = "-updated_at", **filters: Unpack[SessionFilters]
    ) -> Iterator[SessionHead]:
        """All sessions that match, each once, page by page; holds no lock and no connection between pages (L91).

        Sessions that are saved meanwhile aren't missed, whichever way that moves them: those that moved ahead of the walk
        come at its end. So orders by `updated_at` keep the ids in memory that came already. Takes the filters and orders
        of `list_sessions`; `page_size` is 1 to 1000. Raises `InputError`.
        """
        return iterated(
            self._portal, self._inner.iter_sessions(page_size=page_size, order=order, **filters), ahead=PAGE_DEFAULT
        )

    def search(
        self,
        text: str,
        *,
        limit: int = SEARCH_DEFAULT,
        include_tools: bool = False,
        on_progress: Progress | None = None,
        **filters: Unpack[SearchFilters],
    ) -> SearchPage:
        """The texts of this namespace that match, best first.

        All of what `text` asks for has to be in one title, one summary or one message: words (of three letters or
        more also as a part of a word), `"phrases"`, `prefix*`, `-not`. Case and accents don't matter. What was
        acknowledged before the call is found, whoever wrote it; what was edited, removed or deleted is not (L46).
        Another namespace is never seen (L99).

        Of a text of more than `SEARCHED_CHARS_MAX` characters the beginning is searched. Where more than
        `SEARCH_RANKED` texts match, the newest are ranked. On SQLite the first search of a store builds the index,
        which takes about a minute for 300,000 messages and doesn't hold up anybody else. Interrupting stops it;
        what is indexed by then stays.

        Args:
            text: What to look for.
            limit: Hits at most, 1 to 1000.
            include_tools: Look in the results of tools, and in names and arguments of tool calls, too.
            on_progress: Called with messages indexed so far and in all, while an index is built first.
            filters: See `SearchFilters`.

        Raises:
            InputError: Nothing to look for, a wrong limit or filter (`LimitExceededError`: too long a text).
            StorageError: Storage failed; that is never read as "nothing found" (G8).
        """
        return self._portal.call(
            self._inner.search(
                text,
                limit=limit,
                include_tools=include_tools,
                on_progress=on_progress and self._portal.guarded(on_progress),
                **filters,
            )
        )

    def create(self, session: Session, *, records: Sequence[RecordWrite] = (), commit_id: str | None = None) -> Session:
        """Persist a new session; the one way to use the id of a deleted one again (G9).

        Atomic, durable on return, safe to interrupt. The same object comes back, up to date. After an unknown outcome
        the call can be repeated, with the same object or the same `commit_id`: it is looked up whether that made it (G4).

        Args:
            session: What to persist. Its place in a tree follows from its parent: root, depth, and owner if it has none.
            records: Adapter state to write in the same commit.
            commit_id: Your name for this commit.

        Raises:
            SessionExistsError: A session of this id lives.
            SessionDeletedError: `session` is a copy of a deleted one; or an ancestor of it was deleted.
            InputError: It contradicts its parent, or can't be stored.
        """
        return self._portal.call(self._inner.create(session, records=records, commit_id=commit_id))

    def save(
        self,
        session: Session,
        *,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> MergeReport:
        """Persist a working copy: a three-way merge with what is committed now.

        Atomic, durable on return (G1), idempotent (G4), safe to interrupt (G10). Costs as much as the change;
        without a change nothing is written. Afterwards the copy is up to date with what others had committed, and what
        was added to it while this ran is still in it.

        Args:
            session: The copy.
            if_revision: Refuse instead of merging if the session isn't at this revision.
            if_last_message: Refuse if the history ends with another message than this id (`""`: if it has any), whatever
                else changed.
            records: Adapter state to write in the same commit.
            commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).

        Raises:
            SessionDeletedError: The session was deleted (G9).
            MessageIdConflictError: A message id is taken by other content.
            PreconditionFailedError: `if_revision` or `if_last_message` was given and doesn't hold.
            LeaseLostError: The copy is of a run lease, and a newer one exists (G12).
            InputError, StorageError: The copy can't be stored, or storage failed; nothing is half-written.
        """
        return self._portal.call(
            self._inner.save(
                session, if_revision=if_revision, if_last_message=if_last_message, records=records, commit_id=commit_id
            )
        )

    def checkpoint(self, session: Session, *, commit_id: str | None = None) -> MergeReport:
        """A save that adds only: removals and edits done to the copy are held back, and stay pending in it."""
        return self._portal.call(self._inner.checkpoint(session, commit_id=commit_id))

    def save_best_effort(self, session: Session, *, commit_id: str | None = None) -> bool:
        """As `save`, and carry on if storage is down: whether the work is durable now.

        `False`: a failure that may pass; the work is kept in memory, visible to `load`, and retried in the background.
        A retry that is refused for good is told by `flush` and `close`.

        Raises:
            StorageError: One that isn't retryable, or the bound on waiting work is reached.
        """
        return self._portal.call(self._inner.save_best_effort(session, commit_id=commit_id))

    def save_as_fork(self, session: Session, *, new_id: str | None = None, commit_id: str | None = None) -> Session:
        """Keep a working copy, with all that wasn't saved of it, as an independent root session.

        For work that was refused, as that of a run whose lease was lost, or of a deleted session: nothing of it is
        lost, and nothing is merged into what others made. As with `fork`, pin, archive, run state and token usage stay
        behind; of the questions those come along that the copy itself had asked. The owner is the session's of now, while
        it lives. The copy stays as it is.

        Atomic, durable on return, safe to interrupt.

        Args:
            session: The copy.
            new_id: The new session's id; by default the commit id, which is a UUIDv7 unless you name one.
            commit_id: Your name for this commit; with that of one that was made, no second fork is made (G4).

        Raises:
            SessionExistsError, SessionDeletedError: The new id is taken, or was deleted.
            LimitExceededError: The whole conversation is larger than one commit may be.
        """
        return self._portal.call(self._inner.save_as_fork(session, new_id=new_id, commit_id=commit_id))

    def append(
        self,
        session_id: str,
        *messages: Message,
        create: bool | Session = False,
        model: str | None = None,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        incarnation: int | None = None,
        records: Sequence[RecordWrite] = (),
        usage: Sequence[TokenUsage] = (),
        in_order: bool = False,
        commit_id: str | None = None,
    ) -> Appended:
        """Add messages without loading the session. Never conflicts; a tool's result joins the group of its call.

        Atomic, durable on return, idempotent by message ids and by `commit_id` (G4), safe to interrupt.

        Args:
            session_id: Which session.
            messages: What to add; none, if there are `records` or `usage`.
            create: Make the session if there never was one. A `Session` of this id says how: its owner, title, kind,
                parent, metadata. It has no messages, isn't changed, and doesn't matter if the session is there.
            model: The model of a session made with `create=True`.
            if_revision: Refuse if the session isn't at this revision.
            if_last_message: Refuse if the history ends with another message than this id (`""`: if it has any). What
                people change meanwhile, such as the title, doesn't matter.
            incarnation: The life of the session that is meant; another one is refused as deleted.
            records: Adapter state to write in the same commit.
            usage: Model calls for the token ledger, in the same commit.
            in_order: Keep the messages exactly as given, behind everything, also results whose call stands elsewhere.
            commit_id: Your name for this commit, 1 to 128 characters, or that of an error (`exc.commit_id`): with the name
                of a commit that was made the call writes nothing, and answers with the outcome of then.

        Raises:
            SessionNotFoundError: There is none, and `create` is false.
            SessionDeletedError: It was deleted, also with `create`.
            InvalidMessageError: Two of the messages have one id, and different content.
            MessageIdConflictError: A message id is taken by other content.
            PreconditionFailedError: `if_revision` or `if_last_message` was given and doesn't hold.
            InputError: There is nothing to write, or an argument can't be meant.
        """
        return self._portal.call(
            self._inner.append(
                session_id,
                *messages,
                create=create,
                model=model,
                if_revision=if_revision,
                if_last_message=if_last_message,
                incarnation=incarnation,
                records=records,
                usage=usage,
                in_order=in_order,
                commit_id=commit_id,
            )
        )

    def append_token_usage_record(self, session_id: str, record: TokenUsage, *, commit_id: str | None = None) -> None:
        """Add a model call to the ledger. Durable on return; a record id that is there already changes nothing.

        A `TokenUsage` becomes a record with an id of its own: to try again safely, pass a record, or the same `commit_id`.

        Raises:
            SessionNotFoundError, SessionDeletedError, StorageError.
            InputError: A count is negative or no whole number.
        """
        return self._portal.call(self._inner.append_token_usage_record(session_id, record, commit_id=commit_id))

    def token_usage(self, session_id: str | None = None, *, include_children: bool = False) -> TokenUsageTotals:
        """The sums of the ledger.

        Args:
            session_id: Of this session; `None`: of all sessions of the namespace.
            include_children: Of all below it as well.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        return self._portal.call(self._inner.token_usage(session_id, include_children=include_children))

    def update(
        self,
        session_id: str,
        fn: Callable[[Session], object],
        *,
        if_revision: int | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Change the latest state: `fn` gets a copy of it, changes that, and the result is committed.

        `fn` is synchronous and may run again, on a newer state and possibly on another thread, if somebody else was
        faster; it should do nothing else. What it raises ends the update; nothing is written then. Changing title,
        pin, archive or values that a person set raises `metadata_version` by itself.

        Args:
            session_id: Which session.
            fn: The change.
            if_revision: Refuse if the session isn't at this revision.
            records: Adapter state to write in the same commit.
            commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).

        Raises:
            SessionNotFoundError, SessionDeletedError, PreconditionFailedError (`if_revision`), InputError.
        """
        return self._portal.call(
            self._inner.update(
                session_id, self._portal.guarded(fn), if_revision=if_revision, records=records, commit_id=commit_id
            )
        )

    def edit(
        self, session_id: str, *, records: Sequence[RecordWrite] = (), commit_id: str | None = None
    ) -> Block[Session]:
        """`with sessions.edit(id) as session:` changes a copy in a block and commits at its end.

        The block can't run again. At its end it is merged like a save, unless a field was changed on both sides: then
        nothing is written and `PreconditionFailedError` is raised. Nothing is written if the block raises. Writing the
        same session by another call from inside the block raises `SessionBusyError` at once.

        Args:
            session_id: Which session.
            records: Adapter state to write in the same commit; a list may be filled in the block.
            commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).
        """
        return Block(self._portal, self._inner.edit(session_id, records=records, commit_id=commit_id), same)

    def rename(
        self, session_id: str, title: str, *, if_metadata_version: int | None = None, commit_id: str | None = None
    ) -> SessionHead:
        """Set the title; a person's title beats a generated one from then on."""
        return self._portal.call(
            self._inner.rename(session_id, title, if_metadata_version=if_metadata_version, commit_id=commit_id)
        )

    def apply_generated_title(
        self, session_id: str, title: str, *, force: bool = False, commit_id: str | None = None
    ) -> SessionHead:
        """Set a title that a model made, unless a person set one (L61); `force` sets it anyway."""
        return self._portal.call(self._inner.apply_generated_title(session_id, title, force=force, commit_id=commit_id))

    def pin(
        self,
        session_id: str,
        pinned: bool = True,
        *,
        if_metadata_version: int | None = None,
        commit_id: str | None = None,
    ) -> SessionHead:
        """Pin, or unpin; clean-ups spare the whole tree of a pinned session."""
        return self._portal.call(
            self._inner.pin(session_id, pinned, if_metadata_version=if_metadata_version, commit_id=commit_id)
        )

    def archive(
        self,
        session_id: str,
        archived: bool = True,
        *,
        if_metadata_version: int | None = None,
        commit_id: str | None = None,
    ) -> SessionHead:
        """Archive, or bring back."""
        return self._portal.call(
            self._inner.archive(session_id, archived, if_metadata_version=if_metadata_version, commit_id=commit_id)
        )

    def set_value(
        self,
        session_id: str,
        key: str,
        value: Any,
        *,
        if_metadata_version: int | None = None,
        commit_id: str | None = None,
    ) -> SessionHead:
        """Set a metadata value as a person's: from then on the key belongs to the authoritative group.

        `value` is any JSON; `None` stores null. See `remove_value`.
        """
        return self._portal.call(
            self._inner.set_value(session_id, key, value, if_metadata_version=if_metadata_version, commit_id=commit_id)
        )

    def remove_value(
        self, session_id: str, key: str, *, if_metadata_version: int | None = None, commit_id: str | None = None
    ) -> SessionHead:
        """Remove a metadata key; no stale save brings it back if a person had set it."""
        return self._portal.call(
            self._inner.remove_value(session_id, key, if_metadata_version=if_metadata_version, commit_id=commit_id)
        )

    def set_owner(
        self,
        session_id: str,
        owner: str | None,
        *,
        if_metadata_version: int | None = None,
        commit_id: str | None = None,
    ) -> SessionHead:
        """Give a session to another owner, as when a guest signs in; and what is below it that has the same owner.

        All in one transaction, a commit for each session. Copies that were loaded before may still be saved: the owner
        stays the new one.

        Args:
            session_id: Which session; a child alone may be given away, too.
            owner: The new owner; `None`: nobody.
            if_metadata_version: Refuse if the session's authoritative group has another version.
            commit_id: Your name for this change; with that of one that was made, nothing is written (G4).
        """
        return self._portal.call(
            self._inner.set_owner(session_id, owner, if_metadata_version=if_metadata_version, commit_id=commit_id)
        )

    def ask(self, session_id: str, question: PendingQuestion, *, commit_id: str | None = None) -> Session:
        """Add an open question to the latest state. Asking the same question (same id) again changes nothing.

        Raises:
            SessionNotFoundError, SessionDeletedError, InputError, StorageError.
        """
        return self._portal.call(self._inner.ask(session_id, question, commit_id=commit_id))

    def answer(
        self, session_id: str, question: str, text: str, *, answer_id: str | None = None, commit_id: str | None = None
    ) -> Session:
        """Answer a question, and write the answer as the result of its tool call, exactly once.

        Of two different answers one wins. Repeating the same answer succeeds again: the same `answer_id`, or, without
        one, the same text.

        Args:
            session_id: Which session.
            question: The question's id, or the tool-call id of the open one.
            text: The answer; the id or label of an option, or any text where the question allows that.
            answer_id: The caller's idempotency key of this answer.
            commit_id: Your name for this commit; with that of one that was made, nothing is written (G4).

        Raises:
            NoPendingQuestionError: No open question has this id, or it was withdrawn.
            QuestionAlreadyAnsweredError: Another answer was faster.
            InvalidAnswerError: Not among the options; the question stays open.
            SessionNotFoundError, SessionDeletedError, StorageError.
        """
        return self._portal.call(
            self._inner.answer(session_id, question, text, answer_id=answer_id, commit_id=commit_id)
        )

    def truncate(
        self,
        session_id: str,
        *,
        after_message_id: str,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Remove all messages behind `after_message_id`; raises `MessageNotFoundError` if that isn't live."""
        return self._portal.call(
            self._inner.truncate(
                session_id,
                after_message_id=after_message_id,
                if_revision=if_revision,
                if_last_message=if_last_message,
                records=records,
                commit_id=commit_id,
            )
        )

    def clear(
        self,
        session_id: str,
        *,
        keep_system: bool = True,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Remove all messages, but for system and developer messages if `keep_system`; open questions are withdrawn."""
        return self._portal.call(
            self._inner.clear(
                session_id,
                keep_system=keep_system,
                if_revision=if_revision,
                if_last_message=if_last_message,
                records=records,
                commit_id=commit_id,
            )
        )

    def remove_last(
        self,
        session_id: str,
        n: int = 1,
        *,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> tuple[Message, ...]:
        """Remove the last `n` messages (fewer if there are fewer) and return them, oldest first.

        Two callers never get the same message. With a `commit_id` that is known, those that were removed then.
        """
        return self._portal.call(
            self._inner.remove_last(
                session_id,
                n,
                if_revision=if_revision,
                if_last_message=if_last_message,
                records=records,
                commit_id=commit_id,
            )
        )

    def replace_history(
        self,
        session_id: str,
        messages: Iterable[Message],
        *,
        if_revision: int | None = None,
        if_last_message: str | None = None,
        records: Sequence[RecordWrite] = (),
        commit_id: str | None = None,
    ) -> Session:
        """Make `messages` the whole history, in this order. All are checked before anything is written (L86).

        A message that occurs again, with equal content, is there once; with other content it is an `InvalidMessageError`.
        """
        return self._portal.call(
            self._inner.replace_history(
                session_id,
                messages,
                if_revision=if_revision,
                if_last_message=if_last_message,
                records=records,
                commit_id=commit_id,
            )
        )

    def fork(
        self,
        session_id: str,
        *,
        new_id: str | None = None,
        at_message_id: str | None = None,
        at_revision: int | None = None,
        owner: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        records: bool | Sequence[str] = True,
        commit_id: str | None = None,
    ) -> Session:
        """An independent root session that begins with this one's history, and knows where it came from.

        Messages keep their ids. Model, workspace, metadata and records come along; pin, archive, questions, run state and
        token usage don't (the ledger stays with the original, L98). With `at_message_id` or `at_revision` the summary is
        dropped, too, for heads aren't versioned. All in one commit, durable on return, safe to interrupt.

        Args:
            session_id: The original.
            new_id: The fork's id; by default the commit id, which is a UUIDv7 unless you name one.
            at_message_id: The last message to take; `None`: all.
            at_revision: Take the messages as they were at this revision; `None`: the newest.
            owner, title, metadata: The fork's, in place of the original's; `None`: the same.
            records: Whether the session's records come along, or the kinds that do. They come as they are now, for records
                have no revisions.
            commit_id: Your name for this commit; with that of one that was made, no second fork is made (G4).

        Raises:
            SessionNotFoundError, SessionDeletedError: Of the original, or the new id was deleted.
            SessionExistsError: The new id is taken.
            MessageNotFoundError: `at_message_id` wasn't live then.
            InputError: `at_revision` isn't one of this life, or another argument can't be meant.
        """
        return self._portal.call(
            self._inner.fork(
                session_id,
                new_id=new_id,
                at_message_id=at_message_id,
                at_revision=at_revision,
                owner=owner,
                title=title,
                metadata=metadata,
                records=records,
                commit_id=commit_id,
            )
        )

    def delete(
        self, session_id: str, *, force: bool = False, if_revision: int | None = None, commit_id: str | None = None
    ) -> bool:
        """Delete a session and all below it in one transaction; `False` if there is none.

        Deleted stays deleted (G9): late saves and appends are refused, and only `create` makes the id again.

        Args:
            session_id: Which session.
            force: Also if a run holds it, or one below it; that run's saves are refused from then on.
            if_revision: Refuse if the session isn't at this revision; one that isn't there is no error.
            commit_id: Your name for this deletion; with that of one that was made, nothing is deleted, and the answer is
                that of then (G4).

        Raises:
            SessionBusyError: A run holds it or one below it (looked at inside the transaction); nothing was deleted.
            PreconditionFailedError: `if_revision` was given and passed.
        """
        return self._portal.call(
            self._inner.delete(session_id, force=force, if_revision=if_revision, commit_id=commit_id)
        )

    def cleanup(
        self, mode: CleanupMode, *, keep_pinned: bool = True, older_than: timedelta | datetime | None = None
    ) -> CleanupReport:
        """Delete many sessions, each with its tree in a transaction of its own.

        A tree in which a run holds a session stays, and is among what failed.

        Args:
            mode: `"all"`; `"empty"`: trees without any message; `"children"`: everything that has a parent.
            keep_pinned: Spare every tree that has a pinned session anywhere in it (L39).
            older_than: Only trees in which nothing was updated since: an age, or an aware time. `None`: any.

        Returns:
            What was deleted and what could not be deleted, also when it failed half-way (L40).
        """
        return self._portal.call(self._inner.cleanup(mode, keep_pinned=keep_pinned, older_than=older_than))

    def lease(
        self,
        session_id: str,
        *,
        ttl: float | timedelta = LEASE_SECONDS_DEFAULT,
        holder: str | None = None,
        on_busy: OnBusy = "reject",
        timeout: float | None = None,
        create: bool | Session = False,
        model: str | None = None,
    ) -> Block[SyncRunLease]:
        """`with sessions.lease(id) as lease:` runs an agent on a session while nobody else does.

        The lease is renewed in the background and given back at the end of the block, also if that raises or is
        interrupted. If this process dies, others may take over when `ttl` has passed. Then what is still written through
        the lease is refused with `LeaseLostError`, inside the commit (G12). People's changes aren't fenced; they merge.
        Taking, renewing and giving back are no commits. A lease isn't re-entrant.

        Args:
            session_id: Which session.
            ttl: How long the lease outlives its last renewal: seconds (0.1 to 86,400), or a `timedelta`.
            holder: A name for people who ask who runs it; by default the host's and the process id.
            on_busy: If somebody runs it: `"reject"`; `"wait"` for one's turn, in the order of arrival over all
                processes; or `"fork"`: go on in a fork of what is committed, with a lease on that.
            timeout: With `"wait"`: for how many seconds at most, 0 or more; `None`: for ever.
            create: Make the session if there never was one. A `Session` of this id says how, as with `append`.
            model: The model of a session made with `create=True`.

        Raises (at the beginning of the block):
            SessionBusyError: Somebody runs it (`holder`, `until`), or waits ahead; or the `timeout` has passed.
            SessionNotFoundError: There is none, and `create` is false.
            SessionDeletedError: It was deleted, also with `create`.
            InputError: An argument is out of its range.
        """
        return Block(
            self._portal,
            self._inner.lease(
                session_id, ttl=ttl, holder=holder, on_busy=on_busy, timeout=timeout, create=create, model=model
            ),
            partial(SyncRunLease, self._portal),
        )

    def lease_of(self, session_id: str) -> LeaseInfo | None:
        """Who runs the agent on a session now; `None` if nobody does, or there is no such session."""
        return self._portal.call(self._inner.lease_of(session_id))

    def release_lease(self, session_id: str, *, token: int) -> None:
        """End the lease of a run that died, before it runs out. Idempotent, and no commit.

        The run itself isn't stopped: should it be alive, it goes on until its next renewal or save. What it then still
        writes is refused once somebody else has a lease (G12).

        Args:
            session_id: Which session.
            token: The lease's, as `lease_of` tells it.

        Raises:
            LeaseLostError: Somebody else has got a lease since; it is left alone (`holder`, `newer_token`).
            InputError: There never was a lease with this token.
            SessionNotFoundError, SessionDeletedError, StorageError.
        """
        return self._portal.call(self._inner.release_lease(session_id, token=token))

    def save_runtime_session(self, session: Session) -> MergeReport:
        """`save`, by the name that agent loops depend on."""
        return self._portal.call(self._inner.save_runtime_session(session))

    def checkpoint_runtime_session(self, session: Session) -> MergeReport:
        """`checkpoint`, by the name that agent loops depend on."""
        return self._portal.call(self._inner.checkpoint_runtime_session(session))

    def load_runtime_session(self, session_id: str) -> Session | None:
        """`load`, by the name that agent loops depend on."""
        return self._portal.call(self._inner.load_runtime_session(session_id))

    def changes(self, *, after: str | None = None, live: bool = True) -> Generator[SessionChange, None, None]:
        """The commits of this namespace behind a position, in commit order, each once (G11); then those to come.

        Each change can be read before it is told: a `load` afterwards gives its revision or a newer one. Keep
        `change.position` together with what you made of the change, and resume from there. Any number of
        subscribers; bounded memory for each. End early with `contextlib.closing`.

        Args:
            after: A position of a change, or from `feed_position`. `None`: from the oldest commit that is kept.
            live: Go on waiting for new commits; `False`: end when all there are were told.

        Raises:
            InputError: `after` is no position; raised at once, all others by the iteration.
            PositionExpiredError: There would be a gap: `after` is older than what is kept, of another epoch, or of a
                commit that was lost when the store was restored.
            SubscriberTooSlowError: What wasn't read yet was pruned meanwhile.
            StorageError: Storage failed, or the repository was closed. Resuming is safe.
        """
        return iterated(
            self._portal, self._inner.changes(after=after, live=live), ahead=1 if live else FEED_PAGE_ROWS_MAX
        )

    def feed_position(self) -> str:
        """The position behind the newest commit: take it, read the state, then follow `changes(after=…)`."""
        return self._portal.call(self._inner.feed_position())

    def check(self, *, repair: bool = False) -> CheckReport:
        """Look for what can't be right in this namespace: broken rows, derived data out of step, calls without results.

        Other namespaces' sessions are neither seen nor mended; `StoreAdmin.check` is for the whole store.

        Calls that wait for a person are in order. A call without a result may have been interrupted, or its agent may
        be running just now; sessions whose run status is `"running"` are therefore never mended. An open question is
        orphaned if the run that asked it through a lease died: nobody holds or held the session since, and the run
        status still says `"running"`. Of a run that had ended in order, or one without a lease, questions just wait.

        Args:
            repair: Mend what can be mended, after a backup where the engine keeps a file. Truth is never dropped: what
                can't be decoded is reported and left. Interrupted calls get a result that says so; should the real one
                come after all, it is the one that models are shown. Orphaned questions are withdrawn.
        """
        return self._portal.call(self._inner.check(repair=repair))

    def stats(self) -> dict[str, int]:
        """Counters of this namespace: what is stored of it, and how many of its sessions wait to be (`dirty_sessions`).

        How the cache and the locks of this process do is told by `persistence.stats()`.
        """
        return self._portal.call(self._inner.stats())

    def backup(self, path: str | os.PathLike[str], *, on_progress: Progress | None = None) -> CheckReport:
        """As `StoreAdmin.backup`, for a store that has no other namespace.

        Raises:
            InputError: Others keep sessions in this store, too; or as `StoreAdmin.backup`. StorageError.
        """
        return self._portal.call(
            self._inner.backup(path, on_progress=on_progress and self._portal.guarded(on_progress))
        )

    @classmethod
    def open(
        cls,
        url: str | Path | SessionStorage,
        *,
        namespace: str = "default",
        cache_bytes_max: int = CACHE_BYTES_MAX,
        durability: Durability = "full",
        clock: Clock = SYSTEM_CLOCK,
    ) -> SyncSessionRepository:
        """Open a store: `with SyncSessionRepository.open("agents.db") as sessions:`, or `close` it in the end.

        Args:
            url: A path such as `agents.db`, `sqlite:///agents.db` (relative), `sqlite:////var/agents.db` (absolute),
                `memory://`, or a storage. A SQLite file is made if there is none.
            namespace: The tenant; a handle never sees another's sessions.
            cache_bytes_max: Bound of the in-memory tier, in bytes.
            durability: `"full"` survives power cuts; `"relaxed"` may lose the last moments in one, never more.
            clock: Where times come from. A storage that is handed in keeps its own, by which leases are meant.

        Raises:
            InputError: The URL can't be understood.
            StorageError: The store can't be opened (`SchemaVersionError`: a newer release wrote it).
        """
        return cls._opened(
            SessionRepository.open(
                url, namespace=namespace, cache_bytes_max=cache_bytes_max, durability=durability, clock=clock
            )
        )

    def flush(self) -> tuple[UnsavedWork, ...]:
        """Try now to make all waiting work of tolerant saves durable; what isn't, and why. Empty: all is durable."""
        return self._portal.call(self._inner.flush())

    @property
    def records(self) -> SyncRecords:
        """Bytes that adapters keep beside the messages."""
        return SyncRecords(self._inner.records, self._portal)

    def in_namespace(self, namespace: str) -> Self:
        """A view of the same tiers bound to another namespace; costs nothing. Close only one of them."""
        return type(self)(self._inner.in_namespace(namespace), self._portal)
