"""The reference page leaves no command and no option out, and says nothing that the program doesn't."""

import re
from pathlib import Path

import click
import pytest

from bamboo_sessions.cli import INTERRUPTED, app, failures
from bamboo_sessions.cli.commands import COMMANDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
CONTEXT = click.Context(app.program)
HEAD, *SECTIONS = re.split(r"^### ", PAGE, flags=re.MULTILINE)
SECTION = {section.split("\n", 1)[0]: section for section in SECTIONS}


def _documented(section: str) -> set[str]:
    """The options in the first cells of a section's tables."""
    cells = re.findall(r"^\| (`-[^|]*) \|", section, flags=re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"`(-[\w-]+)", cell)}


def _commands(command: click.Command) -> list[click.Command]:
    return [command, *command.commands.values()] if isinstance(command, click.Group) else [command]


def _options(*commands: click.Command, hidden: bool = False) -> set[str]:
    parameters = [parameter for command in commands for parameter in command.params]
    options = [option for option in parameters if isinstance(option, click.Option) and (hidden or not option.hidden)]
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


def test_every_command_is_documented() -> None:
    """Each command has its section, and each section its command."""
    assert set(SECTION) == set(app.program.list_commands(CONTEXT))


def test_commands_are_grouped_alike() -> None:
    """The page has the commands under the headings that the overview has."""
    groups: dict[str, str] = {}
    heading = ""
    for level, title in re.findall(r"^(##|###) (.+)$", PAGE, flags=re.MULTILINE):
        heading = title if level == "##" else heading
        if level == "###":
            groups[title] = heading
    assert groups == {name: COMMANDS[name].group for name in app.program.list_commands(CONTEXT)}


@pytest.mark.parametrize("name", app.program.list_commands(CONTEXT))
def test_every_option_is_documented(name: str) -> None:
    """The table of a command has its options and no others; its first line has its arguments."""
    command = app.program.get_command(CONTEXT, name)
    assert command is not None
    assert _documented(SECTION[name]) == _options(*_commands(command))
    usage = SECTION[name].split("\n\n")[1]
    parameters = [parameter for each in _commands(command) for parameter in each.params]
    arguments = [parameter for parameter in parameters if isinstance(parameter, click.Argument)]
    assert usage.startswith(f"`{name}")
    for argument in arguments:
        shown = argument.metavar or f"[{(argument.name or '').upper()}]"
        assert shown in usage.split("`")[1]


@pytest.mark.parametrize("name", app.program.list_commands(CONTEXT))
def test_every_help_has_examples(name: str) -> None:
    """The help of a command shows how it is used, with options that it has."""
    command = app.program.get_command(CONTEXT, name)
    assert command is not None
    for each in _commands(command):
        _, found, examples = (each.help or "").partition("Examples:\n")
        assert found, each.name
        used = {word.partition("=")[0] for word in examples.split() if re.match(r"--\w", word)}
        assert used <= _options(*_commands(command), hidden=True), each.name


def test_the_global_options_are_documented() -> None:
    """The options of the program itself are in the table on top, and the variables that set them."""
    assert _documented(HEAD) == _options(app.program) | set(CONTEXT.help_option_names) | {"-h"}
    for option in app.program.params:
        if isinstance(option, click.Option) and option.envvar is not None:
            assert f"`{option.envvar}`" in HEAD


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes has all that the program ends with."""
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", HEAD, flags=re.MULTILINE)}
    known = {failures.FAILED, failures.WRONG_USAGE, failures.NOT_FOUND, failures.PIPE_CLOSED, INTERRUPTED}
    assert codes == {0} | known
