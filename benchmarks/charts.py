"""Charts of the results as SVG: cost against the length of the history, both axes logarithmic.

Runs in an environment of its own (`peers/charts.txt`): `python -m benchmarks.charts RESULTS FOLDER`.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

_CHARTS = {"append": "save a turn", "load": "load all, cold", "load-again": "load all again", "last": "last 50"}
_TO_MS = {"ms": 1.0, "µs": 1e-3}
_STYLE: dict[str, dict[str, Any]] = {
    "ours": {"linewidth": 2.6, "color": "black"},
    "floor": {"linestyle": "--", "color": "grey"},
}


def draw(figures: list[dict[str, Any]], case: str, path: Path) -> None:
    """One chart: a line for each store that was measured at two lengths or more."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for figure in figures:
        if figure["case"] == case and figure.get("size"):
            value = statistics.median(figure["rounds"]) * _TO_MS[figure["unit"]]
            lines.setdefault(figure["store"], []).append((figure["size"], value))
    _, axes = plt.subplots(figsize=(6.4, 4.2))
    for store, points in lines.items():
        sizes, values = zip(*sorted(points), strict=True)
        axes.plot(sizes, values, marker=".", label=store, **_STYLE.get(store, {}))
    axes.set(xscale="log", yscale="log", xlabel="messages in the history", ylabel="milliseconds", title=case)
    axes.minorticks_off()  # each of them is a path in the file
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(fontsize="small", frameon=False)
    plt.tight_layout()
    plt.savefig(path, metadata={"Date": None})
    plt.close()


def main() -> None:
    """Draw all charts for which there are figures."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bamboo", "path.simplify": True})
    figures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["figures"]
    for name, case in _CHARTS.items():
        if any(figure["case"] == case for figure in figures):
            draw(figures, case, Path(sys.argv[2]) / f"{name}.svg")


if __name__ == "__main__":
    main()
