"""Sessions of AI agents that can't be lost: every save is a merge, every acknowledged change is durable.

```python
async with SessionRepository.open("sqlite:///agents.db") as sessions:
    session = await sessions.load_or_create("chat-42", model="gpt-5.2")
    session.add_message(Message.user("Where is my order?"))
    await sessions.save(session)
```
"""

from inspect import get_annotations
from types import FunctionType
from typing import TYPE_CHECKING, Any, get_type_hints

from bamboo_sessions.coordination import LockedSessionStore, SessionCache
from bamboo_sessions.domain.change import ChangeKind, SessionChange
from bamboo_sessions.domain.clock import Clock, SystemClock
from bamboo_sessions.domain.errors import (
    AuthError,
    BambooSessionsError,
    ConcurrencyError,
    FeedError,
    HistoryError,
    InputError,
    InvalidAnswerError,
    InvalidMessageError,
    InvalidSessionIdError,
    LeaseLostError,
    LimitExceededError,
    MessageIdConflictError,
    MessageNotFoundError,
    NoPendingQuestionError,
    PermissionDeniedError,
    PositionExpiredError,
    PreconditionFailedError,
    QuestionAlreadyAnsweredError,
    QuestionError,
    SchemaVersionError,
    SessionBusyError,
    SessionDeletedError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageTimeoutError,
    StorageUnavailableError,
    SubscriberTooSlowError,
    TooMuchContentionError,
    UnauthenticatedError,
)
from bamboo_sessions.domain.head import ForkOrigin, SessionHead, Summary
from bamboo_sessions.domain.lease import LeaseInfo
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
    same_content,
)
from bamboo_sessions.domain.message_list import MessageList
from bamboo_sessions.domain.question import PendingQuestion, QuestionOption
from bamboo_sessions.domain.report import (
    Appended,
    CheckReport,
    CleanupFailure,
    CleanupReport,
    HistoryPage,
    MergeConflict,
    MergeReport,
    Problem,
    SessionPage,
    UnsavedWork,
)
from bamboo_sessions.domain.search import SearchHit, SearchPage, Snippet, SnippetPiece
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.session_json import session_from_json, session_to_json
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageRecord, TokenUsageTotals
from bamboo_sessions.repository import RuntimeSessionPersistence, SessionRepository, StoreAdmin
from bamboo_sessions.repository.leases import OnBusy
from bamboo_sessions.repository.run_lease import RunLease
from bamboo_sessions.storage.commit import RecordScope, RecordWrite
from bamboo_sessions.storage.open import Durability
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.storage.query import Order, Record

if TYPE_CHECKING:
    __version__: str
    from bamboo_sessions.storage.memory import MemoryStorage
    from bamboo_sessions.storage.simple import SimpleStorage
    from bamboo_sessions.storage.sqlite import SqliteStorage
    from bamboo_sessions.sync import SyncRunLease, SyncSessionRepository, SyncStoreAdmin

__all__ = [
    "Appended",
    "AudioPart",
    "AuthError",
    "BambooSessionsError",
    "ChangeKind",
    "CheckReport",
    "CleanupFailure",
    "CleanupReport",
    "Clock",
    "ConcurrencyError",
    "Durability",
    "FeedError",
    "FilePart",
    "ForkOrigin",
    "HistoryError",
    "HistoryPage",
    "ImagePart",
    "InputError",
    "InvalidAnswerError",
    "InvalidMessageError",
    "InvalidSessionIdError",
    "LeaseInfo",
    "LeaseLostError",
    "LimitExceededError",
    "LockedSessionStore",
    "MemoryStorage",
    "MergeConflict",
    "MergeReport",
    "Message",
    "MessageIdConflictError",
    "MessageList",
    "MessageNotFoundError",
    "Native",
    "NoPendingQuestionError",
    "OnBusy",
    "Order",
    "Part",
    "PendingQuestion",
    "PermissionDeniedError",
    "PositionExpiredError",
    "PreconditionFailedError",
    "Problem",
    "QuestionAlreadyAnsweredError",
    "QuestionError",
    "QuestionOption",
    "Record",
    "RecordScope",
    "RecordWrite",
    "Role",
    "RunLease",
    "RuntimeSessionPersistence",
    "SchemaVersionError",
    "SearchHit",
    "SearchPage",
    "Session",
    "SessionBusyError",
    "SessionCache",
    "SessionChange",
    "SessionDeletedError",
    "SessionError",
    "SessionExistsError",
    "SessionHead",
    "SessionNotFoundError",
    "SessionPage",
    "SessionRepository",
    "SessionStorage",
    "SimpleStorage",
    "Snippet",
    "SnippetPiece",
    "SqliteStorage",
    "StorageCorruptError",
    "StorageError",
    "StorageFullError",
    "StorageTimeoutError",
    "StorageUnavailableError",
    "StoreAdmin",
    "SubscriberTooSlowError",
    "Summary",
    "SyncRunLease",
    "SyncSessionRepository",
    "SyncStoreAdmin",
    "SystemClock",
    "TextPart",
    "TokenUsage",
    "TokenUsageRecord",
    "TokenUsageTotals",
    "TooMuchContentionError",
    "ToolCall",
    "UnauthenticatedError",
    "UnsavedWork",
    "same_content",
    "session_from_json",
    "session_to_json",
]


def _name_as_imported() -> None:
    """Let tracebacks, warnings, reprs and `help` name what is public as users import it."""
    for name in __all__:
        kind = globals().get(name)  # an engine, or a twin, isn't imported yet
        if isinstance(kind, type):
            _rename(kind)
    for name, method in vars(SessionRepository).items():
        if isinstance(method, FunctionType):
            method.__module__ = __name__
            method.__qualname__ = f"{SessionRepository.__name__}.{name}"


def _rename(kind: type) -> None:
    hints = get_type_hints(kind, include_extras=True)  # while their names can be looked up in the module it is from
    kind.__annotations__ = {name: hints[name] for name in get_annotations(kind)}
    kind.__module__ = __name__


_name_as_imported()

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    _HOMES = {
        "MemoryStorage": "storage.memory",
        "SimpleStorage": "storage.simple",
        "SqliteStorage": "storage.sqlite",
        "SyncRunLease": "sync",
        "SyncSessionRepository": "sync",
        "SyncStoreAdmin": "sync",
    }

    def __getattr__(name: str) -> object:
        """What not all programs need, looked up when it is first named: engines, synchronous twins, the version."""
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("bamboo-sessions")
        elif name in _HOMES:
            from importlib import import_module

            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
            _rename(value)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
