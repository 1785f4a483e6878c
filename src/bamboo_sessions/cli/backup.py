"""Copying a store into a file of its own."""

from __future__ import annotations

import click

from bamboo_sessions.cli.bars import bar
from bamboo_sessions.cli.documents import document
from bamboo_sessions.cli.failures import FAILED, QuietExitError
from bamboo_sessions.cli.output import json_option, note, print_json
from bamboo_sessions.cli.store import Store
from bamboo_sessions.cli.text import counted
from bamboo_sessions.domain.report import CheckReport
from bamboo_sessions.repository import StoreAdmin


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@json_option
@click.pass_obj
def backup(store: Store, *, file: str, as_json: bool) -> None:
    """Copy the whole store into a file.

    All namespaces, as they are at one moment. Everybody else goes on reading and writing. FILE must not exist; it
    appears under its name when the copy is complete and was checked. The exit code is 1 if the copy shows that the
    store is damaged.

    \b
    Examples:
      bamboo-sessions backup agents-backup.db
    """

    async def work(owner: StoreAdmin) -> CheckReport:
        with bar("copying") as on_progress:
            return await owner.backup(file, on_progress=on_progress)

    report = store.run_as_owner(work)
    if as_json:
        print_json({**document(report), "ok": report.ok})
    else:
        found = f"{counted(report.sessions, 'session')} with {counted(report.messages, 'message')}"
        note(f"Copied to {report.backup}: {found}.")
        if not report.ok:
            note(f"The copy has {counted(len(report.problems), 'problem')}: run `bamboo-sessions check` on the store.")
    if not report.ok:
        raise QuietExitError(FAILED)
