"""Arguments that several commands take, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import one_line
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.limits import PAGE_MAX
from bamboo_sessions.repository import SessionRepository

F = TypeVar("F", bound=Callable[..., Any])

COMPLETIONS_MAX: Final = 100
_TITLE_CHARS_MAX: Final = 60


def complete_session(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids that begin so, of the sessions that changed last, with their titles; none if anything is in the way."""

    async def newest(sessions: SessionRepository) -> tuple[SessionHead, ...]:
        return (await sessions.list_sessions(limit=PAGE_MAX)).sessions

    store = ctx.find_object(Store) or Store()
    try:
        heads = store.run(newest)
    except Exception:  # noqa: BLE001 - a shell that completes has no place for errors
        return []
    found = [head for head in heads if head.id.startswith(incomplete)]
    return [CompletionItem(head.id, help=one_line(head.title or "", _TITLE_CHARS_MAX)) for head in found][
        :COMPLETIONS_MAX
    ]


def session_argument(command: F) -> F:
    """`ID`, the session that a command is about."""
    return click.argument("session_id", metavar="ID", shell_complete=complete_session)(command)
