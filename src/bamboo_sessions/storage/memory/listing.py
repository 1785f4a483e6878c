"""Pages of living sessions: filters first, then the order, then the page."""

from __future__ import annotations

from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.query import HeadPage, ListQuery, cursor_behind, in_order, is_behind, matches


def list_heads(contents: Contents, query: ListQuery) -> HeadPage:
    """A page of living sessions."""
    heads = in_order((head for head in contents.heads(query.namespace) if matches(head, query)), query.order)
    total = len(heads) if query.total else None
    if query.cursor is not None:
        heads = [head for head in heads if is_behind(head, query.cursor)]
    page = heads[: query.limit]
    more = len(heads) > query.limit
    return HeadPage(tuple(page), cursor_behind(page[-1], query.order) if more else None, total)
