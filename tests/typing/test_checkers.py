"""What two type checkers, both strict, say about programs that use the package."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def _mypy(program: Path) -> set[int]:
    """The lines of a program that mypy objects to."""
    options = ["--strict", "--no-incremental", "--config-file=", "--python-version=3.11"]
    done = subprocess.run([BIN / "mypy", *options, program], capture_output=True, text=True, check=False)
    assert not done.stderr
    return {int(line) for line in re.findall(r"^[^\n:]+:(\d+): error:", done.stdout, flags=re.MULTILINE)}


def _pyright(program: Path) -> set[int]:
    """The lines of a program that pyright objects to."""
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    program.with_name("pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [str(BIN / "pyright"), "--outputjson", "--pythonpath", sys.executable, program.name]
    done = subprocess.run(command, cwd=program.parent, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}


@pytest.mark.parametrize("check", [_mypy, _pyright], ids=["mypy", "pyright"])
def test_a_right_program_passes_and_each_mistake_is_found(check: Callable[[Path], set[int]], tmp_path: Path) -> None:
    """Nothing is found in a program that uses the package as documented, and all of thirteen mistakes in another."""
    programs = {}
    for name in ("right", "wrong"):
        programs[name] = tmp_path / f"{name}.py"
        programs[name].write_bytes((HERE / f"{name}.py.txt").read_bytes())
    lines = programs["wrong"].read_text(encoding="utf-8").splitlines()
    mistakes = {number for number, line in enumerate(lines, 1) if "# mistake" in line}
    assert len(mistakes) == 13
    assert check(programs["right"]) == set()
    assert check(programs["wrong"]) == mistakes
