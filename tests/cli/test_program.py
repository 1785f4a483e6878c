"""The program as a whole: options, exit codes, and errors as sentences."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import bamboo_sessions
from bamboo_sessions import (
    BambooSessionsError,
    InvalidSessionIdError,
    MessageNotFoundError,
    NoPendingQuestionError,
    SessionNotFoundError,
    StorageFullError,
)
from bamboo_sessions.cli import app, failures
from bamboo_sessions.cli.commands import COMMANDS
from bamboo_sessions.cli.store import Store, default_file
from tests.cli.support import Cli, conversation


def test_the_overview_loads_nothing_heavy() -> None:
    """`--help` imports neither rich nor any command: it has to answer at once."""
    code = (
        "import sys; from bamboo_sessions.cli.app import program\n"
        "try: program.main(['--help'])\n"
        "finally: print(sorted(n for n in sys.modules if n == 'rich' or n.startswith('bamboo_sessions.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(
        [f"bamboo_sessions.cli.{name}" for name in ("app", "commands", "options", "output", "store", "text")]
    )


def test_the_overview_says_what_each_command_says_of_itself() -> None:
    """The line of a command in the overview is the first one of its own help."""
    context = click.Context(app.program)
    for name in app.program.list_commands(context):
        command = app.program.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").split("\n\n", maxsplit=1)[0].replace("\n", " ") == COMMANDS[name].help


def test_the_store_is_a_file_in_the_data_folder_by_default(tmp_path: Path) -> None:
    """Without a URL, sessions are kept in the user's data folder, which is made on demand."""
    runner = CliRunner()
    assert runner.invoke(app.program, ["append", "--create", "a", "Hello"]).exit_code == 0
    assert default_file() == tmp_path / "data" / "bamboo-sessions" / "sessions.db"
    assert default_file().is_file()
    assert runner.invoke(app.program, ["list"]).stdout.startswith("a\t")


def test_url_and_namespace_come_from_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """BAMBOO_SESSIONS_URL and BAMBOO_SESSIONS_NAMESPACE set the defaults of the global options."""
    cli.ok("--namespace", "tenant", "append", "--create", "a", "Hello")
    monkeypatch.setenv("BAMBOO_SESSIONS_URL", cli.url)
    monkeypatch.setenv("BAMBOO_SESSIONS_NAMESPACE", "tenant")
    assert CliRunner().invoke(app.program, ["list"]).stdout.startswith("a\t")


def test_a_misspelt_command_names_what_is_close(cli: Cli) -> None:
    """An unknown command is answered with those that are spelt alike, if there are any."""
    assert "No such command 'serch'. Did you mean 'search'?" in cli("serch").err
    assert "mean" not in cli("zzz").err


def test_limits_are_called_alike(cli: Cli) -> None:
    """Every command that has `--limit` takes `-n`, too."""
    context = click.Context(app.program)
    commands = [app.program.get_command(context, name) for name in app.program.list_commands(context)]
    options = [option.opts for command in commands if command for option in command.params]
    limits = [names for names in options if "--limit" in names]
    assert len(limits) >= 5
    assert all("-n" in names for names in limits)


def test_a_namespace_sees_only_its_own_sessions(cli: Cli) -> None:
    """L99: what one tenant has, another neither sees nor exports nor finds."""
    cli.ok("--namespace", "one", "append", "--create", "a", "Hello")
    assert cli.ok("--namespace", "two", "list").out == ""
    assert cli.ok("--namespace", "two", "export").out == ""
    assert cli("--namespace", "two", "show", "a").code == failures.NOT_FOUND


@pytest.mark.parametrize(
    "args",
    [
        ("lst",),
        ("show",),
        ("show", ""),
        ("show", "a\tb"),
        ("list", "--limit", "0"),
        ("list", "--limit", "many"),
        ("list", "--cursor", "nonsense"),
        ("list", "--all", "--limit", "3"),
        ("list", "--order", "title"),
        ("show", "a", "--limit", "0"),
        ("show", "a", "--all", "--limit", "3"),
        ("show", "a", "--model-view", "--revision", "1"),
        ("append", "a", "x", "--model", "gpt-5.2"),
        ("append", "a", "x", "--role", "robot"),
        ("append", "--create", "a", "x", "--message-id", ""),
        ("usage", "--children"),
        ("import", "xml", "-"),
        ("import", "openai-chat"),
        ("delete",),
        ("completion", "tcsh"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli: Cli, args: tuple[str, ...]) -> None:
    """What can't be understood or accepted is told on stderr, with exit code 2."""
    cli.ok("migrate")
    outcome = cli(*args)
    assert outcome.code == failures.WRONG_USAGE
    assert outcome.out == ""
    assert "Error: " in outcome.err


@pytest.mark.parametrize("url", ["sqlite:agents.db", "sqlite://", "postgresql://localhost/x", "sqlite:///"])
def test_a_url_that_names_no_store_is_wrong_usage(url: str) -> None:
    """A URL that can't be understood is exit code 2, with a hint at what can."""
    result = CliRunner().invoke(app.program, ["--url", url, "list"])
    assert result.exit_code == failures.WRONG_USAGE
    assert "Hint: Use a path such as agents.db" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--url", "{url}", "--namespace", "n", "list"),
        ("list", "--url", "{url}", "--namespace", "n"),
        ("--namespace", "n", "list", "--url={url}"),
        ("--url", "elsewhere.db", "list", "--namespace=n", "--url", "{url}"),
    ],
    ids=" ".join,
)
def test_global_options_stand_anywhere(cli: Cli, args: tuple[str, ...]) -> None:
    """Global options stand before the command or behind it; the last one counts."""
    cli.ok("--namespace", "n", "append", "--create", "a", "Hello")
    result = CliRunner().invoke(app.program, [arg.format(url=cli.url) for arg in args])
    assert result.stdout.startswith("a\t"), result.stderr


def test_global_options_behind_a_command_win_over_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed wins over what the environment says, wherever it stands; text behind -- is no option."""
    monkeypatch.setenv("BAMBOO_SESSIONS_URL", "elsewhere.db")
    result = CliRunner().invoke(app.program, ["append", "--create", "--url", cli.url, "a", "--", "--url"])
    assert result.exit_code == 0
    assert cli.ok("show", "a", "--json").json["messages"][0]["content"] == "--url"
    assert CliRunner().invoke(app.program, ["lease", "show", "a", "--url", cli.url]).exit_code == 0
    assert CliRunner().invoke(app.program, ["list", "--version"]).stdout.startswith("bamboo-sessions, version ")


def test_a_plain_path_is_a_store(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--url agents.db` is a file, relative to where one is."""
    monkeypatch.chdir(cli.folder)
    for url in ("agents.db", "./agents.db", str(cli.folder / "agents.db")):
        assert CliRunner().invoke(app.program, ["--url", url, "append", "--create", "a", url]).exit_code == 0
    assert CliRunner().invoke(app.program, ["list", "--url", "agents.db"]).stdout.split("\t")[2] == "3"


@pytest.mark.parametrize(
    "args",
    [("list",), ("search", "word"), ("watch", "--no-follow"), ("cleanup", "all"), ("show", "a"), ("export",)],
    ids=" ".join,
)
def test_nothing_here_names_the_store(cli: Cli, args: tuple[str, ...]) -> None:
    """Whoever finds nothing is told where it was looked for: the store and the namespace."""
    cli.ok("migrate")
    outcome = cli("--namespace", "other", *args)
    assert outcome.out == ""
    assert f"in {cli.url}, namespace 'other'" in outcome.err


def test_colours_can_be_forced(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--color always` and FORCE_COLOR lay data out for people, in colour, where no terminal is; `never` wins."""
    cli.ok("append", "--create", "a", "Hello")
    cli.ok("pin", "a")
    assert "\x1b" not in cli.ok("list").out
    assert "\x1b[36mpinned" in cli.ok("list", "--color", "always").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[36mpinned" in cli.ok("list").out
    assert cli.ok("list", "--color", "never").out.startswith("a\t")
    assert "\x1b[36m" not in cli.in_terminal("list", "--color", "never").out


def test_what_is_longer_than_the_terminal_is_paged(cli: Cli) -> None:
    """$PAGER gets what doesn't fit, unless one doesn't want it; what fits is printed."""
    pager = cli.folder / "pager"
    pager.write_text("#!/bin/sh\nsed 's/^/paged: /'\n")
    pager.chmod(0o700)
    cli.ok("append", "--create", "short", "Hello")
    cli.ok("append", "--create", "long", "line\n" * 100)
    environment = {"PAGER": str(pager)}
    assert "paged: long" in cli.in_terminal("show", "long", environment=environment).bare
    assert "paged: " not in cli.in_terminal("show", "long", "--no-pager", environment=environment).out
    assert "paged: " not in cli.in_terminal("show", "short", environment=environment).out
    assert "paged: " not in cli.ok("show", "long").out


@pytest.mark.parametrize(
    "args",
    [("search", "-foo"), ("search", "order", "-draft"), ("rename", "a", "-5 degrees"), ("append", "a", "-text")],
    ids=" ".join,
)
def test_text_that_looks_like_an_option_is_explained(cli: Cli, args: tuple[str, ...]) -> None:
    """Where a command takes text, one that begins with a dash is told where it belongs."""
    outcome = cli(*args)
    assert outcome.code == failures.WRONG_USAGE
    assert f"stands behind --, as in: program {args[0]} … -- -text" in outcome.err
    assert "behind --" not in cli("show", "a", "-foo").err


@pytest.mark.parametrize(
    "args",
    [
        ("show", "nope"),
        ("show", "nope", "--revision", "1"),
        ("append", "nope", "x"),
        ("rename", "nope", "Title"),
        ("pin", "nope"),
        ("unpin", "nope"),
        ("archive", "nope"),
        ("unarchive", "nope"),
        ("answer", "nope", "yes"),
        ("answer", "a", "yes"),
        ("answer", "a", "yes", "--question", "nope"),
        ("fork", "nope"),
        ("fork", "a", "--at-message", "nope"),
        ("usage", "nope"),
        ("delete", "nope"),
        ("export", "nope"),
    ],
)
def test_what_is_not_there_is_exit_code_3(cli: Cli, args: tuple[str, ...]) -> None:
    """A session, question or message that isn't there is exit code 3, and nothing on stdout."""
    cli.ok("append", "--create", "a", "Hello")
    outcome = cli(*args)
    assert outcome.code == failures.NOT_FOUND
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")


def test_a_store_that_fails_is_exit_code_1(cli: Cli, tmp_path: Path) -> None:
    """G8: a broken store is a failure with a hint, never an empty list."""
    (tmp_path / "sessions.db").write_text("This is no database. " * 100)
    outcome = cli("list")
    assert (outcome.code, outcome.out) == (failures.FAILED, "")
    assert "isn't a SQLite database" in outcome.err
    assert "Hint: " in outcome.err


def test_a_folder_that_is_not_there_is_exit_code_1(tmp_path: Path) -> None:
    """A store in a folder that doesn't exist can't be made, and the error says so; only the default folder is made."""
    result = CliRunner().invoke(app.program, ["--url", f"sqlite:///{tmp_path}/nope/x.db", "migrate"])
    assert result.exit_code == failures.FAILED
    assert "There is no folder" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("list",),
        ("list", "--json"),
        ("show", "a"),
        ("search", "word"),
        ("usage",),
        ("stats",),
        ("check",),
        ("export",),
        ("tail", "a", "--wait"),
        ("watch",),
        ("append", "a", "Hello"),
        ("rename", "a", "Title"),
        ("delete", "a", "--yes"),
    ],
    ids=" ".join,
)
def test_a_store_that_is_not_there_is_exit_code_3(cli: Cli, args: tuple[str, ...]) -> None:
    """Of a URL where nothing is, the error says so and how a store is made; none is made, for it may be mistyped."""
    outcome = cli(*args)
    assert (outcome.code, outcome.out) == (failures.NOT_FOUND, "")
    assert outcome.err.startswith(f"Error: There is no store at {cli.folder / 'sessions.db'}.\nHint: Check --url")
    assert "`append --create`" in outcome.err
    assert list(cli.folder.iterdir()) == []


def test_the_default_store_is_empty_until_it_is_made() -> None:
    """Without a URL nothing can be mistyped: reading finds no sessions, and makes no file either."""
    result = CliRunner().invoke(app.program, ["list", "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["sessions"] == []
    assert not default_file().exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SessionNotFoundError("a"), 3),
        (MessageNotFoundError("a", "m"), 3),
        (NoPendingQuestionError("a", "q"), 3),
        (InvalidSessionIdError("Bad."), 2),
        (StorageFullError("Full."), 1),
        (ExceptionGroup("several", [SessionNotFoundError("a")]), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 141),
        (OSError(28, "No space left on device"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """Whatever a command raises ends in the exit code that is documented."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Store, "run", fail)
    assert cli("list").code == code


def test_an_unexpected_error_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is told in a line, with how to report it; `--debug` shows the traceback."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret \x1b[31m")

    monkeypatch.setattr(Store, "run", fail)
    outcome = cli("list")
    assert outcome.code == failures.FAILED
    assert outcome.err.splitlines()[0] == "Error: Something unexpected happened: ZeroDivisionError: secret ␛[31m"
    assert "--debug" in outcome.err
    debugged = CliRunner().invoke(app.program, ["--debug", "--url", cli.url, "list"])
    assert "Traceback" in debugged.stderr


def test_a_hint_is_said_once(cli: Cli) -> None:
    """The note that tracebacks show isn't printed beside the command's own hint; with `--debug` neither."""
    for options in ([], ["--debug"]):
        failed = CliRunner().invoke(app.program, [*options, "--url", cli.url, "append", "a\x01b", "hello"])
        assert failed.stderr.count("Hint:") == 1


def test_hints_speak_of_commands() -> None:
    """At a terminal, the hints for common errors name commands in place of methods."""
    errors: list[BambooSessionsError] = [SessionNotFoundError("a"), MessageNotFoundError("a", "m")]
    for error in errors:
        assert "bamboo-sessions " in str(failures.hint_for(error))


def test_version_and_completion(cli: Cli) -> None:
    """`--version` names the program, `completion` prints a script for each shell."""
    assert cli.ok("--version").out.startswith("bamboo-sessions, version ")
    for shell in ("bash", "zsh", "fish"):
        assert "_BAMBOO_SESSIONS_COMPLETE" in cli.ok("completion", shell).out


def test_completion_knows_the_shell_of_the_user(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name, `completion` takes the shell in $SHELL, and asks for a name if it doesn't know that."""
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert cli.ok("completion").out == cli.ok("completion", "fish").out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert cli("completion").code == failures.WRONG_USAGE


def test_every_reading_command_prints_json(cli: Cli) -> None:
    """`--json` gives one JSON document on stdout for each command that reads; `export` gives JSON lines."""
    cli.ok("import", "openai-chat", cli.write("a.jsonl", [conversation("a", "Hello"), conversation("b", "Hello")]))
    for args in (
        ("list",),
        ("list", "--all", "--total"),
        ("show", "a"),
        ("show", "a", "--all"),
        ("show", "a", "--revision", "1"),
        ("show", "a", "--model-view"),
        ("usage",),
        ("usage", "a", "--children"),
        ("stats",),
        ("check",),
        ("migrate",),
    ):
        assert isinstance(cli.ok(*args, "--json").json, dict), args
    assert [line["id"] for line in cli.ok("export").lines] == ["a", "b"]


def test_the_versions_of_what_is_installed(cli: Cli) -> None:
    """A report of a fault needs them all; a store isn't needed, nor made."""
    found = cli.ok("version", "--json").json
    assert found["bamboo_sessions"] == bamboo_sessions.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(found) == {"bamboo_sessions", "python", "sqlite", "platform"}
    assert cli.ok("version").out.splitlines()[0] == f"bamboo_sessions\t{bamboo_sessions.__version__}"
    assert not (cli.folder / "sessions.db").exists()
