"""The command line. It has no rules of its own: each command is one or two calls of a repository.

Nothing heavy is imported before it is needed, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells count it: 128 + SIGINT. The process itself ends by the signal."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    _open_closed_streams()
    try:
        from bamboo_sessions.cli.app import program

        program.main(prog_name="bamboo-sessions")
    except OSError as exc:  # the help or the version could not be written
        from bamboo_sessions.cli.failures import report

        sys.exit(report(exc))
    except KeyboardInterrupt:  # before a command began
        _leave_at_once()
    except SystemExit as exc:
        if exc.code == INTERRUPTED:
            _leave_at_once()
        raise


def _open_closed_streams() -> None:
    """Whoever closes stdin, stdout or stderr wants neither to give nor to see anything: read and write nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - lives as long as the process


def _leave_at_once() -> None:
    """End now, by the signal, so that a shell's loop ends, too.

    Python would wait for threads, and one may wait for input that never comes.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    os._exit(INTERRUPTED)  # where signals end nothing
