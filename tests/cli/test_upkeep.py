"""check, migrate, stats and usage."""

from datetime import UTC, datetime

import apsw
import pytest
from click.testing import CliRunner

from bamboo_sessions import (
    CheckReport,
    Message,
    Problem,
    Session,
    SessionRepository,
    StoreAdmin,
    TokenUsageRecord,
    ToolCall,
)
from bamboo_sessions.cli.app import program
from tests.cli.support import Cli

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def _interrupted(cli: Cli) -> None:
    """A session whose last tool call never got its result."""

    async def fill(sessions: SessionRepository) -> None:
        session = Session("a", created_at=LONG_AGO, updated_at=LONG_AGO)
        session.messages.append(Message.assistant(tool_calls=[ToolCall("call", "get_order", "{}")]))
        session.updated_at = LONG_AGO
        await sessions.create(session)

    cli.store(fill)


def test_all_is_well(cli: Cli) -> None:
    """A healthy store is exit code 0; what was looked at is told on stderr."""
    cli.ok("append", "--create", "a", "Hello")
    outcome = cli.ok("check")
    assert (outcome.out, outcome.err) == ("", "1 session with 1 message checked: all is well.\n")
    assert cli.ok("check", "--json").json["ok"] is True


def test_problems_are_told_and_repaired(cli: Cli) -> None:
    """L93: a call without a result is a problem (exit code 1) that `--repair` mends (exit code 0)."""
    _interrupted(cli)
    found = cli("check")
    assert found.code == 1
    assert found.out.splitlines()[0] == "orphan_call  1 problem"
    assert "default/a: Tool call 'call' (get_order) has no result. [--repair: Adds" in found.out
    assert "0 problems repaired, 1 remaining." in found.err
    assert cli("check", "--json").json["problems"][0]["kind"] == "orphan_call"
    repaired = cli.ok("check", "--repair")
    assert "[repaired]" in repaired.out
    assert "1 problem repaired, 0 remaining." in repaired.err
    assert "all is well" in cli.ok("check").err


def test_a_repair_makes_a_backup(cli: Cli) -> None:
    """Before the file itself is mended it is copied, and the copy's place is told."""
    cli.ok("append", "--create", "a", "Hello")
    connection = apsw.Connection(str(cli.folder / "sessions.db"))
    connection.execute("UPDATE sessions SET message_count = 7").fetchall()
    connection.close()
    assert cli("check").code == 1
    outcome = cli.ok("check", "--repair")
    assert "Backup before the repair: " in outcome.err
    assert list(cli.folder.glob("sessions.db.backup-*"))


def test_what_can_not_be_repaired_is_exit_code_1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a problem remains after a repair, the exit code is 1."""

    async def check(_: StoreAdmin, *, repair: bool) -> CheckReport:
        mended = Problem(kind="count", detail="Off.", repair="Counts.", repaired=repair)
        return CheckReport(sessions=1, messages=1, problems=(Problem(kind="hash", detail="Torn."), mended))

    cli.ok("migrate")
    monkeypatch.setattr(StoreAdmin, "check", check)
    outcome = cli("check", "--repair")
    assert outcome.code == 1
    assert "Torn. [can't be repaired]" in outcome.out
    assert cli("check", "--repair", "--json").json["ok"] is False


def test_migrate_says_what_it_did(cli: Cli) -> None:
    """`migrate` tells the schema version before and after; the second time nothing is left to do."""
    first = cli.ok("migrate", "--json").json
    assert first["before"] is None
    assert first["after"] >= 1
    assert f"schema version {first['after']}, up to date" in cli.ok("migrate").err
    assert cli.ok("migrate", "--json").json["before"] == first["after"]


def test_migrate_an_empty_file(cli: Cli) -> None:
    """A file that is there but empty is made ready."""
    (cli.folder / "sessions.db").touch()
    assert "made with schema version" in cli.ok("migrate").err


def test_migrate_a_newer_store(cli: Cli) -> None:
    """L96: a store that a newer release wrote is refused, and left as it is."""
    cli.ok("migrate")
    path = cli.folder / "sessions.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 999").fetchall()
    connection.close()
    outcome = cli("migrate")
    assert outcome.code == 1
    assert "schema version 999" in outcome.err
    assert "Upgrade bamboo-sessions" in outcome.err


def test_a_store_in_memory_has_no_schema() -> None:
    """`memory://` has nothing to migrate, and says so."""
    result = CliRunner().invoke(program, ["--url", "memory://", "migrate"])
    assert result.exit_code == 0
    assert "nothing to migrate" in result.stderr


def test_stats(cli: Cli) -> None:
    """`stats` counts what is in the store: a name and a number on each line, grouped digits on a terminal."""
    cli.ok("append", "--create", "a", "Hello")
    facts = dict(line.split("\t") for line in cli.ok("stats").out.splitlines())
    assert (facts["sessions"], facts["messages"]) == ("1", "1")
    assert cli.ok("stats", "--json").json["sessions"] == 1
    assert "sessions" in cli.in_terminal("stats").bare


def test_usage(cli: Cli) -> None:
    """`usage` sums up the ledger: of a session, of its tree, of the namespace."""

    async def fill(sessions: SessionRepository) -> None:
        root = await sessions.create(Session("root"))
        await sessions.create(root.new_child("child"))
        for name, tokens in (("root", 10), ("child", 5)):
            record = TokenUsageRecord(input_tokens=tokens, output_tokens=1)
            await sessions.append_token_usage_record(name, record)

    cli.store(fill)
    totals = {args: cli.ok("usage", *args, "--json").json for args in ((), ("root",), ("root", "--children"))}
    assert [(total["calls"], total["total_tokens"]) for total in totals.values()] == [(2, 17), (1, 11), (2, 17)]
    assert "input_tokens\t15\n" in cli.ok("usage").out


# --- backup


def test_a_backup_is_a_store(cli: Cli) -> None:
    """What was copied can be read from the copy; a second time the name is taken, and nothing is overwritten."""
    cli.ok("append", "--create", "a", "Hello")
    target = cli.folder / "copy.db"
    outcome = cli.ok("backup", str(target))
    assert outcome.out == ""
    assert "1 session with 1 message" in outcome.err
    copied = CliRunner().invoke(program, ["--url", str(target), "show", "a"])
    assert "Hello" in copied.stdout
    again = cli("backup", str(target))
    assert again.code == 2
    assert "exists already" in again.err


def test_a_backup_as_json(cli: Cli) -> None:
    """A script learns where the copy is and what is in it."""
    cli.ok("append", "--create", "a", "Hello")
    found = cli.ok("backup", "--json", str(cli.folder / "copy.db")).json
    assert (found["ok"], found["sessions"], found["backup"]) == (True, 1, str(cli.folder / "copy.db"))
