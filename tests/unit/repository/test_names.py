"""`SessionRepository` lists functions of many modules; users see one class."""

import asyncio
import inspect
import pydoc
import traceback

import pytest

from bamboo_sessions import Session, SessionNotFoundError, SessionRepository

CALLS = [name for name, _ in inspect.getmembers(SessionRepository, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_named_after_the_class(name: str) -> None:
    """Whatever module has a call, its name says `SessionRepository`."""
    call = getattr(SessionRepository, name)
    assert (call.__module__, call.__qualname__) == ("bamboo_sessions", f"SessionRepository.{name}")
    assert next(iter(inspect.signature(call).parameters)) == "self"
    assert call.__doc__


def test_a_forgotten_await_names_the_class() -> None:
    """The warning about a call that was never awaited names it as the user wrote it."""

    async def forget() -> None:
        async with SessionRepository.open("memory://") as sessions:
            with pytest.warns(RuntimeWarning, match=r"'SessionRepository\.save' was never awaited"):
                sessions.save(Session("a"))  # type: ignore[unused-coroutine]

    asyncio.run(forget())


def test_help_shows_one_class() -> None:
    """`help` lists every call as one of the class's own, and none as another module's."""
    text = pydoc.plain(pydoc.render_doc(SessionRepository))
    assert all(f" {name}(self" in text for name in CALLS)
    assert "repository.reading" not in text


def test_errors_are_named_as_they_are_imported() -> None:
    """Tracebacks name an error by the package, as a user's `except` does."""
    lines = traceback.format_exception_only(SessionNotFoundError("a"))
    assert lines[0].startswith("bamboo_sessions.SessionNotFoundError: ")


def test_a_store_that_is_not_open_says_so() -> None:
    """Whoever forgets to await `open` is told, by the name of the call that was tried."""
    opening = SessionRepository.open("memory://")
    with pytest.raises(AttributeError, match="isn't open yet, so it has no 'load'"):
        opening.load("a")  # type: ignore[attr-defined]
