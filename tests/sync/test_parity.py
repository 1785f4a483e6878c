"""Every call has its twin: the same name, arguments, defaults and types."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from bamboo_sessions import RunLease, SessionRepository, StoreAdmin, SyncRunLease, SyncSessionRepository, SyncStoreAdmin
from bamboo_sessions.repository.records import Records
from bamboo_sessions.sync import SyncRecords
from tests.sync.generate import FOLDER, NO_TWIN, TWINS, Twin, written

PAIRS = [
    (SessionRepository, SyncSessionRepository),
    (StoreAdmin, SyncStoreAdmin),
    (RunLease, SyncRunLease),
    (Records, SyncRecords),
]
CALLS = [
    pytest.param(kind, twin, name, id=f"{twin.__name__}.{name}")
    for kind, twin in PAIRS
    for name in dir(kind)
    if not name.startswith("_") and name not in NO_TWIN
]


@pytest.mark.parametrize(("kind", "twin", "name"), CALLS)
def test_every_call_has_its_twin(kind: type, twin: type, name: str) -> None:
    """A call, and a property, has a twin with the same arguments and documentation, which isn't a coroutine."""
    theirs, ours = getattr(kind, name), getattr(twin, name)
    assert ours.__doc__
    if isinstance(theirs, property):
        assert isinstance(ours, property)
        return
    assert _arguments(ours) == _arguments(theirs)
    assert not inspect.iscoroutinefunction(ours)
    assert not inspect.isasyncgenfunction(ours)


def _arguments(call: Callable[..., object]) -> list[inspect.Parameter]:
    """The arguments but `self`, which is annotated where a call is a function."""
    return [
        argument for argument in inspect.signature(call).parameters.values() if argument.name not in {"self", "cls"}
    ]


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.file)
def test_the_twins_are_current(twin: Twin) -> None:
    """What is checked in is what would be written; `python -m tests.sync.generate` writes it."""
    assert (FOLDER / twin.file).read_text(encoding="utf-8") == written(twin)


@pytest.mark.parametrize(("kind", "twin"), PAIRS)
def test_nothing_speaks_of_awaiting(kind: type, twin: type) -> None:
    """The documentation of a twin is that of a plain call."""
    for name, value in vars(twin).items():
        doc = (getattr(value, "__doc__", None) or "").lower()
        assert not any(word in doc for word in ("async ", "`await ", "await it", "aclos", "cancel")), f"{name}: {doc}"
