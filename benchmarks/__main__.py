"""`python -m benchmarks [--json] [--samples N] [NAME …]`: run the workloads and print a table, or JSON."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.harness import Row
from benchmarks.workloads import WORKLOADS


def main() -> None:
    """Parse the arguments and run."""
    names = [workload.__name__ for workload in WORKLOADS]
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Medians, and ratios against the floor.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"workloads: {', '.join(names)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--samples", type=int, default=300, help="samples per figure (default: 300)")
    parser.add_argument("--folder", type=Path, help="where the files go; decides what disk is measured")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"no workload is called {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    asyncio.run(_run(arguments.names or names, arguments.samples, arguments.folder, as_json=arguments.json))


async def _run(names: list[str], samples: int, folder: Path | None, *, as_json: bool) -> None:
    rows: list[Row] = []
    if not as_json:
        print(f"{'workload':<36}{'median':>16}{'floor':>16}{'ratio':>8}")
    with tempfile.TemporaryDirectory(dir=folder or Path.cwd(), prefix=".bench-") as scratch:
        for workload in WORKLOADS:
            if workload.__name__ in names:
                async for measured in workload(Path(scratch), samples):
                    rows.append(measured)
                    if not as_json:
                        print(_line(measured), flush=True)
    if as_json:
        sys.stdout.write(msgspec.json.encode(rows).decode() + "\n")


def _line(measured: Row) -> str:
    def figure(value: float | None) -> str:
        digits = 0 if measured.unit == "turns/s" else 3
        return "" if value is None else f"{value:,.{digits}f} {measured.unit}"

    ratio = "" if measured.ratio is None else f"{measured.ratio:.2f}"
    return f"{measured.workload:<36}{figure(measured.value):>16}{figure(measured.floor):>16}{ratio:>8}"


if __name__ == "__main__":
    main()
