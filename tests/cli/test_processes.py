"""The installed program, as a process: signals, pipes, and what reaches a shell."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import PROGRAM, Cli, conversation

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pipes of POSIX")

PIPE = subprocess.PIPE


def _run(cli: Cli, *args: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [str(PROGRAM), "--url", cli.url, *args]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


def test_a_round_trip(cli: Cli) -> None:
    """Gzip in, JSON lines out, through real pipes."""
    conversations = [conversation(f"s{number}", "Hi", "🦊 \x00 \ud83d") for number in range(10)]
    zipped = gzip.compress("\n".join(json.dumps(line) for line in conversations).encode())
    assert _run(cli, "import", "openai-chat", "-", stdin=zipped).returncode == 0
    exported = _run(cli, "export")
    assert exported.returncode == 0
    assert exported.stderr == b""
    assert [json.loads(line) for line in exported.stdout.splitlines()] == conversations


def test_a_bad_line_in_the_middle(cli: Cli) -> None:
    """The exit code of a process that imported all lines but one is 1."""
    text = json.dumps(conversation("a", "1")) + "\nbroken\n" + json.dumps(conversation("b", "1"))
    done = _run(cli, "import", "openai-chat", "-", stdin=text.encode())
    assert done.returncode == 1
    assert b"stdin, line 2: " in done.stderr
    assert b"2 conversations imported" in done.stderr


def test_ctrl_c_during_an_import(cli: Cli) -> None:
    """Ctrl-C ends an import at once, by the signal; importing again goes on from there."""
    lines = [json.dumps(conversation(f"s{number:04}", "Hi", "Hello")).encode() + b"\n" for number in range(600)]
    with cli.process("import", "openai-chat", "-", stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"".join(lines[:300]))
        process.stdin.write(b"broken\n")
        process.stdin.write(b"".join(lines[300:550]))  # more than one batch; then the process waits for the rest
        process.stdin.flush()
        complaint = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == -signal.SIGINT
    assert b"line 301: " in complaint
    assert b"Traceback" not in rest
    assert rest.endswith(b"Importing again goes on from there.\n")
    again = _run(cli, "import", "openai-chat", "-", "--json", stdin=b"".join(lines))
    counts = json.loads(again.stdout)
    assert counts["imported"] + counts["unchanged"] == 600
    assert counts["unchanged"] > 0
    assert counts["appended"] == counts["failed"] == 0
    assert _run(cli, "check").returncode == 0


def test_ctrl_c_before_anything_came(cli: Cli) -> None:
    """Ctrl-C while stdin has nothing to read ends the program all the same."""
    with cli.process("import", "openai-chat", "-", "--json", stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"broken\n" * 300)
        process.stdin.flush()
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(60) == -signal.SIGINT


def test_a_reader_that_goes_away(cli: Cli) -> None:
    """When the reader of stdout closes it, the program ends quietly with the exit code of a broken pipe."""
    many = [conversation(f"s{number}", "x" * 4_000) for number in range(100)]
    cli.ok("import", "openai-chat", cli.write("in.jsonl", many))
    for args in (("export",), ("list", "--all", "--json"), ("show", "s0", "--json")):
        reader, writer = os.pipe()
        os.close(reader)
        with cli.process(*args, stdout=writer, stderr=PIPE) as process:
            os.close(writer)
            assert process.stderr is not None
            assert process.stderr.read() == b""
            assert process.wait(60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
def test_a_disk_that_is_full(cli: Cli) -> None:
    """If stdout can't be written, that is a failure with a sentence."""
    cli.ok("append", "--create", "a", "Hello")
    for args in (("export",), ("list",), ("--help",)):
        with Path("/dev/full").open("wb") as full, cli.process(*args, stdout=full, stderr=PIPE) as process:
            assert process.stderr is not None
            assert process.stderr.read().startswith(b"Error: No space left on device.\nHint: ")
            assert process.wait(60) == 1


def test_closed_streams(cli: Cli) -> None:
    """Without stdin, stdout and stderr a command does its work all the same."""
    command = 'exec "$0" --url "$1" append --create a Hello <&- >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", command, PROGRAM, cli.url], check=False).returncode == 0
    assert cli.ok("list", "--json").json["sessions"][0]["message_count"] == 1


def test_streams_that_are_not_utf_8(cli: Cli) -> None:
    """On a terminal of another encoding text is escaped, and JSON stays JSON."""
    cli.ok("append", "--create", "a", "🦊 \x1b")
    env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    with cli.process("show", "a", "--json", stdout=PIPE, env=env) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["messages"][0]["content"] == "🦊 \x1b"
    with cli.process("show", "a", stdout=PIPE, env=env) as process:
        assert process.stdout is not None
        assert b"\\U0001f98a \\u241b" in process.stdout.read()


def test_arguments_that_are_not_text(cli: Cli) -> None:
    """An argument that isn't UTF-8 is kept as Python sees it, or refused as an id; never a crash."""
    odd = os.fsdecode(b"caf\xe9")
    assert _run(cli, "append", "--create", "a", odd).returncode == 0
    assert json.loads(_run(cli, "show", "a", "--json").stdout)["messages"][0]["content"] == odd
    refused = _run(cli, "show", odd)
    assert refused.returncode == 2
    assert b"Traceback" not in refused.stderr
