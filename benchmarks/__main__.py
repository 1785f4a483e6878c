"""`python -m benchmarks [--quick] [--peers/--no-peers] [WORKLOAD …]`: measure, print, and write the results."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
from pathlib import Path

import apsw
import msgspec

from bamboo_sessions.domain.clock import SYSTEM_CLOCK
from benchmarks.bench import Bench
from benchmarks.drivers import FLOOR, OURS, PEERS
from benchmarks.environments import ROOT, sqlite_of, versions
from benchmarks.report import table, targets_table
from benchmarks.results import Results, document
from benchmarks.targets import judge
from benchmarks.workloads import WORKLOADS

RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
DURABLE = {peer.name: peer.durable for peer in PEERS}


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Medians, ratios, targets met and missed.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: a minute, rough figures")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="measure other stores too (default: yes)"
    )
    parser.add_argument("--store", action="append", metavar="PEER", help=f"only these peers: {', '.join(DURABLE)}")
    parser.add_argument("--folder", type=Path, help="where the files go: decides which disk is measured")
    parser.add_argument("--conversations", type=Path, help="take texts from OpenAI chats in JSON lines, .gz is fine")
    parser.add_argument("--output", type=Path, help=f"JSON file to write (default: {RESULTS.relative_to(ROOT)}, all)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.workloads) - set(WORKLOADS):
        parser.error(f"no workload is called {', '.join(sorted(unknown))}; there are: {', '.join(WORKLOADS)}")
    peers = [peer for peer in PEERS if arguments.peers and peer.name in (arguments.store or DURABLE)]
    results = Results(SYSTEM_CLOCK.now().isoformat(timespec="seconds"), arguments.quick, {}, {})
    with tempfile.TemporaryDirectory(dir=arguments.folder or ROOT, prefix=".bench-") as scratch:
        results.machine = _machine(Path(scratch))
        results.versions = {"apsw": apsw.apsw_version(), "msgspec": msgspec.__version__} | {
            peer.package: versions(peer.environment)[peer.package]
            for peer in peers
            if peer.environment is not None and peer.package is not None
        }
        linked = {sqlite_of(peer.environment) for peer in peers if peer.environment is not None}
        if linked:
            results.machine["sqlite of the peers"] = ", ".join(sorted(linked))
        bench = Bench(
            [OURS, FLOOR, *peers],
            Path(scratch),
            results,
            quick=arguments.quick,
            conversations=arguments.conversations and arguments.conversations.resolve(),
        )
        try:
            for name in WORKLOADS:
                if name in (arguments.workloads or WORKLOADS):
                    importlib.import_module(f"benchmarks.workloads.{name}").run(bench)
        finally:
            bench.close()
        results.verdicts = list(judge(results, DURABLE))
        _tell(results, arguments.output or (None if arguments.workloads else RESULTS), as_json=arguments.json)
        bench.progress("done; clearing up")


def _tell(results: Results, output: Path | None, *, as_json: bool) -> None:
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(document(results), encoding="utf-8")
    if as_json:
        sys.stdout.write(document(results))
    else:
        print(table(results))
        print()
        print(targets_table(results))
        print(*(f"- {note}" for note in results.notes), sep="\n")


def _machine(folder: Path) -> dict[str, str]:
    """Facts that a figure depends on."""
    cpu = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = facts.read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "cpu": f"{os.cpu_count()} × {cpu}",
        "system": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "load before": load,
    }


def _file_system(folder: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    places = [line.split()[1:3] for line in mounts.read_text(encoding="utf-8").splitlines()]
    under = [(place, kind) for place, kind in places if folder.is_relative_to(place)]
    return max(under, key=lambda found: len(found[0]))[1] if under else "unknown"


if __name__ == "__main__":
    main()
