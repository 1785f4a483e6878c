"""What a command's failure looks like: a sentence, a hint, an exit code. Never a traceback, unless one asks for it."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final

import click

from bamboo_sessions.cli import INTERRUPTED
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import plain
from bamboo_sessions.domain.errors import (
    BambooSessionsError,
    InputError,
    MessageNotFoundError,
    NoPendingQuestionError,
    SessionNotFoundError,
)

FAILED: Final = 1
WRONG_USAGE: Final = 2
NOT_FOUND: Final = 3
PIPE_CLOSED: Final = 141
"""As shells count the end of a program whose reader went away: 128 + SIGPIPE."""

_HINTS: Final = {
    "session_not_found": "Check the id and --namespace; `bamboo-sessions list` shows what there is.",
    "session_exists": "Choose another id.",
    "session_deleted": "Deleted stays deleted; use another id.",
    "session_busy": "Wait until that run has ended; `delete --force` doesn't wait.",
    "message_not_found": "`bamboo-sessions show ID --ids` shows the ids of the messages.",
    "no_pending_question": "`bamboo-sessions show ID` shows the question that is open, if there is one.",
    "position_expired": "`watch --from-start` begins with the oldest change that is kept, plain `watch` with the next.",
    "question_already_answered": "`bamboo-sessions show ID` shows the answer that won.",
}
"""Hints for people at a terminal, where the error's own speaks to programmers."""


class CommandFailedError(Exception):
    """A command could not do what it was asked to, for a reason of its own."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class QuietExitError(Exception):
    """A command has said already what went wrong."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def report(error: BaseException, *, store: Store | None = None, debug: bool = False) -> int:
    """Tell the user about `error`; returns the exit code. What wasn't found wasn't found in `store`."""
    error = _innermost(error)
    if isinstance(error, QuietExitError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):  # the latter at a prompt
        end_line()
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _give_up_stdout()
        return PIPE_CLOSED
    if debug:
        traceback.print_exception(error)
    sentence, hint, exit_code = _told(error)
    if store is not None and isinstance(error, SessionNotFoundError):
        sentence = f"{sentence.removesuffix('.')} in {store.place}."
    _say(f"Error: {sentence}")
    line = f"Hint: {hint}"
    if hint and not (debug and line in getattr(error, "__notes__", ())):  # the traceback has shown it
        _say(line)
    return exit_code


def _told(error: BaseException) -> tuple[str, str | None, int]:
    """The sentence, the hint and the exit code for `error`."""
    if isinstance(error, CommandFailedError):
        return str(error), error.hint, error.exit_code
    if isinstance(error, BambooSessionsError):
        return str(error), hint_for(error), exit_code_of(error)
    if isinstance(error, OSError):
        _give_up_stdout()
        hint = "If the command changes something, the change may have been made: look before you repeat it."
        return _system_error(error), hint if error.filename is None else None, FAILED
    return (
        f"Something unexpected happened: {type(error).__name__}: {error}",
        "This is a bug. Please report it with what `bamboo-sessions --debug …` prints for the same command.",
        FAILED,
    )


def hint_for(error: BambooSessionsError) -> str | None:
    """What to do now, at a terminal."""
    hint = _HINTS.get(error.code, error.hint)
    return hint.replace("at_revision", "the revision") if hint else None


def exit_code_of(error: BambooSessionsError) -> int:
    """3 if what was named isn't there, 2 if the input can't be accepted, else 1."""
    if isinstance(error, SessionNotFoundError | NoPendingQuestionError | MessageNotFoundError):
        return NOT_FOUND
    return WRONG_USAGE if isinstance(error, InputError) else FAILED


def end_line() -> None:
    """Go to a new line behind the ^C that a terminal shows."""
    if sys.stderr.isatty():
        _say("")


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _system_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


def _say(line: str) -> None:
    click.echo(plain(line), err=True)


def _give_up_stdout() -> None:
    """Nobody reads stdout any more; what is left in its buffer must not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except ValueError:  # closed already
        return
