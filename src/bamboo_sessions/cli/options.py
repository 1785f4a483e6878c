"""The global options. They may stand before the command and behind it; what is nearer to the end wins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import click

from bamboo_sessions.cli.output import COLOUR, NO_PAGER
from bamboo_sessions.cli.store import Store

COLOURS: Final = ("auto", "always", "never")
_DEBUG: Final = "bamboo_sessions.debug"


def is_debugging(ctx: click.Context) -> bool:
    """Whether `--debug` was given."""
    return bool(ctx.meta.get(_DEBUG))


def global_options(*, in_front: bool) -> list[click.Option]:
    """The options anew, for the program itself (`in_front`) or, hidden, for one of its commands."""

    def option(*names: str, envvar: str | None = None, **settings: Any) -> click.Option:  # noqa: ANN401 - as click's
        return click.Option(
            names, envvar=envvar if in_front else None, hidden=not in_front, expose_value=False, **settings
        )

    return [
        option(
            "--url",
            envvar="BAMBOO_SESSIONS_URL",
            metavar="STORE",
            callback=_storing("url"),
            help="The store: a path such as agents.db, sqlite:///file.db, sqlite:////absolute/file.db or memory://. "
            "Default: $BAMBOO_SESSIONS_URL, else a file in your data folder.",
        ),
        option(
            "--namespace",
            envvar="BAMBOO_SESSIONS_NAMESPACE",
            metavar="NS",
            callback=_storing("namespace"),
            help="The tenant whose sessions are meant. Default: $BAMBOO_SESSIONS_NAMESPACE, else “default”.",
        ),
        option(
            "--color",
            type=click.Choice(COLOURS),
            callback=_colour,
            help="Whether to lay data out for people, in colour. Default: auto, on a terminal only; FORCE_COLOR means "
            "always, and NO_COLOR takes the colours away.",
        ),
        option("--no-pager", is_flag=True, callback=_no_pager, help="Don't page what is longer than the terminal."),
        option(
            "--debug",
            is_flag=True,
            callback=_debug,
            help="Log to stderr, and show a traceback where something unexpected happens.",
        ),
        option("--version", is_flag=True, is_eager=True, callback=_version, help="Show the version and exit."),
    ]


def _storing(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def store(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            setattr(ctx.ensure_object(Store), name, value)

    return store


def _colour(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[COLOUR] = value


def _no_pager(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[NO_PAGER] = True


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        import logging

        ctx.meta[_DEBUG] = True
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"bamboo-sessions, version {version('bamboo-sessions')}")
        ctx.exit()
