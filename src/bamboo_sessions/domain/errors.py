"""Every error that callers can meet, in one tree with one root.

```
BambooSessionsError
├─ SessionError      SessionNotFoundError, SessionExistsError, SessionDeletedError, SessionBusyError
├─ ConcurrencyError  PreconditionFailedError, LeaseLostError, TooMuchContentionError
├─ HistoryError      MessageIdConflictError, MessageNotFoundError
├─ QuestionError     NoPendingQuestionError, QuestionAlreadyAnsweredError, InvalidAnswerError
├─ StorageError      StorageUnavailableError*, StorageTimeoutError*, StorageCorruptError,
│                    StorageFullError, SchemaVersionError
├─ InputError        InvalidSessionIdError, LimitExceededError, InvalidMessageError
├─ AuthError         UnauthenticatedError, PermissionDeniedError
└─ FeedError         PositionExpiredError, SubscriberTooSlowError            (* retryable)
```

A class has a stable `code` and says whether trying again can help (`retryable`). An instance has a `hint`: what
to do now. `outcome_unknown` is true where a commit may have happened: trying again is safe (G4).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Literal


class BambooSessionsError(Exception):
    """Root of all errors of this package.

    `hint` is one sentence that says what to do, or `None`; tracebacks, pytest and the REPL show it as a note.
    `commit_id` names the commit whose outcome is unknown (else
    `None`): hand it to the same call again (`commit_id=`).
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.outcome_unknown = outcome_unknown
        self.commit_id: str | None = None
        if hint:
            self.add_note(f"Hint: {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the structured attributes when an error travels between processes."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[BambooSessionsError], args: tuple[Any, ...], state: dict[str, Any]) -> BambooSessionsError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class SessionError(BambooSessionsError):
    """Something about a session as a whole."""

    code = "session"

    def __init__(self, message: str, *, session_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.session_id = session_id


class SessionNotFoundError(SessionError, LookupError):
    """No session with this id lives in this namespace."""

    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"There is no session {session_id!r}.",
            session_id=session_id,
            hint="Check the id and the namespace; `load_or_create` or `create` makes a new session.",
        )


class SessionExistsError(SessionError):
    """`create` found a living session with this id."""

    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"Session {session_id!r} exists already.",
            session_id=session_id,
            hint="Load it, or choose another id.",
        )


class SessionDeletedError(SessionError):
    """The session was deleted, and deleted stays deleted (G9)."""

    code = "session_deleted"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"Session {session_id!r} was deleted; nothing was written.",
            session_id=session_id,
            hint="Only `create` makes a new session of this id; copies of the deleted one stay refused.",
        )


class SessionBusyError(SessionError):
    """Somebody else holds the session, or the call would wait for itself.

    `holder` and `until` tell who holds its run lease, and until when unless that is renewed; `None` if nobody does.
    """

    code = "session_busy"

    def __init__(
        self, session_id: str, *, reason: str, holder: str | None = None, until: datetime | None = None
    ) -> None:
        super().__init__(
            f"Session {session_id!r} is busy: {reason}.",
            session_id=session_id,
            hint="Finish the other run or block first, then try again.",
        )
        self.holder = holder
        self.until = until


class ConcurrencyError(BambooSessionsError):
    """Somebody else was faster, and the caller had asked for refusal in place of merging."""

    code = "concurrency"


class PreconditionFailedError(ConcurrencyError):
    """The state isn't the one that the caller named; nothing was written. `session_id` is `None` for shared records."""

    code = "precondition_failed"

    def __init__(self, expected: object, actual: object, *, session_id: str | None, what: str = "revision") -> None:
        whose = "The store" if session_id is None else f"Session {session_id!r}"
        super().__init__(
            f"{whose} has {what} {actual!r}, not {expected!r}; nothing was written.",
            hint="Read it again, look at what changed, and repeat the change if it is still wanted.",
        )
        self.expected = expected
        self.actual = actual
        self.session_id = session_id
        self.what = what


class LeaseLostError(ConcurrencyError):
    """A newer run lease exists, so this one can't write any more (G12); nothing was written.

    `token` is the lost lease's; `newer_token` is the newest one (`None`: there is none, the lease was given back);
    `holder` has that one now (`None`: nobody, or unknown).
    """

    code = "lease_lost"

    def __init__(self, session_id: str, *, token: int, newer_token: int | None, holder: str | None = None) -> None:
        by = f" by {holder}" if holder is not None else ""
        since = f"a newer one was given (token {newer_token}{by})" if newer_token else "it was given back"
        super().__init__(
            f"Run lease {token} of session {session_id!r} is lost: {since}.",
            hint="Stop this run. Its work is still in the working copy: `save_as_fork` of the lease keeps it.",
        )
        self.session_id = session_id
        self.token = token
        self.newer_token = newer_token
        self.holder = holder


class TooMuchContentionError(ConcurrencyError):
    """A change could not be brought in within the allowed attempts."""

    code = "too_much_contention"


class HistoryError(BambooSessionsError):
    """Something about the messages of a session."""

    code = "history"

    def __init__(self, message: str, *, session_id: str, message_id: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.session_id = session_id
        self.message_id = message_id


class MessageIdConflictError(HistoryError):
    """A message id is taken by other content (G4); nothing was written."""

    code = "message_id_conflict"

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(
            f"Session {session_id!r} already has a message {message_id!r} with other content.",
            session_id=session_id,
            message_id=message_id,
            hint="Give a new message a new id; to edit one, replace it in a working copy and save that.",
        )


class MessageNotFoundError(HistoryError, LookupError):
    """The session never had this message, or its body was purged."""

    code = "message_not_found"

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(
            f"Session {session_id!r} has no message {message_id!r}.",
            session_id=session_id,
            message_id=message_id,
            hint="Page from another message, read the newest window, or a newer revision: old versions may be purged.",
        )


class QuestionError(BambooSessionsError):
    """Something about a question to a person."""

    code = "question"

    def __init__(self, message: str, *, session_id: str, question: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.session_id = session_id
        self.question = question


class NoPendingQuestionError(QuestionError):
    """No open question has this id or tool-call id."""

    code = "no_pending_question"

    def __init__(self, session_id: str, question: str) -> None:
        super().__init__(
            f"Session {session_id!r} has no open question {question!r}.",
            session_id=session_id,
            question=question,
            hint="Load the session and look at `pending_question`.",
        )


class QuestionAlreadyAnsweredError(QuestionError):
    """Another answer was faster (G6)."""

    code = "question_already_answered"

    def __init__(self, session_id: str, question: str, *, answer: str | None) -> None:
        super().__init__(
            f"Question {question!r} of session {session_id!r} was answered already; that answer stands.",
            session_id=session_id,
            question=question,
            hint="Load the session to see the answer that won.",
        )
        self.answer = answer


class InvalidAnswerError(QuestionError):
    """The answer is not among the options; the question stays open."""

    code = "invalid_answer"

    def __init__(self, session_id: str, question: str, *, options: tuple[str, ...]) -> None:
        super().__init__(
            f"That is no valid answer to question {question!r} of session {session_id!r}.",
            session_id=session_id,
            question=question,
            hint="Answer with one of: " + ", ".join(options) + "." if options else "Answer with some text.",
        )
        self.options = options


class StorageError(BambooSessionsError):
    """The durable tier failed. Never to be read as absence (G8)."""

    code = "storage"


class StorageUnavailableError(StorageError):
    """Storage can't be reached or is locked; trying again can help."""

    code = "storage_unavailable"
    retryable = True


class StorageTimeoutError(StorageError, TimeoutError):
    """Storage did not answer in time; a commit may have happened (`outcome_unknown`)."""

    code = "storage_timeout"
    retryable = True

    def __init__(self, message: str, *, hint: str | None = None, outcome_unknown: bool = True) -> None:
        super().__init__(message, hint=hint, outcome_unknown=outcome_unknown)


class StorageCorruptError(StorageError):
    """What is stored can't be read."""

    code = "storage_corrupt"


class StorageFullError(StorageError):
    """No space is left on the device, or a quota is used up."""

    code = "storage_full"


class SchemaVersionError(StorageError):
    """The data was written by a release that this one doesn't know."""

    code = "schema_version"

    def __init__(self, *, found: int, supported: int, location: str) -> None:
        super().__init__(
            f"{location} has schema version {found}; this release knows versions up to {supported}.",
            hint="Upgrade bamboo-sessions: a newer release wrote this data.",
        )
        self.found = found
        self.supported = supported


class InputError(BambooSessionsError, ValueError):
    """The caller's input can't be accepted; nothing was written."""

    code = "input"


class InvalidSessionIdError(InputError):
    """A session id is empty, too long, or has characters that ids may not have."""

    code = "invalid_session_id"


class LimitExceededError(InputError):
    """Something is larger than its limit (see `bamboo_sessions.domain.limits`)."""

    code = "limit_exceeded"

    def __init__(self, what: str, *, limit: int, actual: int, unit: str = "") -> None:
        unit = f" {unit}" if unit else ""
        super().__init__(
            f"{what} is too large: {actual:,}{unit}, the limit is {limit:,}{unit}.",
            hint="Split it, or keep large content elsewhere and refer to it.",
        )
        self.limit = limit
        self.actual = actual


class InvalidMessageError(InputError):
    """A message has a field that can't be stored as it is."""

    code = "invalid_message"


class AuthError(BambooSessionsError):
    """Who is asking isn't known, or isn't allowed to."""

    code = "auth"


class UnauthenticatedError(AuthError):
    """No valid credentials came with the request."""

    code = "unauthenticated"


class PermissionDeniedError(AuthError):
    """The credentials are valid but don't allow this."""

    code = "permission_denied"


class FeedError(BambooSessionsError):
    """Something about the change feed."""

    code = "feed"


ExpiredReason = Literal["pruned", "other_epoch", "restored"]

_EXPIRED: Final[dict[ExpiredReason, str]] = {
    "pruned": "is older than what is kept",
    "other_epoch": "belongs to another epoch of the store",
    "restored": "is of a commit that the store hasn't got: it was restored from an older copy",
}


class PositionExpiredError(FeedError):
    """The feed can't be resumed from this position without a gap (G11).

    `reason` is `"pruned"`, `"other_epoch"` or `"restored"`; `oldest` is the oldest position that can be resumed from.
    """

    code = "position_expired"

    def __init__(self, position: str, *, reason: ExpiredReason, oldest: str) -> None:
        super().__init__(
            f"The feed position {position!r} {_EXPIRED[reason]}.",
            hint="Take feed_position(), read the state anew, then resume from that position.",
        )
        self.position = position
        self.reason = reason
        self.oldest = oldest


class SubscriberTooSlowError(FeedError):
    """What a subscriber had not read yet was pruned meanwhile; it got all changes up to `position` (G11).

    `oldest` is the oldest position that can be resumed from.
    """

    code = "subscriber_too_slow"

    def __init__(self, position: str, *, oldest: str) -> None:
        super().__init__(
            f"The changes after feed position {position!r} were pruned before this subscriber had read them.",
            hint="Take feed_position(), read the state anew, then resume from that position; or prune later.",
        )
        self.position = position
        self.oldest = oldest
