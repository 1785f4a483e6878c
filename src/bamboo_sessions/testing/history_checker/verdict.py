"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fault = Literal["lost", "reverted", "duplicated", "torn", "doubled"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise: its kind, where, and a sentence that says what is wrong."""

    fault: Fault
    session_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Args:
        sessions: Sessions that were stored or acknowledged.
        acknowledged: Acknowledged messages, answers included, removed ones not.
        there: How many of them are there.
        unacknowledged: Messages that are there though nobody noted them; no fault.
        changes: Acknowledged changes of titles, pins and values.
        answers: Acknowledged answers.
        findings: Everything that is wrong.
    """

    sessions: int
    acknowledged: int
    there: int
    unacknowledged: int
    changes: int
    answers: int
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.findings

    def count(self, fault: Fault) -> int:
        """How often one kind of promise was broken."""
        return sum(finding.fault == fault for finding in self.findings)

    @property
    def lost(self) -> int:
        """Acknowledged messages that aren't there."""
        return self.count("lost")

    @property
    def reverted(self) -> int:
        """Titles, pins, values and questions that went back behind what was acknowledged, and versions that did."""
        return self.count("reverted")

    @property
    def duplicated(self) -> int:
        """Messages that are there more than once."""
        return self.count("duplicated")

    @property
    def torn(self) -> int:
        """Turns that aren't whole, in order and together, and tool results parted from their call."""
        return self.count("torn")

    @property
    def doubled(self) -> int:
        """Questions for which more than one answer took effect."""
        return self.count("doubled")
