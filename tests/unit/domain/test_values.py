"""What the values of the domain have in common: they are frozen, and what is stored of them is fixed."""

import importlib
import inspect
import pkgutil
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import bamboo_sessions.domain
from bamboo_sessions.domain.change import KINDS
from bamboo_sessions.domain.clock import EPOCH
from bamboo_sessions.domain.head import ForkOrigin, SessionHead
from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.lease import LeaseInfo, LeaseState, Ticket
from bamboo_sessions.domain.merge_history import HistoryDelta
from bamboo_sessions.domain.message import AudioPart, FilePart, ImagePart, Message, TextPart, ToolCall
from bamboo_sessions.domain.question import PendingQuestion, QuestionOption
from bamboo_sessions.domain.report import (
    Appended,
    CheckReport,
    CleanupReport,
    HistoryPage,
    MergeReport,
    Problem,
    SessionPage,
    UnsavedWork,
)
from bamboo_sessions.domain.search import SearchHit, SearchPage, Snippet, SnippetPiece
from bamboo_sessions.domain.search_query import Term
from bamboo_sessions.domain.snapshot import Draft, Snapshot
from bamboo_sessions.domain.splices import Insertion
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageRecord, TokenUsageTotals


def _values() -> list[type[msgspec.Struct]]:
    """Every struct of the domain."""
    found = pkgutil.iter_modules(bamboo_sessions.domain.__path__, f"{bamboo_sessions.domain.__name__}.")
    modules = [importlib.import_module(module.name) for module in found]
    values = [(value, module.__name__) for module in modules for value in vars(module).values()]
    structs = [(value, name) for value, name in values if inspect.isclass(value) and issubclass(value, msgspec.Struct)]
    return [value for value, name in structs if value.__module__ == name]


@pytest.mark.parametrize("kind", _values(), ids=lambda kind: kind.__name__)
def test_values_are_frozen(kind: type[msgspec.Struct]) -> None:
    """Snapshots are shared between tasks, so nothing in them can be changed."""
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize(
    "kind",
    [
        Appended,
        CheckReport,
        CleanupReport,
        HistoryPage,
        LeaseInfo,
        MergeReport,
        Message,
        Problem,
        SearchHit,
        SearchPage,
        SessionHead,
        SessionPage,
        TokenUsage,
        TokenUsageRecord,
        TokenUsageTotals,
        UnsavedWork,
    ],
    ids=lambda kind: kind.__name__,
)
def test_fields_of_reports_are_given_by_name(kind: type[msgspec.Struct]) -> None:
    """So that a release can add a field anywhere."""
    kinds = {parameter.kind for parameter in inspect.signature(kind).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


HEAD = SessionHead(id="s", root_session_id="s", created_at=EPOCH, updated_at=EPOCH)
_TIME = "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (HEAD, {"id": "s", "root_session_id": "s", "created_at": _TIME, "updated_at": _TIME}),
        (Message(id="m", created_at=EPOCH, role="user"), {"id": "m", "created_at": _TIME, "role": "user"}),
        (ToolCall("c", "f"), {"id": "c", "name": "f", "arguments": "{}"}),
        (TextPart("t"), {"type": "text", "text": "t"}),
        (ImagePart("u"), {"type": "image", "url": "u"}),
        (FilePart("u"), {"type": "file", "url": "u"}),
        (AudioPart("u"), {"type": "audio", "url": "u"}),
        (QuestionOption("o", "l"), {"id": "o", "label": "l"}),
        (
            PendingQuestion("c", "f", "q", id="q", asked_at=EPOCH),
            {"tool_call_id": "c", "tool_name": "f", "question": "q", "id": "q", "asked_at": _TIME},
        ),
        (TokenUsage(), {}),
        (TokenUsageTotals(), {}),
        (TokenUsageRecord(id="r", at=EPOCH), {"id": "r", "at": _TIME}),
        (Ticket("c", "h", EPOCH), ["c", "h", _TIME]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_stored_leaves_out_what_is_usual(value: msgspec.Struct, document: object) -> None:
    """The stored form of values in which nothing was set, which every release reads."""
    assert msgspec.json.decode(msgspec.json.encode(value)) == document


_NO_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "thinking_tokens": 0,
}


@pytest.mark.parametrize(
    ("value", "usual"),
    [
        (
            HEAD,
            {
                "namespace": "default",
                "owner": None,
                "kind": "root",
                "parent_session_id": None,
                "spawn_depth": 0,
                "forked_from": None,
                "incarnation": 0,
                "title": None,
                "title_version": 0,
                "title_generated": False,
                "pinned": False,
                "archived": False,
                "metadata_version": 0,
                "authoritative_keys": frozenset(),
                "model": None,
                "provider": None,
                "reasoning_effort": None,
                "workspace": None,
                "token_usage": None,
                "run_state": None,
                "summary": None,
                "metadata": {},
                "questions": (),
                "revision": 0,
                "message_count": 0,
            },
        ),
        (
            Message(role="user"),
            {
                "content": "",
                "tool_calls": (),
                "tool_call_id": None,
                "tool_success": None,
                "name": None,
                "reasoning": None,
                "metadata": {},
                "native": None,
            },
        ),
        (ToolCall("c", "f"), {"arguments": "{}"}),
        (ImagePart("u"), {"media_type": None, "detail": None}),
        (FilePart("u"), {"name": None, "media_type": None}),
        (AudioPart("u"), {"media_type": None, "transcript": None}),
        (
            PendingQuestion("c", "f", "q"),
            {
                "options": (),
                "allow_custom": True,
                "source": None,
                "state": "open",
                "answer": None,
                "answer_id": None,
                "option_id": None,
                "answered_at": None,
                "lease_token": None,
            },
        ),
        (ForkOrigin("s", 1), {"message_id": None}),
        (TokenUsage(), _NO_TOKENS),
        (TokenUsageTotals(), _NO_TOKENS | {"calls": 0}),
        (TokenUsageRecord(), _NO_TOKENS | {"model": None, "provider": None, "metadata": {}}),
        (
            LeaseState(),
            {"token": 0, "claim_id": None, "holder": None, "expires_at": None, "ttl": timedelta(0), "waiting": ()},
        ),
        (LeaseInfo(session_id="s", holder="h", token=1, expires_at=EPOCH), {"waiting": 0}),
        (Snapshot(HEAD, FrozenMessages()), {"messages_bytes": 0, "is_committed": True}),
        (
            Draft(HEAD, FrozenMessages()),
            {"replaced": {}, "mutations": 0, "time_set": False, "head_touched": True, "additions": None},
        ),
        (Insertion(()), {"after": None}),
        (
            HistoryDelta(FrozenMessages()),
            {
                "insertions": (),
                "edits": (),
                "removals": (),
                "gained": (),
                "duplicates": (),
                "conflicts": (),
                "orphaned": (),
            },
        ),
        (
            MergeReport(revision=1),
            {
                "changed": False,
                "merged": (),
                "removed": (),
                "conflicts": (),
                "authoritative_ignored": (),
                "orphaned_tool_results": (),
                "duplicates": (),
            },
        ),
        (Appended(revision=1, message_count=1), {"duplicates": ()}),
        (SessionPage(sessions=()), {"next_cursor": None, "total": None}),
        (CleanupReport(), {"deleted": (), "failed": ()}),
        (
            Problem(kind="k", detail="d"),
            {"session_id": None, "namespace": None, "repair": None, "repaired": False},
        ),
        (CheckReport(sessions=0, messages=0), {"problems": (), "backup": None}),
        (SearchPage(hits=()), {"has_more": False}),
        (SnippetPiece("t"), {"is_match": False}),
        (Snippet(()), {"cut_before": False, "cut_after": False}),
        (Term("t", "word"), {"negated": False, "open": False}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else "",
)
def test_what_is_left_out_means_the_same_in_every_release(value: msgspec.Struct, usual: dict[str, Any]) -> None:
    """Fields that nobody gave have the value that they always had: stored documents leave these out."""
    made = {field.name for field in msgspec.structs.fields(type(value)) if not field.required}
    assert made - usual.keys() <= {"id", "created_at", "asked_at", "at"}  # made anew each time
    assert {name: getattr(value, name) for name in usual} == usual


def test_kinds_of_change_keep_their_names() -> None:
    """They are stored with each commit, and listed in this order."""
    names = ("created", "messages", "questions", "authoritative", "head", "usage", "records", "deleted")
    assert names == KINDS
