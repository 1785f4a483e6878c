"""`list`."""

from bamboo_sessions import PendingQuestion, Session, SessionRepository
from tests.cli.support import Cli, conversation


def _fill(cli: Cli, count: int = 5) -> None:
    cli.ok("import", "openai-chat", cli.write("in.jsonl", [conversation(f"s{n}", "Hi", "Hello") for n in range(count)]))


def test_a_line_for_each_session(cli: Cli) -> None:
    """Outside a terminal a session is a line of fields with tabs between them, newest first."""
    _fill(cli, 2)
    cli.ok("rename", "s0", "First\tof\nall")
    cli.ok("pin", "s0")
    lines = [line.split("\t") for line in cli.ok("list").out.splitlines()]
    assert [line[:3] for line in lines] == [["s0", "First of all", "2"], ["s1", "", "2"]]
    assert lines[0][4] == "pinned"
    assert lines[0][3].endswith("Z")


def test_pages(cli: Cli) -> None:
    """`--limit` and `--cursor` page through all sessions, each once."""
    _fill(cli)
    seen: list[str] = []
    cursor: list[str] = []
    while True:
        page = cli.ok("list", "--limit", "2", "--json", *cursor).json
        seen += [session["id"] for session in page["sessions"]]
        if page["next_cursor"] is None:
            break
        cursor = ["--cursor", page["next_cursor"]]
    assert seen == ["s4", "s3", "s2", "s1", "s0"]


def test_more_is_announced(cli: Cli) -> None:
    """If a page isn't all, stderr says how to go on; stdout stays data."""
    _fill(cli)
    outcome = cli.ok("list", "--limit", "2", "--total")
    assert len(outcome.out.splitlines()) == 2
    assert "5 sessions in all." in outcome.err
    assert "--cursor" in outcome.err


def test_all_is_one_document(cli: Cli) -> None:
    """`--all --json` is one JSON document of all sessions, with the total if that was asked for."""
    _fill(cli)
    document = cli.ok("list", "--all", "--json", "--total", "--order", "created_at").json
    assert [session["id"] for session in document["sessions"]] == ["s0", "s1", "s2", "s3", "s4"]
    assert (document["next_cursor"], document["total"]) == (None, 5)
    assert len(cli.ok("list", "--all").out.splitlines()) == 5


def test_an_empty_store(cli: Cli) -> None:
    """No sessions: nothing on stdout, an empty list in JSON, no error."""
    cli.ok("migrate")
    assert cli.ok("list").out == ""
    assert cli.ok("list", "--json").json == {"sessions": [], "next_cursor": None, "total": None}
    assert cli.ok("list", "--json", "--all").json == {"sessions": [], "next_cursor": None, "total": None}
    assert f"No sessions in {cli.url}." in cli.in_terminal("list", columns=300).out


def test_filters(cli: Cli) -> None:
    """Each filter leaves the sessions that match it, and no others."""

    async def fill(sessions: SessionRepository) -> None:
        root = await sessions.create(Session("root", owner="team/ann", pinned=True, run_state="running"))
        await sessions.create(root.new_child("child"))
        await sessions.create(Session("old", owner="bob", archived=True))
        await sessions.ask("old", PendingQuestion("call", "ask", "Really?"))

    cli.store(fill)
    for args, expected in (
        (["--owner", "bob"], {"old"}),
        (["--owner-prefix", "team/"], {"root", "child"}),
        (["--kind", "child"], {"child"}),
        (["--pinned"], {"root"}),
        (["--unpinned"], {"child", "old"}),
        (["--archived"], {"old"}),
        (["--not-archived"], {"root", "child"}),
        (["--has-question"], {"old"}),
        (["--no-question"], {"root", "child"}),
        (["--run-status", "running"], {"root"}),
        (["--parent", "root"], {"child"}),
        (["--root", "root"], {"root", "child"}),
    ):
        listed = {session["id"] for session in cli.ok("list", "--json", *args).json["sessions"]}
        assert listed == expected, args
    badges = {line.split("\t")[0]: line.split("\t")[4] for line in cli.ok("list").out.splitlines()}
    assert badges == {"root": "running pinned", "child": "child", "old": "question archived"}


def test_the_table_fits_the_terminal(cli: Cli) -> None:
    """On a terminal a table is as wide as that; titles are cut, and short ids aren't."""
    _fill(cli, 2)
    cli.ok("rename", "s0", "A title " * 40)
    for columns in (40, 80, 120):
        table = cli.in_terminal("list", columns=columns, environment={"NO_COLOR": "1"}).bare
        assert all(len(line.rstrip()) <= columns for line in table.splitlines())
        assert {"s0", "s1"} <= set(table.split())
        assert "…" in table


def test_ids_are_shortened_before_titles_vanish(cli: Cli) -> None:
    """A long id is shortened in its middle where a title would have no room; ids made at one moment stay apart."""
    ids = [f"0199c0de-7a00-7000-8000-00000000000{number}" for number in range(2)]
    for session_id in ids:
        cli.ok("append", "--create", session_id, "Hello")
        cli.ok("rename", session_id, f"Order number {session_id[-1]}")
    wide = cli.in_terminal("list", columns=120).bare
    assert all(session_id in wide for session_id in ids)
    narrow = cli.in_terminal("list", columns=60).bare.splitlines()[1:]
    assert [line.split()[0][-1] for line in narrow] == ["1", "0"]
    assert all("…" in line.split()[0] for line in narrow)
    assert all(f"Order number {number}" in line for number, line in zip((1, 0), narrow, strict=True))


def test_first_words_stand_for_a_title(cli: Cli) -> None:
    """On a terminal a session without a title shows how the user began; a pipe gets the title only."""
    cli.ok("append", "--create", "a", "--role", "system", "Be brief.")
    cli.ok("append", "a", "Where is\nmy order?")
    cli.ok("append", "--create", "b", "--role", "assistant", "Nobody asked.")
    table = cli.in_terminal("list").bare
    assert "Where is my order?" in table
    assert "Nobody" not in table
    assert cli.ok("list").out.splitlines()[1].split("\t")[:2] == ["a", ""]


def test_lines_of_json(cli: Cli) -> None:
    """`--jsonl` prints a line for each session, of one page or of all."""
    _fill(cli)
    assert [line["id"] for line in cli.ok("list", "--jsonl", "-n", "2").lines] == ["s4", "s3"]
    assert len(cli.ok("list", "--jsonl", "--all").lines) == 5
    assert cli("list", "--jsonl", "--json").code == 2


def test_colours_can_be_switched_off(cli: Cli) -> None:
    """A terminal gets colours, unless NO_COLOR is set; a pipe never does."""
    _fill(cli, 1)
    cli.ok("pin", "s0")
    assert "\x1b[36mpinned" in cli.in_terminal("list").out
    assert "\x1b[36m" not in cli.in_terminal("list", environment={"NO_COLOR": "1"}).out
    assert "\x1b" not in cli.ok("list").out
