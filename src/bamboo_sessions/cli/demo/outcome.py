"""What a run of the demo found, as text for people and as JSON; the same layout for both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from bamboo_sessions.cli.output import Line
from bamboo_sessions.cli.text import counted, one_line
from bamboo_sessions.testing.history_checker import Finding, Verdict

FINDINGS_SHOWN_MAX: Final = 2
"""Of each kind."""

FINDINGS_IN_JSON_MAX: Final = 1_000
_LABEL_WIDTH: Final = 17
_NUMBER_WIDTH: Final = 8
_FINDING_CHARS_MAX: Final = 200


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run.

    Args:
        naive: Which store it was.
        writers: Runtime writers, in both processes together.
        people: People, in the third process.
        verdict: What the independent check found.
        commits: Commits in all.
        turns: Turns acknowledged to runtime writers.
        merged: Their saves into which something of others came.
        refused: Answers refused because the question had one.
        seconds: How long the replay took.
        replay_commits: Commits acknowledged in that time.
        kept: Where the store was left, if it was.
    """

    naive: bool
    writers: int
    people: int
    verdict: Verdict
    commits: int
    turns: int
    merged: int
    refused: int
    seconds: float
    replay_commits: int
    kept: str | None

    @property
    def store(self) -> str:
        """What was tried."""
        return "a naive store (load, change, write the whole session)" if self.naive else "bamboo-sessions (SQLite)"

    def document(self) -> dict[str, Any]:
        """The outcome as one JSON document."""
        verdict = self.verdict
        return {
            "store": "naive" if self.naive else "bamboo-sessions",
            "ok": verdict.ok,
            "sessions": verdict.sessions,
            "runtime_writers": self.writers,
            "people": self.people,
            "acknowledged": verdict.acknowledged,
            "there": verdict.there,
            "lost": verdict.lost,
            "reverted": verdict.reverted,
            "duplicated": verdict.duplicated,
            "torn": verdict.torn,
            "answers_doubled": verdict.doubled,
            "unacknowledged": verdict.unacknowledged,
            "changes_acknowledged": verdict.changes,
            "answers_acknowledged": verdict.answers,
            "answers_refused": self.refused,
            "turns": self.turns,
            "saves_merged": self.merged,
            "commits": self.commits,
            "seconds": round(self.seconds, 3),
            "turns_per_second": round(self.turns_per_second, 1),
            "commits_per_second": round(self.commits_per_second, 1),
            "kept": self.kept,
            "findings": [_plain(finding) for finding in verdict.findings[:FINDINGS_IN_JSON_MAX]],
        }

    @property
    def turns_per_second(self) -> float:
        """Turns acknowledged per second of the replay."""
        return self.turns / self.seconds

    @property
    def commits_per_second(self) -> float:
        """Durable commits per second of the replay, those of people included."""
        return self.replay_commits / self.seconds

    def lines(self) -> list[Line]:
        """The outcome for people."""
        verdict = self.verdict
        load = f"{counted(verdict.sessions, 'session')}, {counted(self.writers, 'runtime writer')} in 2 processes"
        return [
            Line(((self.store, "bold"),)),
            _row("load", f"{load}, {self.people} people"),
            _row("acknowledged", f"{verdict.acknowledged:,} messages, {verdict.changes:,} titles, pins and values"),
            _row("there", f"{verdict.there:,} messages"),
            _fault("lost", verdict.lost, "acknowledged messages that aren't there"),
            _fault("reverted", verdict.reverted, "titles, pins, values, questions that went back"),
            _fault("duplicated", verdict.duplicated, "messages that are there more than once"),
            _fault("torn turns", verdict.torn, "turns that aren't whole, in order and together"),
            _fault("answers doubled", verdict.doubled, "questions for which two answers counted"),
            _row("answers", f"{verdict.answers:,} acknowledged, {self.refused:,} refused: the question had one"),
            _row("saves", f"{self.turns:,}, and into {self.merged:,} of them came what others had committed"),
            _row(
                "throughput", f"{self.turns_per_second:,.0f} turns/s, {self.commits_per_second:,.0f} durable commits/s"
            ),
            _row("", f"({self.commits:,} commits in all; the replay took {self.seconds:.1f} s)"),
            *_examples(verdict),
            Line(),
            Line(((self._next(), ""),)),
        ]

    def _next(self) -> str:
        """What to look at now."""
        if self.kept is not None:
            is_file = "" if self.naive else f"bamboo-sessions --url {sqlite_url(Path(self.kept))} list"
            return f"Look at it: {is_file or self.kept}"
        if self.naive:
            return "Now without --naive: the same load on bamboo-sessions."
        return "--naive puts the same load on a store without a merge; --keep FILE keeps it."


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{quote(path.absolute().as_posix())}"


def _row(label: str, text: str) -> Line:
    return Line(((f"{label:<{_LABEL_WIDTH}}", ""), (text, "")), indent=2)


def _fault(label: str, count: int, meaning: str) -> Line:
    number = (f"{count:<{_NUMBER_WIDTH},}", "bold red" if count else "bold green")
    return Line(((f"{label:<{_LABEL_WIDTH}}", ""), number, (meaning, "dim")), indent=2)


def _examples(verdict: Verdict) -> list[Line]:
    """Some findings of every kind."""
    if verdict.ok:
        return []
    by_fault: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        by_fault.setdefault(finding.fault, []).append(finding)
    shown = [finding for some in by_fault.values() for finding in some[:FINDINGS_SHOWN_MAX]]
    texts = [one_line(f"{finding.session_id}: {finding.detail}", _FINDING_CHARS_MAX) for finding in shown]
    if more := len(verdict.findings) - len(shown):
        texts.append(f"… and {more:,} more; --json names them")
    return [Line(), Line((("For example:", ""),)), *(Line(((text, ""),), indent=2) for text in texts)]


def _plain(finding: Finding) -> dict[str, str]:
    return {"fault": finding.fault, "session": finding.session_id, "detail": finding.detail}
