"""Runs a check and a repair, slice by slice: nobody waits for the whole of it, writers least of all.

Checks only read. A repair mends what was found one session at a time, each in a short transaction of its own, and then
checks again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from bamboo_sessions.domain.report import CheckReport, Problem
from bamboo_sessions.storage.sqlite.transactions.engine import Engine
from bamboo_sessions.storage.sqlite.transactions.tuning import PROBLEMS_MAX
from bamboo_sessions.storage.sqlite.upkeep import check, repair
from bamboo_sessions.storage.sqlite.upkeep.copying import copy

_LEFTOVERS: Final = "leftovers"


async def find_problems(engine: Engine, namespace: str | None) -> CheckReport:
    """Check a namespace, or the whole file (`None`). Lists at most `PROBLEMS_MAX` problems."""
    problems: list[Problem] = []
    for part in check.parts(namespace):
        found = await engine.read_aside(partial(check.look, part=part))
        problems += found.problems
        if not found.is_readable:
            return _report(problems)
    last: int | None = 0
    while last is not None and len(problems) < PROBLEMS_MAX:
        found = await engine.read_aside(partial(check.look_at_sessions, namespace=namespace, after=last))
        problems += found.problems
        if not found.is_readable:
            return _report(problems)
        last = found.last
    return _report(problems, *await engine.read_aside(partial(check.count, namespace=namespace)))


def _report(problems: list[Problem], sessions: int = 0, messages: int = 0) -> CheckReport:
    return CheckReport(sessions=sessions, messages=messages, problems=tuple(problems[:PROBLEMS_MAX]))


async def mend(engine: Engine, backup: Path, namespace: str | None) -> CheckReport:
    """Back up, mend what can be mended, and check again; says of each problem whether it is gone."""
    await engine.read_aside(partial(copy, target=backup))
    before = await find_problems(engine, namespace)
    if any(problem.kind == _LEFTOVERS for problem in before.problems):
        for table in check.OWNED:
            while await engine.write(partial(repair.remove_leftovers, table=table)):
                pass
    damaged = dict.fromkeys((each.namespace, each.session_id) for each in before.problems if each.repair)
    for owner, session_id in damaged:
        if owner is not None and session_id is not None:
            await engine.write(partial(repair.mend_session, namespace=owner, session_id=session_id))
    after = await find_problems(engine, namespace)
    left = {_identity(problem) for problem in after.problems}
    problems = tuple(msgspec.structs.replace(each, repaired=_identity(each) not in left) for each in before.problems)
    return msgspec.structs.replace(after, problems=problems, backup=str(backup))


def _identity(problem: Problem) -> tuple[str | None, ...]:
    return problem.kind, problem.namespace, problem.session_id, problem.detail
