"""Mutation testing of the domain: `python -m tests.mutation --help`, or `scripts/mutate`."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.runner import run, run_cold, use_examples

DOMAIN: Final = Path("src/bamboo_sessions/domain")
EXPLAINED: Final = Path(__file__).with_name("explained.toml")
OUT: Final = Path(".cache/mutation")
REPORT: Final = OUT / "report.json"


class Progress:
    """How every mutant ended, in a file that the forks add to, and how long the rest will take."""

    def __init__(self, mutants: list[Mutant]) -> None:
        self.mutants = mutants
        self.numbers = {mutant: number for number, mutant in enumerate(mutants)}
        self.outcomes: dict[Mutant, str] = {}
        self.began = time.monotonic()
        self.log = OUT / "outcomes.txt"
        self.log.write_text("")

    def tell(self, mutant: Mutant, outcome: str) -> None:
        """Take note, and say so."""
        self.outcomes[mutant] = outcome
        with self.log.open("a") as log:
            log.write(f"{self.numbers[mutant]} {outcome}\n")
        done, spent = len(self.outcomes), time.monotonic() - self.began
        rest = spent / done * max(0, len(self.mutants) - done)
        counts = Counter(self.outcomes.values())
        survived = f"{counts['survived']} survived, {counts['timed out']} timed out"
        print(f"\r{done}/{len(self.mutants)}, {survived}, {rest / 60:.1f} min to go  ", end="", file=sys.stderr)

    def read(self) -> None:
        """Learn what the forks noted."""
        for line in self.log.read_text().splitlines():
            number, outcome = line.split(" ", 1)
            self.outcomes[self.mutants[int(number)]] = outcome


def main() -> int:
    """Run, write the report, and say what survived: 1 if anything did that isn't explained."""
    arguments = _arguments()
    OUT.mkdir(parents=True, exist_ok=True)
    found = [mutant for path in _paths(arguments) for mutant in mutants_of(path)]
    reasons = {name: one["why"] for one in tomllib.loads(EXPLAINED.read_text())["reason"] for name in one["mutants"]}
    wanted = [mutant for mutant in found if mutant.name not in reasons]
    if arguments.imported:
        wanted = [mutant for mutant in wanted if mutant.function is None]
    if arguments.again:
        last = {row["name"] for row in json.loads(REPORT.read_text()) if row["outcome"] == "survived"}
        wanted = [mutant for mutant in wanted if mutant.name in last]
    if arguments.sample is not None:
        wanted = random.Random(arguments.seed).sample(wanted, min(arguments.sample, len(wanted)))
    progress = Progress(wanted)
    if wanted:
        use_examples(arguments.examples)
        run(wanted, OUT, arguments.workers, progress.tell)
        progress.read()
        survived = {mutant for mutant, outcome in progress.outcomes.items() if outcome == "survived"}
        run_cold(wanted, survived, OUT, arguments.workers, progress.tell)
        print(file=sys.stderr)
    explained = Counter(Path(mutant.path).name for mutant in found if mutant.name in reasons)
    _report(progress.outcomes, explained)
    stale = set(reasons) - {mutant.name for mutant in found}
    if stale and arguments.paths == [str(DOMAIN)] and not arguments.changed:
        print("explained, but no mutants any more:", *sorted(stale), sep="\n  ")
    return int("survived" in progress.outcomes.values())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("paths", nargs="*", default=[str(DOMAIN)], help="modules or folders; the domain by default")
    parser.add_argument("--changed", action="store_true", help="only modules that differ from the branch main")
    parser.add_argument("--imported", action="store_true", help="only what importing runs")
    parser.add_argument("--again", action="store_true", help="only what survived the last run")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=15, help="of each property (15)")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def _paths(arguments: argparse.Namespace) -> list[str]:
    paths: list[str] = []
    for path in map(Path, arguments.paths):
        paths += sorted(map(str, path.rglob("*.py"))) if path.is_dir() else [str(path)]
    if arguments.changed:
        git = subprocess.run(["git", "diff", "--name-only", "main"], capture_output=True, text=True, check=True)
        paths = [path for path in paths if path in git.stdout.splitlines()]
    return paths


def _report(outcomes: dict[Mutant, str], explained: Counter[str]) -> None:
    rows = [
        {"outcome": outcome, "name": one.name, "line": one.line, "diff": one.diff} for one, outcome in outcomes.items()
    ]
    REPORT.write_text(json.dumps(rows, indent=1))
    lines = [
        f"{mutant.path}:{mutant.line} in {mutant.scope}\n{mutant.diff}\n"
        for mutant, outcome in outcomes.items()
        if outcome == "survived"
    ]
    counts: dict[str, Counter[str]] = {}
    for mutant, outcome in outcomes.items():
        counts.setdefault(Path(mutant.path).name, Counter())[outcome] += 1
    lines.append(f"{'module':20} mutants  killed  timed out  explained  survived")
    for name in sorted({*counts, *explained}):
        of, total = counts.get(name, Counter()), counts.get(name, Counter()).total() + explained[name]
        numbers = (total, of["killed"], of["timed out"], explained[name], of["survived"])
        lines.append("{:20} {:7} {:7} {:10} {:10} {:9}".format(name, *numbers))
    REPORT.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
