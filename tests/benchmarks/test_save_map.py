"""The map of one save: what is counted, and what isn't."""

import asyncio
import sys
import threading

from benchmarks.save_map import Call, counted, followed, summary, trace


def test_a_save_and_an_append_are_followed_down_to_the_engine() -> None:
    """The map begins at the public call and reaches SQLite's commit; nothing is watched afterwards."""
    calls = asyncio.run(followed())
    assert list(calls) == ["save", "append"]
    for name, made in calls.items():
        assert (made[0].name.rpartition(".")[2], made[0].depth, made[0].is_move) == (name, 1, True)
        assert "SqliteStorage.commit" in {call.name for call in made}
        assert len({(call.file, call.name, call.depth) for call in made}) > 50
    assert sys.getprofile() is None
    assert threading.getprofile() is None


def test_a_save_and_an_append_write_few_pages_in_few_statements() -> None:
    """BEGIN, one UPDATE, one INSERT, COMMIT; four or five pages; and now and then the index of ids."""
    for name, (statements, pages) in asyncio.run(counted()).items():
        assert 4 <= statements < 4.5, name
        assert pages <= 5, name


def test_the_summary_counts_calls_moves_files_and_depth() -> None:
    """A call within a file is no move; the trace is indented by depth."""
    calls = [Call("a.py", "save", 1, True), Call("b.py", "merge", 2, True), Call("b.py", "_merge", 3, False)]
    assert summary(calls) == "3 calls, 2 moves between 2 files, 3 deep"
    assert trace(calls).splitlines() == ["save  [a.py]", "  merge  [b.py]", "    _merge  [b.py]"]
