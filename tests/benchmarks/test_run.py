import subprocess
from pathlib import Path

import msgspec
import pytest

from benchmarks.environments import ROOT
from benchmarks.results import OURS, Results
from benchmarks.targets import UNCHANGED
from benchmarks.workloads import WORKLOADS

pytestmark = pytest.mark.multiprocess


def _run(tmp_path: Path, *arguments: str) -> Results:
    output = tmp_path / "results.json"
    command = [str(ROOT / "scripts" / "bench"), "--quick", "--no-peers", "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, "--output", str(output), *arguments], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "met" in done.stdout or "missed" in done.stdout
    return msgspec.json.decode(output.read_bytes(), type=Results)


def test_a_benchmark_runs(tmp_path: Path) -> None:
    """`scripts/bench` measures a workload, prints tables, writes results, and leaves no files behind."""
    results = _run(tmp_path, "unchanged")
    assert results.sizes(UNCHANGED, OURS) == [10, 1_000]
    assert not results.notes
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.long
def test_all_benchmarks_run(tmp_path: Path) -> None:
    """Every workload measures something of ours."""
    results = _run(tmp_path)
    assert len({figure.case for figure in results.figures if figure.store == OURS}) >= len(WORKLOADS)
