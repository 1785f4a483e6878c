"""Encoding many messages without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bamboo_sessions.domain.limits import ENCODE_SLICE_BYTES, ENCODE_SLICE_MESSAGES
from bamboo_sessions.domain.message import Message, StoredMessage


async def encode_in_slices(
    messages: Iterable[Message], encode: Callable[[Message], StoredMessage]
) -> tuple[StoredMessage, ...]:
    """The stored forms of `messages`; after each slice of them other tasks have their turn."""
    encoded: list[StoredMessage] = []
    size, end = 0, ENCODE_SLICE_MESSAGES
    for message in messages:
        stored = encode(message)
        encoded.append(stored)
        size += len(stored.body)
        if size >= ENCODE_SLICE_BYTES or len(encoded) >= end:
            await asyncio.sleep(0)
            size, end = 0, len(encoded) + ENCODE_SLICE_MESSAGES
    return tuple(encoded)
