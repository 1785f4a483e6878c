"""The version, by its usual names."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import bamboo_sessions


def test_the_package_has_its_version() -> None:
    """`__version__` is the version of what is installed."""
    assert bamboo_sessions.__version__ == version("bamboo-sessions")


def test_the_module_is_the_command_line() -> None:
    """`python -m bamboo_sessions` is the program of the command line, under that name."""
    command = [sys.executable, "-m", "bamboo_sessions", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"bamboo-sessions, version {bamboo_sessions.__version__}\n"
