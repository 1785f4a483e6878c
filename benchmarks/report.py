"""Tables of the results, in Markdown: `python -m benchmarks.report` puts them between the markers of the page.

Charts come from `charts`, in an environment of their own; `--charts` draws them too.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks import targets
from benchmarks.drivers import FLOOR, OURS, PEERS
from benchmarks.environments import ROOT, clean_environment, python_of
from benchmarks.results import Results, Verdict, shown

LATEST = ROOT / "benchmarks" / "results" / "latest.json"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
CHARTS = ROOT / "docs" / "explanation" / "charts"
_STORES = (OURS, FLOOR, *PEERS)
_HEADS = {"ours": "**ours**", "adk-db": "ADK database", "adk-sqlite": "ADK SQLite"}


def table(results: Results) -> str:
    """All figures: a row for each case and size, a column for each store that was measured."""
    measured = {figure.store for figure in results.figures}
    stores = [store.name for store in _STORES if store.name in measured]
    keys = dict.fromkeys((figure.case, figure.size) for figure in results.figures)
    cases = list(dict.fromkeys(case for case, _ in keys))
    ordered = sorted(keys, key=lambda key: (cases.index(key[0]), key[1] or 0))
    rows = []
    for case, size in ordered:
        found = [results.find(case, name, size) for name in stores]
        cells = [shown(figure.value, figure.unit) if figure else "" for figure in found]
        rows.append([case, "" if size is None else f"{size:,}", *cells])
    return _markdown(["", "at", *(_HEADS.get(name, name) for name in stores)], rows)


COSTS = (
    (targets.SAVE, 1_000, "save a turn, durable", "1,000 messages are there"),
    (targets.COLD, 1_000, "load all messages, first time", "1,000 messages"),
    (targets.AGAIN, 1_000, "load them again", "1,000 messages"),
    (targets.LAST, 1_000, "load the last 50", "1,000 messages are there"),
    (targets.PAGE, 1_000, "list the first 50 sessions", "of 1,000"),
    (targets.TASKS[16], None, "turns written by 16 tasks", "one process"),
    (targets.PROCESSES, None, "turns written by 8 processes", "one file"),
    (targets.PROCESSES_P99, None, "… the slowest of 100 turns", ""),
    (targets.FILE, None, "on disk for each message", "466 bytes of text"),
)
"""What a reader wants to know first: case, size, what it is called, under which circumstances."""


def costs_table(results: Results) -> str:
    """What the usual things cost, in each store."""
    measured = {figure.store for figure in results.figures}
    stores = [store.name for store in (OURS, *PEERS) if store.name in measured]
    rows = []
    for case, size, title, circumstances in COSTS:
        found = [results.find(case, name, size) for name in stores]
        if any(found):
            cells = [shown(figure.value, figure.unit) if figure else "" for figure in found]
            rows.append([title, circumstances, *cells])
    return _markdown(["", "", *(_HEADS.get(name, name) for name in stores)], rows)


def targets_table(results: Results) -> str:
    """Each target, what was measured, and whether that meets it."""
    return _markdown(["", "at", "target", "measured", ""], [_row(verdict) for verdict in results.verdicts])


def _row(verdict: Verdict) -> list[str]:
    size = "" if verdict.size is None else f"{verdict.size:,}"
    measured = shown(verdict.measured, verdict.unit)
    if verdict.against is not None and verdict.against != FLOOR.name:
        measured += f" ({verdict.against})"
    return [verdict.case, size, verdict.target, measured, "met" if verdict.met else "**missed**"]


def facts_table(results: Results) -> str:
    """The machine and the versions."""
    kind = "a quick run" if results.quick else "a full run"
    facts = {"measured": f"{results.at}, {kind}"} | results.machine | results.versions
    return _markdown(["", ""], [[name, value] for name, value in facts.items()])


def stores_table() -> str:
    """Which stores there are, and what makes a turn durable in each."""
    return _markdown(["", "store", "as it ships"], [[store.name, store.title, store.note] for store in _STORES])


def notes(results: Results) -> str:
    """What a reader has to know: whether the machine was busy, and what was cut."""
    found = [*_busy(results.machine), *results.notes]
    return "\n".join(f"- {note}" for note in found) or "Nothing was cut."


def _busy(machine: Mapping[str, str]) -> Iterator[str]:
    """A warning, if other work ran on the machine when the run began."""
    load, processors = machine.get("load before", "0").split()[0], machine.get("cpu", "1").split()[0]
    if float(load) > int(processors) / 2:
        yield (
            f"Other work kept the machine busy (a load of {load} on {processors} processors): absolute figures are too "
            "high and scattered, ratios hold roughly."
        )


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def sections(results: Results) -> dict[str, str]:
    """What stands between the markers of the page, by name."""
    return {
        "costs": costs_table(results),
        "stores": stores_table(),
        "facts": facts_table(results),
        "targets": targets_table(results),
        "figures": table(results),
        "notes": notes(results),
    }


def filled(page: str, results: Results) -> str:
    """The page with its generated parts made from `results`."""
    for name, text in sections(results).items():
        start, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        pattern = re.escape(start) + ".*?" + re.escape(end)
        part = f"{start}\n{text}\n{end}".replace("\\", r"\\")
        page, count = re.subn(pattern, part, page, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"The page has the markers of {name!r} {count} times.")
    return page


def read(path: Path = LATEST) -> Results:
    """The results in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def main() -> None:
    """Rewrite the page, and draw the charts if asked to."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")
    if "--charts" in sys.argv[1:]:
        CHARTS.mkdir(exist_ok=True)
        arguments = [python_of("charts"), "-m", "benchmarks.charts", str(LATEST), str(CHARTS)]
        subprocess.run(arguments, cwd=ROOT, env=clean_environment(), check=True)


if __name__ == "__main__":
    main()
