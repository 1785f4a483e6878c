"""The program: its global options, its commands (each loaded when it is called), and what becomes of errors."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Final, NamedTuple

import click

from bamboo_sessions.cli.store import Store

EPILOG: Final = "Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 not found."
_PACKAGE: Final = "bamboo_sessions.cli."
_TEXTS: Final = {"text", "title"}
"""Arguments that may be any text."""


class Entry(NamedTuple):
    """Where a command is, and its line in the overview, so that the overview loads none of them."""

    module: str
    attribute: str
    help: str


COMMANDS: Final = {
    "list": Entry("listing", "list_sessions", "List sessions, newest first."),
    "show": Entry("show", "show", "Show a conversation."),
    "tail": Entry("tail", "tail", "Follow a conversation live."),
    "watch": Entry("watch", "watch", "Follow the changes of all sessions live."),
    "search": Entry("search", "search", "Search titles, summaries and messages."),
    "append": Entry("changes", "append", "Append a message to a session."),
    "answer": Entry("changes", "answer", "Answer the question that an agent asked."),
    "rename": Entry("changes", "rename", "Give a session a title."),
    "pin": Entry("changes", "pin", "Pin a session: clean-ups spare it."),
    "unpin": Entry("changes", "unpin", "Take a session's pin away."),
    "archive": Entry("changes", "archive", "Archive a session."),
    "unarchive": Entry("changes", "unarchive", "Bring a session back from the archive."),
    "fork": Entry("lifecycle", "fork", "Start a new session with the history of another."),
    "delete": Entry("lifecycle", "delete", "Delete sessions and all below them, for ever."),
    "usage": Entry("upkeep", "usage", "Show how many tokens were used."),
    "import": Entry("transfer", "import_conversations", "Import conversations from files."),
    "export": Entry("transfer", "export", "Write conversations to stdout as JSON lines."),
    "backup": Entry("backup", "backup", "Copy the whole store into a file."),
    "check": Entry("upkeep", "check", "Look for what can't be right in the store."),
    "migrate": Entry("upkeep", "migrate", "Bring the store's schema up to date."),
    "stats": Entry("upkeep", "stats", "Show counters of the store."),
    "demo": Entry("demo", "demo", "Show that nothing acknowledged is lost, on real conversations."),
    "completion": Entry("completion", "completion", "Print the completion script of a shell."),
}


class Program(click.Group):
    """A group that imports a command when it is called, and turns errors into sentences and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands that are installed, in the order of the overview."""
        return [name for name, entry in COMMANDS.items() if _is_installed(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; `None` if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None or not _is_installed(entry):
            return None
        command: click.Command = getattr(importlib.import_module(_PACKAGE + entry.module), entry.attribute)
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
        """The overview, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

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

            ctx.exit(report(exc, debug=bool(ctx.params.get("debug"))))


def _is_installed(entry: Entry) -> bool:
    spec = find_spec(_PACKAGE + entry.module)
    return spec is not None and spec.origin is not None


def _keep_unprintable_text_harmless() -> None:
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _explained(exc: click.NoSuchOption) -> click.UsageError:
    """An option that a command doesn't know may be a global one in the wrong place, or no option but text."""
    name = exc.option_name
    if name in {"--url", "--namespace", "--debug", "--version"}:
        return click.UsageError(f"{name} goes before the command: bamboo-sessions {name} … COMMAND …", exc.ctx)
    if exc.ctx is None or not any(parameter.name in _TEXTS for parameter in exc.ctx.command.params):
        return exc
    how = f"Text that begins with a dash stands behind --, as in: {exc.ctx.command_path} … -- -text"
    return click.UsageError(f"{exc.format_message()} {how}", exc.ctx)


@click.group(cls=Program, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url",
    envvar="BAMBOO_SESSIONS_URL",
    metavar="URL",
    help="The store: a path such as agents.db, sqlite:///file.db, sqlite:////absolute/file.db or memory://. "
    "Default: $BAMBOO_SESSIONS_URL, else a file in your data folder.",
)
@click.option(
    "--namespace",
    envvar="BAMBOO_SESSIONS_NAMESPACE",
    metavar="NS",
    default="default",
    help="The tenant whose sessions are meant. Default: $BAMBOO_SESSIONS_NAMESPACE, else “default”.",
)
@click.option("--debug", is_flag=True, help="Log to stderr, and show a traceback where something unexpected happens.")
@click.version_option(package_name="bamboo-sessions", prog_name="bamboo-sessions")
@click.pass_context
def program(ctx: click.Context, url: str | None, namespace: str, debug: bool) -> None:
    """Look at, change, import and export the durable sessions of AI agents.

    Data goes to stdout, everything else to stderr. `COMMAND --help` explains a command.
    """
    if debug:
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    ctx.obj = Store(url, namespace)
