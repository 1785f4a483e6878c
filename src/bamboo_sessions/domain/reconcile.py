"""Which of two copies to prefer, the one in memory or the durable one. Pure."""

from __future__ import annotations

from bamboo_sessions.domain.head import SessionHead


def prefers_storage(memory: SessionHead, durable: SessionHead) -> bool:
    """Whether the durable copy is the one to show.

    Revisions decide where both have one and they differ; else the times: strictly newer wins, never strictly older;
    at the same age the durable copy wins if it carries an open question that memory lost (L14, L24).
    """
    if memory.revision and durable.revision and memory.revision != durable.revision:
        return durable.revision > memory.revision
    if memory.updated_at != durable.updated_at:
        return durable.updated_at > memory.updated_at
    return durable.has_question and not memory.has_question
