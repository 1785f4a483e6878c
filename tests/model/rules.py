"""What each kind of step does: its five values become a call of one of the operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.model.operations import Operations
from tests.model.steps import KINDS, Step

Rule = Callable[[Operations, Step], None]


def take(world: Operations, step: Step) -> None:
    """Take a step; one that makes no sense now does nothing."""
    RULES[step.what](world, step)


# --- what a run does with a working copy of any age


def _load(world: Operations, step: Step) -> None:
    world.load(step.sid, step.number)


def _with_copy(rule: Rule) -> Rule:
    """Where there is no copy yet, one is loaded in place of what would be done to it."""

    def take_or_load(world: Operations, step: Step) -> None:
        (rule if world.copies else _load)(world, step)

    return take_or_load


def _add(world: Operations, step: Step) -> None:
    world.add(step.number, [step.value % 4, step.number % 4][: 1 + step.flag])


def _rework(how: str) -> Rule:
    def rework(world: Operations, step: Step) -> None:
        if any(copy.session.messages for copy in world.copies):
            world.rework(step.number, step.value, how)

    return _with_copy(rework)


def _field(world: Operations, step: Step) -> None:
    if any(copy.work.seen for copy in world.copies):
        world.set_field(step.number, step.value, ("model", "note", "forget", "title")[(step.value + step.flag) % 4])


def _question(what: str) -> Rule:
    return _with_copy(lambda world, step: world.question(step.number, what))


def _save(*, additions_only: bool) -> Rule:
    def save(world: Operations, step: Step) -> None:
        copy = world.copy(step.number)
        if step.value % 3 == 1:
            world.twin(step.number)  # somebody has the same work, and will save it later
        world.save(copy, additions_only=additions_only, elsewhere=step.flag)

    return _with_copy(save)


# --- what somebody does to the latest state


def _append(world: Operations, step: Step) -> None:
    kinds = [step.value % 4, step.number // 2 % 4][: 1 + step.flag]
    world.append(step.sid, step.number, kinds, create=step.value < 8)


def _append_again(world: Operations, step: Step) -> None:
    if world.originals:
        world.append_again(step.value * 3 + step.number, step.number, other=step.flag)


def _answer(world: Operations, step: Step) -> None:
    if any(kept.questions for kept in world.plain.living.values()):
        world.answer(step.value, step.number, int(step.flag))


def _author(world: Operations, step: Step) -> None:
    world.author(step.sid, step.number, step.value, ("rename", "pin", "set", "remove")[(step.value + step.flag) % 4])


def _rewrite(how: str) -> Rule:
    def rewrite(world: Operations, step: Step) -> None:
        if any(kept.order for kept in world.plain.living.values()):
            world.rewrite(step.number, step.number // 2, step.value, how)

    return rewrite


def _lose(world: Operations, step: Step) -> None:
    world.lose_an_answer(step.number, ("commit", "commit", "still_newest", "still_newest")[step.value % 4])


RULES: Final[dict[str, Rule]] = {
    "load": _load,
    "twin": _with_copy(lambda world, step: world.twin(step.number)),
    "add": _with_copy(_add),
    "insert": _rework("insert"),
    "edit": _rework("edit"),
    "take out": _rework("remove"),
    "replace": _rework("replace"),
    "field": _field,
    "ask in copy": _question("ask"),
    "withdraw": _question("withdraw"),
    "consume": _question("consume"),
    "save": _save(additions_only=False),
    "checkpoint": _save(additions_only=True),
    "save while down": _with_copy(lambda world, step: world.save_while_storage_is_down(step.number)),
    "append": _append,
    "append again": _append_again,
    "update": lambda world, step: world.update(step.sid, step.number, step.value, block=step.flag),
    "author": _author,
    "ask": lambda world, step: world.ask(step.sid, step.number, step.value),
    "answer": _answer,
    "remove last": lambda world, step: world.remove_last(step.sid, step.number, 1 + step.value % 3),
    "truncate": _rewrite("truncate"),
    "clear": _rewrite("clear"),
    "rewrite": _rewrite("replace"),
    "create": lambda world, step: world.create(step.sid, step.number),
    "child": lambda world, step: world.create_child(step.sid, step.number),
    "delete": lambda world, step: world.delete(step.sid, step.number),
    "clean": lambda world, step: world.clean_up(step.number),
    "fork": lambda world, step: world.fork(step.sid, step.number, step.value),
    "lose": _lose,
}

assert set(RULES) == set(KINDS)
