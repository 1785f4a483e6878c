import msgspec
import pytest

from benchmarks.report import LATEST, PAGE, filled, notes, read, sections, table, targets_table
from benchmarks.results import FLOOR, OURS, Figure, Results, Verdict, document


def _results() -> Results:
    results = Results("2026-11-22T12:00:00+00:00", quick=True, machine={"cpu": "2 × fast"}, versions={"apsw": "3"})
    results.figures = [
        Figure("save", OURS, "ms", (0.5, 0.7, 0.6), 1_000),
        Figure("save", OURS, "ms", (0.5,), 10),
        Figure("save", FLOOR, "ms", (0.5,), 10),
    ]
    results.verdicts = [Verdict("save", 10, "≤ 0.6 × the fastest peer", 0.5, "×", met=True, against="agents")]
    results.notes = [r"a note with a \backslash"]
    return results


def test_the_page_says_what_the_results_say() -> None:
    """The tables of the page on performance are those of the JSON; `python -m benchmarks.report` makes them so."""
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, read()) == page


def test_the_results_are_of_a_whole_run() -> None:
    """The published figures have ours, the floor and every peer, and a verdict for each kind of target."""
    results = read(LATEST)
    assert {"ours", "floor", "agents", "langgraph", "adk-db", "adk-sqlite", "strands", "agno"} == {
        figure.store for figure in results.figures
    }
    assert results.verdicts


def test_the_document_is_read_back_as_it_was() -> None:
    """The JSON has all there is of a run, a line for each figure."""
    text = document(_results())
    assert msgspec.json.decode(text, type=Results) == _results()
    assert sum('"case":"save"' in line for line in text.splitlines()) == 4


def test_a_row_for_each_case_and_size_a_column_for_each_store() -> None:
    """The median of the rounds is shown; what wasn't measured is left empty."""
    assert table(_results()).splitlines()[2:] == ["| save | 10 | 0.50 ms | 0.50 ms |", "| save | 1,000 | 0.60 ms |  |"]


def test_a_verdict_names_the_peer() -> None:
    """A target against the fastest peer says which one that was."""
    assert targets_table(_results()).splitlines()[2:] == [
        "| save | 10 | ≤ 0.6 × the fastest peer | 0.50 × (agents) | met |"
    ]


def test_only_what_stands_between_the_markers_changes() -> None:
    """The words around the generated parts stay, and each part is replaced whole."""
    names = list(sections(_results()))
    page = "".join(f"words\n<!-- {name}: generated -->\nold\n<!-- {name}: end -->\n" for name in names)
    new = filled(page, _results())
    assert "old" not in new
    assert new.count("words") == len(names)
    assert r"\backslash" in new
    assert filled(new, _results()) == new


def test_a_busy_machine_is_told_of() -> None:
    """Figures from a machine with other work on it come with a warning."""
    results = _results()
    assert notes(results) == r"- a note with a \backslash"
    results.machine["load before"] = "1.1 0.4 0.2"
    assert "busy" in notes(results)


def test_a_page_without_a_marker_is_refused() -> None:
    """A part that has lost its place isn't dropped silently."""
    with pytest.raises(SystemExit):
        filled("no markers", _results())
