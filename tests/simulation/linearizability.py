"""Whether a history of concurrent operations could have happened one after another (Wing & Gong, with Lowe's memory).

Each operation takes effect at one moment between its start and its end. One whose outcome nobody knows may take
effect at any time after its start, or never. The model is a pure function from a state and an operation to the state
after it, or `None` if the operation couldn't have had its result there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)
A = TypeVar("A")


class Span(NamedTuple):
    """An operation: what was done and answered, when it was begun, and when it ended (`None`: nobody knows)."""

    action: object
    start: int
    end: int | None


STATES_MAX: Final = 20_000
"""How many states are looked at; a history that needs more stays undecided."""


def is_linearizable(spans: Sequence[Span], initial: S, step: Callable[[S, object], S | None]) -> bool | None:
    """Whether there is an order of `spans` that `step` accepts; `None` if that would take too long to tell."""
    order = sorted(spans, key=lambda span: span.start)
    certain = sum(1 << place for place, span in enumerate(order) if span.end is not None)
    seen: set[tuple[int, S]] = set()
    waiting: list[tuple[int, S]] = [(0, initial)]
    while waiting:
        done, state = waiting.pop()
        if done & certain == certain:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > STATES_MAX:
            return None
        earliest_end = min(span.end for p, span in enumerate(order) if span.end is not None and not done >> p & 1)
        for place, span in enumerate(order):
            if span.start > earliest_end:
                break
            if not done >> place & 1:
                after = step(state, span.action)
                if after is not None:
                    waiting.append((done | 1 << place, after))
    return False
