"""What the messages say: texts of 200 to 800 bytes, 466 on average. The standard library only: all workers import it.

A file of conversations in the OpenAI chat format (JSON lines, gzip is fine) gives real texts. Without one they are made
up, with the same distribution of lengths.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

BYTES_MIN, BYTES_MAX = 200, 800
_QUANTILES = (200, 214, 228, 243, 257, 277, 302, 318, 360, 394, 432, 496, 558, 610, 630, 634, 688, 697, 719, 761, 800)
"""Lengths of the texts of real support conversations, in steps of 5 %."""
_WORDS = (
    "the parcel order flight seat customer ticket booking left our warehouse on Tuesday and is due tomorrow could you "
    "please check whether it can be changed because I have not received any refund {reservation_id: 4WQ150} yes no"
)
_MADE_UP = 512


def texts(conversations: Path | None = None) -> list[str]:
    """Texts to take in turn: from a file of conversations, or made up (always the same ones)."""
    if conversations is None:
        return _made_up()
    found = [text for text in _read(conversations) if BYTES_MIN <= len(text.encode()) <= BYTES_MAX]
    if not found:
        raise SystemExit(f"{conversations} has no message of {BYTES_MIN} to {BYTES_MAX} bytes.")
    return found


def _read(path: Path) -> Iterator[str]:
    data = path.read_bytes()
    for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
        for message in json.loads(line)["messages"]:
            if message["role"] != "system" and isinstance(message.get("content"), str):
                yield message["content"]


@cache
def _made_up() -> list[str]:
    chance = random.Random(20)
    steps = list(pairwise(_QUANTILES))
    return [_text(chance, chance.randint(*steps[number % len(steps)])) for number in range(_MADE_UP)]


def _text(chance: random.Random, length: int) -> str:
    words = _WORDS.split()
    text = " ".join(chance.choice(words) for _ in range(length // 3))
    return text[: length - 1].ljust(length - 1, "x") + "."


def turn(source: Sequence[str], number: int) -> list[str]:
    """Turn `number`: what a person says, and what the model answers."""
    return [source[2 * number % len(source)], source[(2 * number + 1) % len(source)]]


def history(source: Sequence[str], length: int) -> list[str]:
    """The first `length` messages."""
    return [source[number % len(source)] for number in range(length)]
