"""The token ledger."""

from __future__ import annotations

from bamboo_sessions.domain.errors import SessionNotFoundError
from bamboo_sessions.domain.usage import TokenUsage, TokenUsageTotals
from bamboo_sessions.repository.appending import added, addition
from bamboo_sessions.repository.bound import Handle
from bamboo_sessions.repository.terms import terms


async def append_token_usage_record(
    self: Handle, session_id: str, record: TokenUsage, *, commit_id: str | None = None
) -> None:
    """Add a model call to the ledger. Durable on return; a record id that is there already changes nothing.

    A `TokenUsage` becomes a record with an id of its own: to try again safely, pass a record, or the same `commit_id`.

    Raises:
        SessionNotFoundError, SessionDeletedError, StorageError.
        InputError: A count is negative or no whole number.
    """
    bound, on = self._bound, terms("append_token_usage_record", commit_id)
    await added(bound, addition(bound, bound.writable(session_id), on, usage=(record,)))


async def token_usage(
    self: Handle, session_id: str | None = None, *, include_children: bool = False
) -> TokenUsageTotals:
    """The sums of the ledger.

    Args:
        session_id: Of this session; `None`: of all sessions of the namespace.
        include_children: Of all below it as well.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    if session_id is not None:
        self._bound.key(session_id)
    totals = await self._bound.storage.usage_totals(
        self._bound.namespace, session_id, include_children=include_children
    )
    if not isinstance(totals, TokenUsageTotals):
        raise SessionNotFoundError(session_id or "")
    return totals
