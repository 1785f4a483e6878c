"""Holds the store's own log of commits to what a run lease promises (G12). Knows nothing of leases but tokens."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import apsw


class Written(NamedTuple):
    """A message that was written through a lease: by which commit, in the order of commits, and what it says."""

    position: int
    message_id: str
    token: int
    name: str
    step: int


def written_through_leases(path: Path, session_id: str) -> list[Written]:
    """All messages with a token, in the order of the commits that added them."""
    connection = apsw.Connection(str(path))
    found = connection.execute(
        "SELECT position, CAST(body AS TEXT) FROM commits JOIN sessions ON key = session "
        "WHERE session_id = ? AND lines > 0 ORDER BY position",
        (session_id,),
    ).fetchall()
    connection.close()
    written = []
    for position, body in found:
        assert isinstance(position, int)
        for message in map(json.loads, str(body).split("\n")):
            metadata = message.get("metadata") or {}
            if "token" in metadata:
                values = (metadata["token"], metadata["name"], metadata["step"])
                written.append(Written(position, message["id"], *values))
    return written


def violations(written: list[Written]) -> list[str]:
    """What contradicts "one run at a time": tokens that go down, tokens of two runs, runs with holes or doubles."""
    found = [
        f"commit {later.position} of token {later.token} came after commit {earlier.position} of {earlier.token}"
        for earlier, later in pairwise(written)
        if later.token < earlier.token
    ]
    runs: dict[int, list[Written]] = {}
    for each in written:
        runs.setdefault(each.token, []).append(each)
    for token, run in runs.items():
        if len({each.name for each in run}) > 1:
            found.append(f"token {token} was given to {sorted({each.name for each in run})}")
        if [each.step for each in run] != list(range(len(run))):
            found.append(f"token {token} wrote the steps {[each.step for each in run]}")
    return found
