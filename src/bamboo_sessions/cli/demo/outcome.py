"""What a run of the demo found, as text for people and as JSON; the same layout for both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bamboo_sessions.testing.history_checker import Finding, Verdict

CHECKED: Final = "checked.json"
"""The file in which the checker leaves its result for the supervisor."""

FINDINGS_SHOWN_MAX: Final = 8
FINDINGS_IN_JSON_MAX: Final = 1_000
_LABEL_WIDTH: Final = 17


class Checked(msgspec.Struct, frozen=True):
    """The checker's verdict, and the commits that the store counted itself (0: it doesn't count)."""

    verdict: Verdict
    commits: int


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
        return "the naive store (load, change, write the whole session)" if self.naive else "bamboo-sessions (SQLite)"

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

    def text(self) -> str:
        """The outcome as lines for people."""
        verdict = self.verdict
        lines = [
            click.style(self.store, bold=True),
            _row(
                "load",
                f"{verdict.sessions:,} sessions, {self.writers} runtime writers in 2 processes, "
                f"{self.people} people in a third",
            ),
            _row(
                "acknowledged",
                f"{verdict.acknowledged:,} messages, {verdict.changes:,} titles, pins and values, "
                f"{verdict.answers:,} answers",
            ),
            _row("there", f"{verdict.there:,} messages"),
            _fault("lost", verdict.lost, "acknowledged messages that aren't there"),
            _fault("reverted", verdict.reverted, "titles, pins, values, questions, versions that went back"),
            _fault("duplicated", verdict.duplicated, "messages that are there twice"),
            _fault("torn turns", verdict.torn, "turns that aren't whole, in order and together"),
            _fault("answers doubled", verdict.doubled, "questions for which two answers counted"),
            _row("merged", f"{self.merged:,} of {self.turns:,} saves met what others had committed"),
            _row("refused", f"{self.refused:,} answers to questions that had one"),
            _row(
                "throughput",
                f"{self.turns_per_second:,.0f} turns/s, {self.commits_per_second:,.0f} durable "
                f"commits/s ({self.commits:,} commits, replay {self.seconds:.1f} s)",
            ),
        ]
        shown = _examples(verdict)
        if shown:
            lines += ["", "For example:", *(f"  {finding.session_id}: {finding.detail}" for finding in shown)]
            if (more := len(verdict.findings) - len(shown)) > 0:
                lines.append(f"  … and {more:,} more (--json lists them)")
        return "\n".join([*lines, "", *self._last_lines()])

    def _last_lines(self) -> list[str]:
        if self.naive:
            kept = (
                f"Its files: {self.kept}" if self.kept else "Run it without --naive to see the same load lose nothing."
            )
            return [kept]
        if self.kept is None:
            return [
                "To look at the sessions afterwards, run it with --keep FILE; with --naive to see what a merge saves."
            ]
        return [f"Look at it: bamboo-sessions --url {sqlite_url(Path(self.kept))} list"]


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path.absolute().as_posix()}"


def _row(label: str, text: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{text}"


def _fault(label: str, count: int, meaning: str) -> str:
    number = click.style(f"{count:<9,}", fg="red" if count else "green", bold=True)
    return _row(label, number + click.style(meaning, dim=True))


def _examples(verdict: Verdict) -> list[Finding]:
    """Some findings of every kind."""
    faults = dict.fromkeys(finding.fault for finding in verdict.findings)
    each = max(1, FINDINGS_SHOWN_MAX // max(1, len(faults)))
    return [
        finding
        for fault in faults
        for finding in [finding for finding in verdict.findings if finding.fault == fault][:each]
    ]


def _plain(finding: Finding) -> dict[str, str]:
    return {"fault": finding.fault, "session": finding.session_id, "detail": finding.detail}
