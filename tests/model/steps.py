"""Programs for the machine: lists of small steps, drawn at random, and the token that a program is written down as.

A step is five small values and means something in any state (at worst nothing), so that any part of a program is a
program as well: that is what makes shrinking quick.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

KINDS: Final = (
    # what a run does with its working copy
    *("load", "twin", "add", "insert", "edit", "take out", "replace", "field", "ask in copy", "withdraw", "consume"),
    *("save", "checkpoint", "save while down"),
    # what somebody does to the latest state
    *("append", "append again", "update", "author", "ask", "answer"),
    # rewriting, lives, trouble
    *("remove last", "truncate", "clear", "rewrite", "create", "child", "delete", "clean", "fork", "lose"),
)
"""What a step can do, in the order that tokens count by."""

OFTEN: Final = {"load": 2, "add": 4, "save": 4, "append": 4, "author": 2, "lose": 2}
"""How often a kind is drawn, where that isn't once."""

SESSIONS: Final = ("a", "b")
STEPS_MAX: Final = 40


class Step(NamedTuple):
    """What is done, to which session, and up to three choices: two below sixteen, and one of two."""

    what: str
    sid: str = "a"
    number: int = 0
    value: int = 0
    flag: bool = False


def drawn(chance: random.Random) -> tuple[Step, ...]:
    """A program; half of them do without a few kinds of steps, so that others get to meet."""
    kinds = [kind for kind in KINDS if chance.random() < 2 / 3] if chance.random() < 0.5 else list(KINDS)
    weighted = [kind for kind in kinds or KINDS for _ in range(OFTEN.get(kind, 1))]
    return tuple(
        Step(
            chance.choice(weighted),
            chance.choice(SESSIONS),
            chance.randrange(16),
            chance.randrange(16),
            chance.random() < 0.5,
        )
        for _ in range(chance.randint(STEPS_MAX // 2, STEPS_MAX))
    )


def token_of(world: str, steps: Sequence[Step]) -> str:
    """Two bytes for a step, as text, behind the name of the world that they are taken in."""
    code = bytearray()
    for step in steps:
        code.append(KINDS.index(step.what) * 4 + SESSIONS.index(step.sid) * 2 + step.flag)
        code.append(step.number * 16 + step.value)
    return f"{world}-{base64.urlsafe_b64encode(code).decode().rstrip('=')}"


def steps_of(token: str) -> tuple[str, tuple[Step, ...]]:
    """The world and the steps that a token stands for."""
    world, _, text = token.partition("-")
    code = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    steps = [
        Step(KINDS[first // 4], SESSIONS[first // 2 % 2], second // 16, second % 16, bool(first % 2))
        for first, second in zip(code[::2], code[1::2], strict=True)
    ]
    return world, tuple(steps)
