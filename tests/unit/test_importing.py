"""What importing the package loads, in a process of its own each."""

import inspect
import pickle
import subprocess
import sys
from typing import get_type_hints

import msgspec
import pytest

import bamboo_sessions
from bamboo_sessions import Message, SessionRepository, ToolCall


def _loaded_after(code: str) -> set[str]:
    """The modules that a new process has loaded once it ran `code`."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_an_engine_is_loaded_when_a_store_is_opened() -> None:
    """Importing the repository loads no engine and no driver; opening a store loads the one that it needs."""
    engines = {"apsw", "bamboo_sessions.storage.sqlite", "bamboo_sessions.storage.memory"}
    imported = _loaded_after("from bamboo_sessions import SessionRepository")
    assert "bamboo_sessions.repository" in imported
    assert not imported & engines
    opened = _loaded_after("from bamboo_sessions import SessionRepository as R; R.open('memory://')")
    assert opened & engines == {"bamboo_sessions.storage.memory"}
    opened = _loaded_after("from bamboo_sessions import SessionRepository as R; R.open('sqlite:///a.db')")
    assert opened & engines == {"apsw", "bamboo_sessions.storage.sqlite"}


def test_what_searches_is_loaded_with_the_first_search() -> None:
    """A process that opens a store and never searches loads nothing of what matches and indexes texts."""
    opened = _loaded_after(
        "import asyncio, tempfile, pathlib\n"
        "from bamboo_sessions import SessionRepository\n"
        "async def main():\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        async with SessionRepository.open(pathlib.Path(folder, 'a.db')) as sessions:\n"
        "            await sessions.save(await sessions.load_or_create('a'))\n"
        "asyncio.run(main())"
    )
    assert "bamboo_sessions.storage.sqlite.search.engine" in opened
    assert not {name for name in opened if name.rpartition(".")[2] in {"search_match", "search_query", "search_index"}}


def test_a_name_of_the_package_is_there_however_it_is_asked_for() -> None:
    """Every public name is an attribute, and in `dir`; any other is an AttributeError."""
    assert all(hasattr(bamboo_sessions, name) for name in bamboo_sessions.__all__)
    assert set(bamboo_sessions.__all__) <= set(dir(bamboo_sessions))
    with pytest.raises(AttributeError, match="has no attribute 'Postgres'"):
        _ = bamboo_sessions.Postgres  # type: ignore[attr-defined]


def test_what_is_public_is_named_as_it_is_imported() -> None:
    """Classes, engines too, and the repository's calls bear the package's name; annotations are still found."""
    public = [getattr(bamboo_sessions, name) for name in bamboo_sessions.__all__]
    kinds = [value for value in public if inspect.isclass(value)]
    assert {kind.__module__ for kind in kinds} == {"bamboo_sessions"}
    assert all(get_type_hints(kind) is not None for kind in kinds)
    calls = [value for value in vars(SessionRepository).values() if inspect.isfunction(value)]
    assert {call.__module__ for call in calls} == {"bamboo_sessions"}
    assert {call.__qualname__.partition(".")[0] for call in calls} == {"SessionRepository"}


def test_a_renamed_value_is_still_read_and_pickled() -> None:
    """JSON decoders that a user makes, and pickles, find it by its public name."""
    message = Message.assistant("x", [ToolCall("1", "look_up")])
    assert msgspec.json.decode(msgspec.json.encode(message), type=Message) == message
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - our own bytes
