"""Searching 100,000 messages through the repository (a quick run: 5,000), and what the index costs writers."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from itertools import accumulate
from pathlib import Path

from bamboo_sessions import Message, SessionRepository
from benchmarks.harness import Row, row, timed
from benchmarks.targets import SEARCH, SEARCHED_APPEND
from benchmarks.workloads import QUICK_SAMPLES, in_process

MESSAGES, MESSAGES_QUICK = 100_000, 5_000
PER_SESSION = 200
_SYLLABLES = "an ber con der es for ga hin in jo ka lor men no or pre qui re sol ter un ver wo ex yo za ing tion"


class Prose:
    """Texts of about 500 characters: words that are as unevenly common as those of a language; some are Chinese."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        made = ("".join(self._random.choices(_SYLLABLES.split(), k=self._random.randint(1, 4))) for _ in range(60_000))
        self.words = list(dict.fromkeys(made))
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(len(self.words))))
        self._signs = [chr(0x4E00 + number) for number in range(3_000)]
        self._sign_weights = list(accumulate(1 / (rank + 20) for rank in range(len(self._signs))))

    def text(self) -> str:
        """One text."""
        if self._random.random() < 0.1:
            return "".join(self._random.choices(self._signs, cum_weights=self._sign_weights, k=120))
        return " ".join(self._random.choices(self.words, cum_weights=self._weights, k=80))

    def questions(self, texts: Sequence[str]) -> dict[str, list[str]]:
        """Searches by kind; those that should find something are made of texts that there are."""
        roman = [text.split() for text in self._random.sample(texts, 400) if text.isascii()][:40]
        chinese = [text for text in self._random.sample(texts, 2_000) if not text.isascii()][:40]
        long = [max(words, key=len) for words in roman]
        return {
            "a rare word": self.words[-40:],
            "a common word": self.words[:40],
            "two common words": [" ".join(self._random.sample(self.words[:60], 2)) for _ in range(40)],
            "a phrase": [f'"{" ".join(words[10:12])}"' for words in roman],
            "a prefix": [f"{words[20][:4]}*" for words in roman],
            "a part of a word": [word[1:-1] for word in long],
            "two Chinese signs": [text[30:32] for text in chinese],
            "four Chinese signs": [text[50:54] for text in chinese],
            "nothing there": [f"xq{word[::-1]}" for word in long],
        }


async def searches(folder: Path, samples: int) -> AsyncIterator[Row]:
    """What searches take, and what they cost."""
    for workload in (_search, _search_cost):
        async for measured in workload(folder, samples):
            yield measured


async def _search(folder: Path, samples: int) -> AsyncIterator[Row]:
    """Medians by kind of search, how fast messages are indexed, and the size of the index."""
    prose = Prose()
    amount = MESSAGES if samples > QUICK_SAMPLES else MESSAGES_QUICK
    texts = [prose.text() for _ in range(amount)]
    path = folder / "search.db"
    async with SessionRepository.open(path, durability="relaxed") as sessions:
        for start in range(0, amount, PER_SESSION):
            said = [Message.user(text) for text in texts[start : start + PER_SESSION]]
            await sessions.append(f"chat-{start}", *said, create=True)
        began = time.perf_counter()
        await sessions.search("build")
        seconds = time.perf_counter() - began
        yield Row("index messages", amount / seconds, "messages/s")
        size = (await sessions.storage.stats())["search_bytes"]
        yield Row("index, to the size of the texts", size / sum(map(len, texts)), "×")
        taken: list[float] = []
        for kind, questions in prose.questions(texts).items():
            seconds_of = [await timed(lambda: sessions.search(question)) for question in questions]  # noqa: B023
            taken += seconds_of
            yield row(f"search: {kind}", seconds_of)
        yield row(SEARCH, taken)
        yield Row("search: slowest", max(taken) * 1e3, "ms", samples=len(taken))


async def _search_cost(folder: Path, samples: int) -> AsyncIterator[Row]:
    """Appending a turn to a store that is searched, against one that isn't: in turns, on two files."""
    prose = Prose(2)
    async with (
        SessionRepository.open(folder / "searched.db") as searched,
        SessionRepository.open(folder / "unsearched.db") as plain,
    ):
        for sessions in (searched, plain):
            await sessions.append("chat", Message.user("first"), create=True)
        await searched.search("first")
        taken: dict[str, list[float]] = {"searched": [], "plain": []}
        for _ in range(samples * 10):
            text = prose.text()
            for name, sessions in (("plain", plain), ("searched", searched)):
                said = (Message.user(text), Message.assistant(text))
                taken[name].append(await timed(lambda: sessions.append("chat", *said)))  # noqa: B023 - called at once
    yield row(SEARCHED_APPEND, taken["searched"], floor=taken["plain"])
    means = [statistics.fmean(taken[name]) * 1e3 for name in ("searched", "plain")]
    yield Row("the same, means", means[0], "ms", means[1], means[0] / means[1], samples * 10)


run = in_process(searches)
