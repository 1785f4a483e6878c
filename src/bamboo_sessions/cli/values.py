"""`set`, `unset` and `owner`: what people decide about a session besides its title (G5)."""

from __future__ import annotations

import json

import click

from bamboo_sessions.cli.arguments import session_argument
from bamboo_sessions.cli.changes import tell
from bamboo_sessions.cli.formats.json_text import parsed
from bamboo_sessions.cli.output import json_option
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import one_line
from bamboo_sessions.domain.errors import InputError

_VALUE_CHARS_MAX = 60


@click.command("set")
@session_argument
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
@click.option("--text", "is_text", is_flag=True, help="VALUE is text, even if it is JSON.")
@json_option
@click.pass_obj
def set_value(store: Store, *, session_id: str, key: str, value: str, is_text: bool, as_json: bool) -> None:
    """Set a metadata value of a session.

    VALUE is JSON; what isn't JSON is text. The value is a person's from then on: no save of an agent that runs changes
    it.

    \b
    Examples:
      bamboo-sessions set chat-42 priority high
      bamboo-sessions set chat-42 limits '{"tokens": 5000}'
      bamboo-sessions set chat-42 order --text 10017
    """
    stored = value if is_text else _json_or_text(value)
    head = store.run(lambda sessions: sessions.set_value(session_id, key, stored))
    shown = one_line(json.dumps(stored, ensure_ascii=False), _VALUE_CHARS_MAX)
    tell(head, f"{one_line(key, _VALUE_CHARS_MAX)} is {shown} now.", as_json=as_json)


def _json_or_text(text: str) -> object:
    try:
        return parsed(text)
    except InputError:
        return text


@click.command()
@session_argument
@click.argument("key", metavar="KEY")
@json_option
@click.pass_obj
def unset(store: Store, *, session_id: str, key: str, as_json: bool) -> None:
    """Remove a metadata value of a session.

    No save of an agent that runs brings a value back that a person had set.

    \b
    Examples:
      bamboo-sessions unset chat-42 priority
    """
    head = store.run(lambda sessions: sessions.remove_value(session_id, key))
    tell(head, f"{one_line(key, _VALUE_CHARS_MAX)} isn't set any more.", as_json=as_json)


@click.command()
@session_argument
@click.argument("owner", metavar="[OWNER]", required=False)
@click.option("--nobody", is_flag=True, help="Nobody owns it any more.")
@json_option
@click.pass_obj
def owner(store: Store, *, session_id: str, owner: str | None, nobody: bool, as_json: bool) -> None:
    """Give a session to another owner.

    All sessions below it that have the same owner go along, in one transaction. An agent that runs meanwhile may go on
    saving; the new owner stays.

    \b
    Examples:
      bamboo-sessions owner chat-42 ann@example.com
      bamboo-sessions owner chat-42 --nobody
    """
    if (owner is None) != nobody:
        raise click.UsageError("Name the new OWNER, or --nobody.")
    head = store.run(lambda sessions: sessions.set_owner(session_id, owner))
    tell(head, "Nobody owns it now." if owner is None else f"It is {one_line(owner, 100)}'s now.", as_json=as_json)
