"""`completion`: the script that teaches a shell to complete commands and options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script of a shell.

    SHELL is bash, zsh or fish; by default the shell in $SHELL. Commands, options and ids of sessions are completed.

    \b
    Examples:
    bash:  eval "$(bamboo-sessions completion bash)"     in ~/.bashrc
    zsh:   eval "$(bamboo-sessions completion zsh)"      in ~/.zshrc
    fish:  bamboo-sessions completion fish > ~/.config/fish/completions/bamboo-sessions.fish
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    script = get_completion_class(name) if name in SHELLS else None
    if script is None:
        raise click.UsageError(f"Can't tell which shell is meant. Name one of: {', '.join(SHELLS)}.")
    program = ctx.find_root()
    click.echo(script(program.command, {}, "bamboo-sessions", "_BAMBOO_SESSIONS_COMPLETE").source())
