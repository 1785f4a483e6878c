"""The table of commands: where each one is, and its line in the overview, so that the overview loads none of them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, NamedTuple

_PACKAGE: Final = "bamboo_sessions.cli."


class Entry(NamedTuple):
    """A command: its group in the overview, its module and name there, and what it does."""

    group: str
    module: str
    attribute: str
    help: str


COMMANDS: Final = {
    "list": Entry("Looking", "listing", "list_sessions", "List sessions, newest first."),
    "show": Entry("Looking", "show", "show", "Show a conversation."),
    "tail": Entry("Looking", "tail", "tail", "Follow a conversation live."),
    "watch": Entry("Looking", "watch", "watch", "Follow the changes of all sessions live."),
    "search": Entry("Looking", "search", "search", "Search titles, summaries and messages."),
    "usage": Entry("Looking", "upkeep", "usage", "Show how many tokens were used."),
    "stats": Entry("Looking", "upkeep", "stats", "Show counters of the store."),
    "append": Entry("Changing", "changes", "append", "Append a message to a session."),
    "answer": Entry("Changing", "changes", "answer", "Answer the question that an agent asked."),
    "rename": Entry("Changing", "changes", "rename", "Give a session a title."),
    "pin": Entry("Changing", "changes", "pin", "Pin a session: clean-ups spare it."),
    "unpin": Entry("Changing", "changes", "unpin", "Take a session's pin away."),
    "archive": Entry("Changing", "changes", "archive", "Archive a session."),
    "unarchive": Entry("Changing", "changes", "unarchive", "Bring a session back from the archive."),
    "set": Entry("Changing", "values", "set_value", "Set a metadata value of a session."),
    "unset": Entry("Changing", "values", "unset", "Remove a metadata value of a session."),
    "owner": Entry("Changing", "values", "owner", "Give a session to another owner."),
    "truncate": Entry("Changing", "lifecycle", "truncate", "Remove the end of a conversation."),
    "fork": Entry("Changing", "lifecycle", "fork", "Start a new session with the history of another."),
    "delete": Entry("Changing", "lifecycle", "delete", "Delete sessions and all below them, for ever."),
    "import": Entry("Moving", "transfer", "import_conversations", "Import conversations from files."),
    "export": Entry("Moving", "transfer", "export", "Write conversations to stdout as JSON lines."),
    "backup": Entry("Upkeep", "backup", "backup", "Copy the whole store into a file."),
    "check": Entry("Upkeep", "upkeep", "check", "Look for what can't be right in the store."),
    "cleanup": Entry("Upkeep", "cleanup", "cleanup", "Delete many sessions at once."),
    "prune": Entry("Upkeep", "cleanup", "prune", "Forget old entries of the change feed."),
    "lease": Entry("Upkeep", "leases", "lease", "Show or release the lease of a run."),
    "migrate": Entry("Upkeep", "upkeep", "migrate", "Bring the store's schema up to date."),
    "demo": Entry("Other", "demo", "demo", "Show what the product does, and race it against a plain store."),
    "version": Entry("Other", "versions", "version", "Show the versions of what is installed."),
    "completion": Entry("Other", "completion", "completion", "Print the completion script of a shell."),
}


def module_of(entry: Entry) -> str | None:
    """The module's full name, if it is installed."""
    name = _PACKAGE + entry.module
    spec = find_spec(name)
    return name if spec is not None and spec.origin is not None else None
