"""The demo, run as a user runs it: several processes on one store, and the check of what they left."""

import asyncio
import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bamboo_sessions import InputError
from bamboo_sessions.cli.demo import supervisor
from bamboo_sessions.cli.demo.conversations import read_conversations
from bamboo_sessions.cli.demo.link import Report

PROGRAM = (sys.executable, "-c", "from bamboo_sessions.cli import main; main()")
SMALL = ("--sessions", "4", "--writers", "2")

LINE = {
    "id": "chat-1",
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Where is it?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "on its way"},
        {"role": "assistant", "content": "On its way."},
        {"role": "user", "content": "Thanks."},
    ],
    "metadata": {"task": 7},
}


def in_folder(folder: Path) -> dict[str, str]:
    """The environment of a program that keeps its temporary files in `folder`."""
    return {**os.environ, "TMPDIR": str(folder)}


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo to its end; nothing temporary may be left behind but the store, which is named at the end."""
    temporary = folder / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [*PROGRAM, "demo", *options],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env=in_folder(temporary),
        stdin=subprocess.DEVNULL,
    )
    left = [path for path in temporary.iterdir() if str(path) not in done.stdout]
    assert left == []
    return done


def written(path: Path, lines: Sequence[object]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# --- whole runs


@pytest.mark.multiprocess
def test_nothing_acknowledged_is_lost_here(tmp_path: Path) -> None:
    """G2, G3, G5, G6: the same race loses much on a plain store, and on ours every acknowledged change is there."""
    done = run_demo(tmp_path, *SMALL, "--json")

    assert done.returncode == 0, done.stderr
    ours, plain = (json.loads(done.stdout)[name] for name in ("bamboo_sessions", "plain"))
    assert ours["ok"]
    assert ours["findings"] == []
    faults = ("lost", "reverted", "duplicated", "torn", "answers_doubled", "unacknowledged")
    assert [ours[fault] for fault in faults] == [0] * len(faults)
    turns = sum(len(conversation.turns) for conversation in read_conversations(None, sessions=4))
    assert ours["turns"] == plain["turns"] == 4 * turns
    assert ours["there"] == ours["acknowledged"] > 4 * turns
    # All but one of the four writers of a session save first from a copy that is old for certain, and so does that
    # one, for people changed every session behind its back.
    assert ours["saves_merged"] >= 4 * 4
    assert ours["changes_acknowledged"] >= 4 * 3
    assert ours["answers_refused"] >= 2 * ours["answers_acknowledged"] > 0
    assert ours["turns_per_second"] > 0

    assert not plain["ok"]
    # Of the four first turns of each session, saved from the same old state, three at least are gone, of two messages
    # or more each; and with them what people did while the copies were held: the note, the priority, the answer.
    assert plain["lost"] >= 4 * (3 * 2 + 1)
    assert plain["there"] == plain["acknowledged"] - plain["lost"]
    assert plain["reverted"] >= 4
    assert plain["answers_doubled"] >= 4
    assert {finding["fault"] for finding in plain["findings"]} >= {"lost", "reverted", "doubled"}


@pytest.mark.multiprocess
def test_the_demo_shows_the_product(tmp_path: Path) -> None:
    """It says at once that it sets up, shows commands and what they print, and both stores side by side."""
    kept = tmp_path / "kept file.db"
    done = run_demo(tmp_path, *SMALL, "--keep", str(kept))

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"Setting up a store: {kept}\n")
    shown = done.stdout
    for command in ("show support-01", "answer support-01 'Send it'", "search 'flat number'"):
        assert f"$ bamboo-sessions {command}" in shown
    assert "\nassistant  20" in shown
    assert "was answered already" in done.stderr
    assert any(line.split() == ["a", "plain", "store", "bamboo-sessions"] for line in shown.splitlines())
    (lost,) = [line.split() for line in shown.splitlines() if line.startswith("  lost ")]
    assert int(lost[1].replace(",", "")) > 0
    assert lost[2] == "0"
    assert "Wrong in the plain store" in shown
    assert "Wrong in bamboo-sessions" not in shown


@pytest.mark.multiprocess
def test_the_store_is_left_to_look_at(tmp_path: Path) -> None:
    """The commands at the end show what the demo has left; gzip input is fine, and raced alone."""
    source = tmp_path / "chats.jsonl.gz"
    source.write_bytes(gzip.compress(json.dumps(LINE).encode()))

    done = run_demo(tmp_path, "--input", str(source), "--sessions", "2", "--writers", "1")

    assert done.returncode == 0, done.stderr
    assert "$ bamboo-sessions" not in done.stdout
    (command,) = [line for line in done.stdout.splitlines() if "--namespace race list" in line]
    options = shlex.split(command.partition("--url")[2])
    listed = subprocess.run([*PROGRAM, "--url", *options, "--json"], capture_output=True, check=True, text=True)
    assert {head["id"] for head in json.loads(listed.stdout)["sessions"]} == {"chat-1", "chat-1~2"}


@pytest.mark.multiprocess
def test_a_run_can_be_cut_short(tmp_path: Path) -> None:
    """`--seconds-max` stops the writers between two turns; what they had acknowledged is checked as ever."""
    done = run_demo(tmp_path, "--sessions", "24", "--writers", "2", "--seconds-max", "0.001", "--json")

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)["bamboo_sessions"]
    assert outcome["lost"] == 0
    assert 0 <= outcome["turns"] < 4 * sum(len(c.turns) for c in read_conversations(None, sessions=24))


@pytest.mark.multiprocess
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """Ctrl-C in the middle of the replay ends all processes, removes the files, and ends the demo by the signal."""
    with subprocess.Popen(
        [*PROGRAM, "demo", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=in_folder(tmp_path),
        start_new_session=True,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Runtime writers replay"):
                break
        process.send_signal(sent)
        out, err = process.communicate()

    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):  # nobody is left of its group
        os.killpg(process.pid, 0)


# --- what can go wrong


class Silent:
    """A watcher that nobody looks at."""

    def step(self, text: str) -> None:
        """Say nothing."""

    def counted(self, process: str, report: Report) -> None:
        """Show nothing."""


@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('out of luck')", r"exit code 1\): out of luck"),
        ("pass", r"exit code 0\): it said nothing"),
        ("import os; os.kill(os.getpid(), 9)", r"exit code -9\): it said nothing"),
        ('print(\'{"step": "seeded"}\')', r"exit code 0\)"),
    ],
)
@pytest.mark.anyio
async def test_a_process_that_ends_early_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """A process that crashes, or just stops, ends the run with its last words; the others are stopped."""
    monkeypatch.setattr(supervisor, "PROGRAM", (sys.executable, "-c", program))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan = supervisor.Plan(input=None, sessions=1, writers=1, naive=False, seconds_max=None, store=None)

    async with asyncio.timeout(60):
        with pytest.raises(supervisor.DemoFailedError, match=reason):
            await supervisor.run(plan, Silent())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not JSON\n", "line 1: This isn't JSON"),
        (b'\n\n{"id": "x"}\n', "line 3: The conversation has no 'messages'"),
        (b'{"id": "x", "messages": []}\n', "line 1: Conversation 'x' has no messages"),
        (b'{"id": "x", "messages": [{"role": "pilot"}]}\n', "line 1: Message 1: It has the role 'pilot'"),
        (b"\n", "has no conversations"),
        (b"\x1f\x8bnot gzip", "can't be read"),
    ],
)
def test_a_bad_input_is_told_before_anything_starts(tmp_path: Path, content: bytes, said: str) -> None:
    """A file that holds no conversations is refused with the line and the reason, and exit code 2."""
    source = tmp_path / "bad.jsonl"
    source.write_bytes(content)

    done = run_demo(tmp_path, "--input", str(source))

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Starting" not in done.stderr


def test_wrong_options_are_wrong_usage(tmp_path: Path) -> None:
    """A missing input, and a place to keep the store that is taken or has no folder, are told with exit code 2."""
    for place, options in enumerate(
        (
            ("--input", str(tmp_path / "missing")),
            ("--keep", str(tmp_path)),
            ("--keep", str(tmp_path / "no" / "folder.db")),
        )
    ):
        (folder := tmp_path / str(place)).mkdir()
        done = run_demo(folder, *options)
        assert done.returncode == 2
        assert options[0] in done.stderr


# --- conversations


def test_conversations_are_cut_into_turns(tmp_path: Path) -> None:
    """What stands before the first user message is the opening; every user message begins a turn."""
    (conversation,) = read_conversations(written(tmp_path / "chats.jsonl", [LINE]))

    assert [message.role for message in conversation.opening] == ["system"]
    assert [[message.role for message in turn] for turn in conversation.turns] == [
        ["user", "assistant", "tool", "assistant"],
        ["user"],
    ]
    assert (conversation.model, conversation.metadata["task"]) == ("m", 7)


def test_every_writer_has_message_ids_of_its_own(tmp_path: Path) -> None:
    """A turn replayed by two writers has the same content under different ids."""
    (conversation,) = read_conversations(written(tmp_path / "chats.jsonl", [LINE]))
    one, other = (conversation.turn(0, writer=writer) for writer in ("w1", "w2"))

    assert not {message.id for message in one} & {message.id for message in other}
    assert [message.content for message in one] == [message.content for message in other]


def test_an_input_without_a_user_is_one_turn(tmp_path: Path) -> None:
    """A conversation in which no user speaks is replayed as one turn."""
    line = {"id": "x", "messages": [{"role": "assistant", "content": "Hello?"}]}
    (conversation,) = read_conversations(written(tmp_path / "chats.jsonl", [line]))

    assert (len(conversation.opening), len(conversation.turns)) == (0, 1)


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """Two conversations of one id would be one session."""
    with pytest.raises(InputError, match="line 2: the id 'chat-1' was there before"):
        read_conversations(written(tmp_path / "chats.jsonl", [LINE, LINE]))


def test_the_built_in_set_is_usable() -> None:
    """The conversations that ship with the package are several, with tool calls that all have their results."""
    conversations = read_conversations(None, sessions=12)

    assert len({conversation.id for conversation in conversations}) == 12
    for conversation in conversations:
        messages = [message for turn in conversation.turns for message in turn]
        calls = [call.id for message in messages for call in message.tool_calls]
        assert calls == [message.tool_call_id for message in messages if message.role == "tool"]
        assert calls
        assert len(conversation.turns) >= 4
