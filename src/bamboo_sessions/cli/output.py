"""Stdout and stderr. Data is JSON where asked for; else styled for a terminal, and plain text for everything else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from bamboo_sessions.cli.text import escaped, plain

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

TEXT_COLUMNS_MAX: Final = 100
"""A terminal may be wider; lines of prose longer than this are hard to read."""


def json_option(command: F) -> F:
    """`--json`, the same for each command that prints something."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON to stdout.")(command)


def is_terminal() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty()


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


class Line(NamedTuple):
    """A line to print: pieces of text with their styles, and how far it is indented. `cut`: never more than one."""

    pieces: tuple[tuple[str, str], ...] = ()
    indent: int = 0
    cut: bool = False


def console() -> Console:
    """Rich's console on stdout; it respects NO_COLOR and the width of the terminal."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


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
