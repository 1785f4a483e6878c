"""Messages in the formats of model providers, both ways; pure functions without I/O.

Each module has the same three functions:

- `to_messages(items)` reads a provider's items, dicts or objects of its SDK, into messages;
- `from_messages(messages)` writes messages as items. What was read from this format comes back as it was, unless
  somebody edited it; anything else is written canonically;
- `for_model(messages)` is what can be sent: the model view, with the calls and results of a call group joined in the
  way that the provider wants. Instructions (`system` and `developer`) are in it only where the format has a place for
  them among the messages; `instructions(messages)` gives their text for those that don't.

What a format says and a `Message` can't is kept in `Message.native`, and parts that weren't understood are named in
`metadata["not_understood"]`, so that nothing is lost and nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable

from bamboo_sessions.domain.message import Message

__all__ = ["instructions"]


def instructions(messages: Iterable[Message]) -> str | None:
    """The text of all system and developer messages, separated by empty lines; `None` if there are none."""
    texts = [message.text for message in messages if message.role in {"system", "developer"}]
    return "\n\n".join(text for text in texts if text) or None
