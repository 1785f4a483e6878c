"""Stdout and stderr. Data is JSON where asked for; else styled for a terminal, and plain text for everything else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from bamboo_sessions.cli.text import escaped, local_time, plain, utc_time

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

TEXT_COLUMNS_MAX: Final = 100
"""A terminal may be wider; lines of prose longer than this are hard to read."""


def jsonl_option(command: F) -> F:
    """`--jsonl`, for what may be long."""
    return click.option("--jsonl", "as_jsonl", is_flag=True, help="Print JSON lines to stdout, one for each.")(command)


def json_option(command: F) -> F:
    """`--json`, the same for each command that prints something."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")(command)


COLOUR: Final = "bamboo_sessions.color"
NO_PAGER: Final = "bamboo_sessions.no_pager"
"""What the global options leave in the context's `meta`."""


def _asked(name: str) -> object:
    context = click.get_current_context(silent=True)
    return context.meta.get(name) if context is not None else None


def is_terminal() -> bool:
    """Whether data is laid out for people: on a terminal, or where somebody asks for colours."""
    return sys.stdout.isatty() or _is_forced()


def _is_forced() -> bool:
    colour = _asked(COLOUR)
    return colour == "always" or (colour != "never" and bool(os.environ.get("FORCE_COLOR")))


def note(line: str) -> None:
    """Tell the user something that isn't data."""
    click.echo(plain(line), err=True)


# --- JSON


def json_text(value: object, *, indent: int | None = None) -> str:
    """`value` as JSON that stdout can carry, and that can't command a terminal."""
    text = escaped(json.dumps(value, ensure_ascii=False, indent=indent))
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def print_json(value: object) -> None:
    """One JSON document: indented for a person, on one line for a program."""
    click.echo(json_text(value, indent=2 if is_terminal() else None))


def print_json_line(value: object) -> None:
    """One of many JSON lines."""
    click.echo(json_text(value))


# --- text


def shown_time(moment: datetime) -> str:
    """A time in the one form that fits: local, with its zone, where people look; else UTC."""
    return local_time(moment) if is_terminal() else utc_time(moment)


class Line(NamedTuple):
    """A line to print: pieces of text with their styles, and how far it is indented. `cut`: never more than one."""

    pieces: tuple[tuple[str, str], ...] = ()
    indent: int = 0
    cut: bool = False


def console() -> Console:
    """Rich's console on stdout, as wide as the terminal, with colours if they are wanted."""
    if (screen := _paged.get()) is not None:
        return screen
    from rich.console import Console

    no_color = {"always": False, "never": True}.get(str(_asked(COLOUR)))
    force = True if _is_forced() else None
    return Console(highlight=False, markup=False, emoji=False, force_terminal=force, no_color=no_color)


_paged: ContextVar[Console | None] = ContextVar("_paged", default=None)


@contextmanager
def paged() -> Iterator[None]:
    """Show what is printed to the `console` inside in the pager ($PAGER), if it is longer than the terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or _asked(NO_PAGER):
        yield
        return
    screen = console()
    with screen.capture() as captured:
        token = _paged.set(screen)
        try:
            yield
        finally:
            _paged.reset(token)
    text = captured.get()
    if text.count("\n") < screen.height:
        click.echo(text, nl=False, color=True)
    else:
        click.echo_via_pager(text, color=True)


def print_lines(lines: Iterable[Line]) -> None:
    """Styled and wrapped on a terminal; elsewhere as they are, each on one line of its own."""
    if is_terminal():
        _print_styled(lines)
        return
    for line in lines:
        text = " " * line.indent + "".join(text for text, _ in line.pieces)
        click.echo(text.rstrip())


def _print_styled(lines: Iterable[Line]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    screen = console()
    for line in lines:
        if not line.pieces:
            screen.print()
            continue
        text = Text.assemble(*line.pieces)
        if line.cut:
            text.truncate(max(screen.width - line.indent, 1), overflow="ellipsis")
            text.no_wrap = True
        width = screen.width if line.cut else min(screen.width, TEXT_COLUMNS_MAX)
        screen.print(Padding(text, (0, 0, 0, line.indent), expand=False), width=width)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values: aligned on a terminal, else a tab between them."""
    rows = [(name, f"{value:,}" if is_terminal() and isinstance(value, int) else str(value)) for name, value in facts]
    if not is_terminal():
        for name, value in rows:
            click.echo(f"{name}\t{value}")
        return
    names = max((len(name) for name, _ in rows), default=0)
    values = max((len(value) for _, value in rows), default=0)
    print_lines(Line(((f"{name:<{names}}  ", "dim"), (f"{value:>{values}}", ""))) for name, value in rows)
