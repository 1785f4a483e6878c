"""What a run of the demo found, as text for people and as JSON; the same layout for both stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bamboo_sessions.cli.output import Line
from bamboo_sessions.cli.text import counted, one_line
from bamboo_sessions.testing.history_checker import Finding, Verdict

FINDINGS_SHOWN_MAX: Final = 2
"""Of each kind."""

FINDINGS_IN_JSON_MAX: Final = 1_000
_LABEL_WIDTH: Final = 15
_COLUMN_WIDTH: Final = 15
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


def store_name(*, naive: bool) -> str:
    """What the stores are called."""
    return "a plain store" if naive else "bamboo-sessions"


def race_lines(plain: Outcome, ours: Outcome) -> list[Line]:
    """Both outcomes side by side, for people."""
    verdict = ours.verdict
    load = f"{counted(verdict.sessions, 'session')}, {counted(ours.writers, 'runtime writer')} in 2 processes"
    both = (plain, ours)
    names = tuple(store_name(naive=each.naive) for each in both)
    return [
        Line(((f"The same load on both: {load}, {ours.people} people.", ""),)),
        Line(),
        _row("", names, ""),
        _row("acknowledged", [f"{each.verdict.acknowledged:,}" for each in both], "messages"),
        _row("there", [f"{each.verdict.there:,}" for each in both], "messages, read back by a fresh process"),
        *(_faults(label, [getattr(each.verdict, name) for each in both], of) for label, name, of in _FAULTS),
        *_examples(plain.verdict, "Wrong in the plain store, which writes whole sessions under a lock:"),
        *_examples(verdict, "Wrong in bamboo-sessions:"),
    ]


_FAULTS: Final = (
    ("lost", "lost", "messages that aren't there"),
    ("taken back", "reverted", "titles, pins, values, questions"),
    ("duplicated", "duplicated", "messages"),
    ("torn", "torn", "turns that others broke into"),
    ("answered twice", "doubled", "questions"),
)


def _row(label: str, cells: Sequence[str], meaning: str, styles: Sequence[str] = ("", "")) -> Line:
    numbers = [(f"{cell:>{_COLUMN_WIDTH}}  ", style) for cell, style in zip(cells, styles, strict=True)]
    return Line(((f"{label:<{_LABEL_WIDTH}}", ""), *numbers, (meaning, "dim")), indent=2)


def _faults(label: str, counts: Sequence[int], meaning: str) -> Line:
    styles = ["bold red" if count else "bold green" for count in counts]
    return _row(label, [f"{count:,}" for count in counts], meaning, styles)


def _examples(verdict: Verdict, heading: str) -> list[Line]:
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
    return [Line(), Line(((heading, ""),)), *(Line(((text, ""),), indent=2) for text in texts)]


def _plain(finding: Finding) -> dict[str, str]:
    return {"fault": finding.fault, "session": finding.session_id, "detail": finding.detail}
