"""The command line. It has no rules of its own: each command is one or two calls of a repository.

Nothing heavy is imported before it is needed, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells count it: 128 + SIGINT."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        from bamboo_sessions.cli.app import program

        program.main(prog_name="bamboo-sessions")
    except KeyboardInterrupt:  # before a command began
        _leave_at_once()
    except SystemExit as exc:
        if exc.code == INTERRUPTED:
            _leave_at_once()
        raise


def _leave_at_once() -> None:
    """End now: a thread may still wait for input that never comes, and Python would wait for the thread."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(INTERRUPTED)
