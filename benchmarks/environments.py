"""The peers' environments: one folder under `.cache/peers` each, made from a pinned list when it is first needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
_LISTS = ROOT / "benchmarks" / "peers"
_FOLDER = ROOT / ".cache" / "peers"


def python_of(environment: str | None) -> str:
    """The interpreter of an environment, which is made or brought up to date if need be; `None`: this one."""
    if environment is None:
        return sys.executable
    wanted = (_LISTS / f"{environment}.txt").read_text(encoding="utf-8")
    folder = _FOLDER / environment
    stamp = folder / ".installed"
    python = folder / "bin" / "python"
    if not python.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"  making the environment {environment} …", file=sys.stderr, flush=True)
        _make(environment, folder, python)
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def _make(environment: str, folder: Path, python: Path) -> None:
    uv = _uv()
    requirements = str(_LISTS / f"{environment}.txt")
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", str(python), requirements], check=True)


def _uv() -> str:
    """uv: from PATH, or the one that `scripts/setup` brought."""
    if found := shutil.which("uv"):
        return found
    private = ROOT / ".cache" / "uv-bootstrap" / "bin" / "uv"
    if private.exists():
        return str(private)
    raise SystemExit("There is no uv, which makes the peers' environments. Install it, or run scripts/setup.")


def versions(environment: str) -> dict[str, str]:
    """The pinned versions of an environment."""
    lines = (_LISTS / f"{environment}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def sqlite_of(environment: str) -> str:
    """The version of SQLite that an environment's interpreter links."""
    command = [python_of(environment), "-c", "import sqlite3; print(sqlite3.sqlite_version)"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def clean_environment(path: Path = ROOT) -> dict[str, str]:
    """Variables for a worker: without those that would lead it into another environment, or to the network.

    `path` is where it finds what isn't installed. Byte code is kept, as for a user: else each start compiles all.
    """
    left_out = {"VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "PYTHONPATH": str(path), "LANGSMITH_TRACING": "false", "AGNO_TELEMETRY": "false"}
