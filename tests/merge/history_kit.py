"""What the tests of merged histories share: things to do to a copy, and saving it."""

from collections.abc import Iterable

from bamboo_sessions.domain.history import FrozenMessages
from bamboo_sessions.domain.merge import Merged
from bamboo_sessions.domain.merge_history import HistoryDelta, merge_history
from bamboo_sessions.domain.message import Message
from bamboo_sessions.domain.session import Session
from bamboo_sessions.domain.snapshot import Snapshot
from tests.merge.helpers import apply, message, save, snapshot


def committed_meanwhile(messages: Iterable[Message | str]) -> Snapshot:
    """What others have committed since revision 1."""
    return snapshot(messages, revision=5)


def add(copy: Session, *messages: Message | str) -> None:
    """Add messages at the end."""
    copy.messages.extend(message(one) if isinstance(one, str) else one for one in messages)


def insert(copy: Session, before: str, *messages: Message | str) -> None:
    """Put messages in front of `before`."""
    for one in messages:
        copy.messages.insert(place_of(copy, before), message(one) if isinstance(one, str) else one)


def replace(copy: Session, old: str, *new: Message | str) -> None:
    """Put `new` in the place of the messages from the first to the last of `old`."""
    places = [place_of(copy, id) for id in old.split()]
    copy.messages[places[0] : places[-1] + 1] = [message(one) if isinstance(one, str) else one for one in new]


def remove(copy: Session, *removed: str) -> None:
    """Take messages out."""
    for id in removed:
        del copy.messages[place_of(copy, id)]


def edit(copy: Session, id: str, text: str) -> None:
    """Give a message another text."""
    copy.messages[place_of(copy, id)] = message(id, text)


def place_of(copy: Session, id: str) -> int:
    """Where a message stands."""
    return next(place for place, one in enumerate(copy.messages) if one.id == id)


def saved_on(copy: Session, durable: Snapshot, *, additions_only: bool = False) -> Merged:
    """The merge, after making sure that its delta leads to its result."""
    merged = save(copy, durable, additions_only=additions_only)
    assert apply(durable.messages, merged.delta) == list(merged.messages)
    return merged


def delta_of(base: Iterable[Message], mine: Iterable[Message], durable: Iterable[Message]) -> HistoryDelta:
    """What `mine`, made of `base`, changes in `durable`."""
    return merge_history(FrozenMessages(base), FrozenMessages(mine), FrozenMessages(durable), replaced={})
