"""What the command line shows of run leases, and what they keep it from."""

import asyncio

from bamboo_sessions import SessionRepository
from tests.cli.support import Cli, Outcome, conversation


def _while_leased(cli: Cli, *commands: tuple[str, ...]) -> list[Outcome]:
    """Run commands while `worker-7` runs the session `a`."""
    cli.ok("import", "openai-chat", cli.write("in.jsonl", [conversation("a", "Hello.")]))

    async def run(sessions: SessionRepository) -> list[Outcome]:
        async with sessions.lease("a", holder="worker-7"):
            return [await asyncio.to_thread(cli, *command) for command in commands]

    return cli.store(run)


def test_show_says_who_runs_it(cli: Cli) -> None:
    """One line tells who holds the session and until when, and in JSON one field; nothing once the run has ended."""
    shown, as_json = _while_leased(cli, ("show", "a"), ("show", "a", "--json"))
    assert "▶ worker-7 runs it" in shown.out
    lease = as_json.json["lease"]
    assert (lease["holder"], lease["token"], lease["waiting"]) == ("worker-7", 1, 0)
    assert "worker-7" not in cli.ok("show", "a").out
    assert cli.ok("show", "a", "--json").json["lease"] is None


def test_delete_spares_what_runs(cli: Cli) -> None:
    """A session that is run isn't deleted: exit code 1, and a hint; with `--force` it is."""
    refused, kept, forced = _while_leased(
        cli, ("delete", "a", "--yes"), ("show", "a"), ("delete", "a", "--yes", "--force")
    )
    assert refused.code == 1
    assert "worker-7 runs it" in refused.err
    assert "--force" in refused.err
    assert (kept.code, forced.code) == (0, 0)


def test_cleanup_spares_what_runs(cli: Cli) -> None:
    """A tree that an agent is running is left by a clean-up, and told: exit code 1."""
    spared, listed = _while_leased(cli, ("cleanup", "all"), ("list",))
    assert spared.code == 1
    assert "Error: Session 'a' stays: " in spared.err
    assert listed.out.startswith("a\t")


def test_a_lease_is_shown_and_released(cli: Cli) -> None:
    """`lease show` names holder and token; `lease release` ends the lease with that token, and no other."""
    shown, wrong, released, nobody, again = _while_leased(
        cli,
        ("lease", "show", "a", "--json"),
        ("lease", "release", "a", "--token", "7"),
        ("lease", "release", "a", "--token", "1"),
        ("lease", "show", "a"),
        ("lease", "release", "a", "--token", "1"),
    )
    assert (shown.json["holder"], shown.json["token"]) == ("worker-7", 1)
    assert wrong.code == 2
    assert (released.code, released.err) == (0, "Released.\n")
    assert (nobody.code, nobody.out, nobody.err) == (0, "", "Nobody runs session 'a'.\n")
    assert again.code == 3
    assert cli("lease", "show", "nobody").code == 3
