"""`show`: reads one conversation, or the part of it that was asked for. `render` makes it readable."""

from __future__ import annotations

import click
import msgspec

from bamboo_sessions.cli.arguments import session_argument
from bamboo_sessions.cli.documents import conversation, head_of
from bamboo_sessions.cli.output import json_option, paged, print_json, print_lines
from bamboo_sessions.cli.render import View, rendered
from bamboo_sessions.cli.store import Store
from bamboo_sessions.domain.limits import PAGE_DEFAULT, PAGE_MAX
from bamboo_sessions.domain.message import Message
from bamboo_sessions.repository import SessionRepository


class Wish(msgspec.Struct, frozen=True):
    """Which part of the conversation: the newest `limit` messages (`None`: all), as of a revision (`None`: now)."""

    session_id: str
    limit: int | None
    revision: int | None
    model_view: bool


@click.command()
@session_argument
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), metavar="N", help=f"The newest N messages. Default: {PAGE_DEFAULT}."
)
@click.option("--all", "everything", is_flag=True, help="All messages, and long system prompts in full.")
@click.option("--tools", is_flag=True, help="Tool calls, results and system prompts in full.")
@click.option("--ids", is_flag=True, help="The id of each message.")
@click.option("--revision", type=int, metavar="R", help="The messages as they were at this revision.")
@click.option("--model-view", is_flag=True, help="Only what can be sent to a model.")
@json_option
@click.pass_obj
def show(
    store: Store,
    *,
    session_id: str,
    limit: int | None,
    everything: bool,
    tools: bool,
    ids: bool,
    revision: int | None,
    model_view: bool,
    as_json: bool,
) -> None:
    """Show a conversation.

    Who runs the agent on it, and what it asked and nobody has answered yet, comes first. Each tool call takes a line.

    \b
    Examples:
      bamboo-sessions show chat-42
      bamboo-sessions show chat-42 --all --json | jq '.messages[].content'
    """
    if everything and limit is not None:
        raise click.UsageError("--all goes without --limit.")
    if model_view and revision is not None:
        raise click.UsageError("--model-view shows the newest state; it goes without --revision.")
    wish = Wish(session_id, None if everything else limit or PAGE_DEFAULT, revision, model_view)
    view = store.run(lambda sessions: _read_with_lease(sessions, wish))
    if as_json:
        print_json(conversation(view.head, view.messages, has_earlier=view.has_earlier, lease=view.lease))
    else:
        view = msgspec.structs.replace(view, unfold_tools=tools, unfold_prompts=tools or everything, show_ids=ids)
        with paged():
            print_lines(rendered(view))


async def _read_with_lease(sessions: SessionRepository, wish: Wish) -> View:
    view = await _read(sessions, wish)
    return msgspec.structs.replace(view, lease=await sessions.lease_of(wish.session_id))


async def _read(sessions: SessionRepository, wish: Wish) -> View:
    session = await sessions.get(wish.session_id)
    head = head_of(session)
    if wish.model_view:
        messages = await sessions.model_view(wish.session_id)
        shown = messages if wish.limit is None else messages[-wish.limit :]
        return View(head, shown, has_earlier=len(shown) < len(messages))
    if wish.limit is None and wish.revision is None:
        return View(head, tuple(session.messages), has_earlier=False)
    messages, has_earlier = await _newest(sessions, wish)
    return View(head, messages, has_earlier=has_earlier)


async def _newest(sessions: SessionRepository, wish: Wish) -> tuple[tuple[Message, ...], bool]:
    """The newest messages, page by page, all of one revision."""
    pages: list[tuple[Message, ...]] = []
    left, before, revision = wish.limit, None, wish.revision
    while True:
        limit = PAGE_MAX if left is None else min(left, PAGE_MAX)
        page = await sessions.history(wish.session_id, before=before, limit=limit, at_revision=revision)
        pages.insert(0, page.messages)
        if left is not None:
            left -= len(page.messages)
        if not page.has_earlier or not page.messages or (left is not None and left <= 0):
            return tuple(message for part in pages for message in part), page.has_earlier
        before, revision = page.messages[0].id, page.revision if revision is None else revision
