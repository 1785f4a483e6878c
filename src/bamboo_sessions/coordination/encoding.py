"""Encoding many messages without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bamboo_sessions.domain.limits import ENCODE_SLICE_BYTES, ENCODE_SLICE_MESSAGES
from bamboo_sessions.domain.message import Message, StoredMessage


async def encode_in_slices(messages: Iterable[Message], encode: Callable[[Message], StoredMessage]) -> None:
    """Encode `messages`; after each slice of them other tasks have their turn. `encode` keeps what it made."""
    count = size = 0
    for message in messages:
        count += 1
        size += len(encode(message).body)
        if count >= ENCODE_SLICE_MESSAGES or size >= ENCODE_SLICE_BYTES:
            await asyncio.sleep(0)
            count = size = 0
