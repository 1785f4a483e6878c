"""The program: its commands (each loaded when it is called), and what becomes of errors."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from bamboo_sessions.cli.commands import COMMANDS, module_of
from bamboo_sessions.cli.options import global_options, is_debugging
from bamboo_sessions.cli.store import Store

EPILOG: Final = "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 not found."
_TEXTS: Final = {"text", "title", "value"}
"""Arguments that may be any text."""


class Program(click.Group):
    """A group that imports a command when it is called, and turns errors into sentences and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands that are installed, in the order of the overview."""
        return [name for name, entry in COMMANDS.items() if module_of(entry) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; `None` if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        module = None if entry is None else module_of(entry)
        if entry is None or module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), entry.attribute)
        _take_global_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; for a misspelt one an error that names what is close."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.list_commands(ctx))
            if not close:
                raise
            message = f"{exc.message} Did you mean {' or '.join(map(repr, close))}?"
            raise click.UsageError(message, exc.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, group by group, without importing the commands."""
        names = self.list_commands(ctx)
        for group in dict.fromkeys(COMMANDS[name].group for name in names):
            with formatter.section(group):
                formatter.write_dl([(name, COMMANDS[name].help) for name in names if COMMANDS[name].group == group])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command. Whatever it raises ends as a line on stderr and an exit code, never as a traceback."""
        _keep_unprintable_text_harmless()
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe or a full disk shows here, not at exit
            return result
        except click.NoSuchOption as exc:
            raise _explained(exc) from None
        except (click.exceptions.Exit, click.ClickException):
            raise
        except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - the last place that can make a sentence of it
            from bamboo_sessions.cli.failures import report

            ctx.exit(report(exc, store=ctx.find_object(Store), debug=is_debugging(ctx)))


def _take_global_options(command: click.Command) -> None:
    """Let the global options stand behind the command, too; behind each of its own commands, if it is a group."""
    known = {name for option in command.params for name in option.opts}
    command.params += [option for option in global_options(in_front=False) if not known.intersection(option.opts)]
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _take_global_options(each)


def _keep_unprintable_text_harmless() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _explained(exc: click.NoSuchOption) -> click.UsageError:
    """What looks like an option that a command doesn't know may be no option but text."""
    if exc.ctx is None or not any(parameter.name in _TEXTS for parameter in exc.ctx.command.params):
        return exc
    how = f"Text that begins with a dash stands behind --, as in: {exc.ctx.command_path} … -- -text"
    return click.UsageError(f"{exc.format_message()} {how}", exc.ctx)


@click.group(
    cls=Program,
    epilog=EPILOG,
    params=[*global_options(in_front=True)],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def program(ctx: click.Context) -> None:
    """Look at, change, import and export the durable sessions of AI agents.

    Data goes to stdout, everything else to stderr. `COMMAND --help` explains a command, with examples. These options
    may stand before the command or behind it.
    """
    ctx.ensure_object(Store)
