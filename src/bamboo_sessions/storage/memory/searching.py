"""Answers a search by looking through all texts of the namespace: there is no index. Imported by the first one."""

from __future__ import annotations

from collections.abc import Iterator

from bamboo_sessions.domain.head import SessionHead
from bamboo_sessions.domain.search import SearchPage
from bamboo_sessions.domain.search_match import Match, best, hit, match, texts_of_head, texts_of_message
from bamboo_sessions.storage.commit import SessionKey
from bamboo_sessions.storage.memory.contents import Contents
from bamboo_sessions.storage.search_query import SearchQuery


def search(contents: Contents, query: SearchQuery) -> SearchPage:
    """The texts that match, best first."""
    heads = contents.heads(query.namespace)
    page, has_more = best((found for head in heads for found in _matches_in(contents, head, query)), query.limit)
    titles = {head.id: head.title for head in heads}
    hits = tuple(hit(query.text, found, titles[found.text.session_id]) for found in page)
    return SearchPage(hits=hits, has_more=has_more)


def _matches_in(contents: Contents, head: SessionHead, query: SearchQuery) -> Iterator[Match]:
    if not query.takes_session(head):
        return
    texts = [*texts_of_head(head)]
    for message in contents.living(SessionKey(query.namespace, head.id)).live:
        texts += texts_of_message(message, head.id)
    for text in texts:
        if query.takes(text) and (found := match(query.text, text)) is not None:
            yield found
