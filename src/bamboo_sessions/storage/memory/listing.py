"""Pages of living sessions: filters first, then the order, then the page."""

from __future__ import annotations

from bamboo_sessions.domain.clock import to_micros
from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.query import Cursor, HeadPage, ListQuery


def list_heads(contents: Contents, query: ListQuery) -> HeadPage:
    """A page of living sessions."""
    heads = [head for head in contents.heads(query.namespace) if _matches(head, query)]
    descending = query.order.startswith("-")
    field_name = query.order.lstrip("-")

    def place(head: SessionHead) -> tuple[int, str]:
        return to_micros(getattr(head, field_name)), head.id

    heads.sort(key=place, reverse=descending)
    total = len(heads) if query.total else None
    if query.cursor is not None:
        at = (query.cursor.micros, query.cursor.session_id)
        heads = [head for head in heads if (place(head) < at if descending else place(head) > at)]
    page = heads[: query.limit]
    more = len(heads) > query.limit
    return HeadPage(tuple(page), Cursor(query.order, *place(page[-1])) if more else None, total)


def _matches(head: SessionHead, query: ListQuery) -> bool:
    equal = {
        "owner": query.owner,
        "kind": query.kind,
        "pinned": query.pinned,
        "archived": query.archived,
        "parent_session_id": query.parent,
        "root_session_id": query.root,
        "has_question": query.has_question,
        "run_status": query.run_status,
    }
    if any(wanted is not None and getattr(head, name) != wanted for name, wanted in equal.items()):
        return False
    if query.owner_prefix is not None and not (head.owner or "").startswith(query.owner_prefix):
        return False
    return query.updated_before is None or head.updated_at < query.updated_before
