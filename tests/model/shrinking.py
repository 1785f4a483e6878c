"""Makes a failing program short: steps are left out as long as it still fails, then their numbers are made small."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model.steps import Step

Steps = tuple[Step, ...]


def shrunk(steps: Steps, fails: Callable[[Steps], bool], *, tries_max: int = 1_000) -> Steps:
    """A part of `steps`, with small numbers, that fails and from which nothing more can be taken.

    Args:
        steps: A program that fails.
        fails: Whether a program fails in the same way.
        tries_max: After how many programs the shortest one so far has to do.
    """
    tries = 0

    def still_fails(program: Steps) -> bool:
        nonlocal tries
        tries += 1
        return tries <= tries_max and fails(program)

    before: Steps | None = None
    while steps != before:
        before = steps
        steps = _with_small_numbers(_without_steps(steps, still_fails), still_fails)
    return steps


def _without_steps(steps: Steps, fails: Callable[[Steps], bool]) -> Steps:
    """Leave steps out, many at once first, from the end."""
    size = len(steps)
    while size:
        for start in range(len(steps) - size, -size, -size):
            shorter = steps[: max(start, 0)] + steps[start + size :]
            if fails(shorter):
                steps = shorter
        size //= 2
    return steps


def _with_small_numbers(steps: Steps, fails: Callable[[Steps], bool]) -> Steps:
    for place in range(len(steps)):
        for simpler in _simpler(steps[place]):
            changed = (*steps[:place], simpler, *steps[place + 1 :])
            if fails(changed):
                steps = changed
                break
    return steps


def _simpler(step: Step) -> Iterator[Step]:
    """The same step with simpler choices, the simplest first."""
    yield Step(step.what)
    if step.sid != "a":
        yield step._replace(sid="a")
    if step.flag:
        yield step._replace(flag=False)
    yield from (step._replace(number=number) for number in range(step.number))
    yield from (step._replace(value=value) for value in range(step.value))
