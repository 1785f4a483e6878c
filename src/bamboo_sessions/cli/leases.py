"""`lease`: who runs an agent on a session, and the end of a run that died."""

from __future__ import annotations

import click

from bamboo_sessions.cli.arguments import session_argument
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.failures import NOT_FOUND, CommandFailedError
from bamboo_sessions.cli.output import json_option, note, print_facts, print_json, shown_time
from bamboo_sessions.cli.store import Store
from bamboo_sessions.domain.lease import LeaseInfo
from bamboo_sessions.repository import SessionRepository


@click.group()
def lease() -> None:
    """Show or release the lease of a run.

    A run that works on a session holds its lease. One that died holds it until the lease runs out.

    \b
    Examples:
      bamboo-sessions lease show chat-42
      bamboo-sessions lease release chat-42 --token 3
    """


@lease.command()
@session_argument
@json_option
@click.pass_obj
def show(store: Store, *, session_id: str, as_json: bool) -> None:
    """Show who runs the agent on a session.

    The holder's name, the lease's token, when it ends unless it is renewed, and how many wait for it.

    \b
    Examples:
      bamboo-sessions lease show chat-42 --json
    """
    held = store.run(lambda sessions: _holder(sessions, session_id))
    if as_json:
        print_json(document(held))
    elif held is None:
        note(f"Nobody runs session {session_id!r}.")
    else:
        facts = (("holder", held.holder), ("token", held.token), ("until", shown_time(held.expires_at)))
        print_facts((*facts, ("waiting", held.waiting)))


@lease.command()
@session_argument
@click.option("--token", type=int, metavar="T", required=True, help="The lease's, as `lease show` tells it.")
@json_option
@click.pass_obj
def release(store: Store, *, session_id: str, token: int, as_json: bool) -> None:
    """Release the lease of a run that died.

    Only the lease with this token is ended, so that a run which began meanwhile keeps its own. Should the run be alive
    after all, it goes on until its next renewal or save, and can't write once somebody else has the lease.

    \b
    Examples:
      bamboo-sessions lease release chat-42 --token 3
    """

    async def work(sessions: SessionRepository) -> LeaseInfo | None:
        if await _holder(sessions, session_id) is None:
            message = f"Nobody runs session {session_id!r}."
            raise CommandFailedError(message, hint="There is nothing to release.", exit_code=NOT_FOUND)
        await sessions.release_lease(session_id, token=token)
        return await sessions.lease_of(session_id)

    held = store.run(work)
    if as_json:
        print_json(document(held))
    else:
        note("Released." if held is None else f"Released; {held.holder} runs it now.")


async def _holder(sessions: SessionRepository, session_id: str) -> LeaseInfo | None:
    held = await sessions.lease_of(session_id)
    if held is None:
        await sessions.history(session_id, limit=1)  # raises if there is no such session
    return held
