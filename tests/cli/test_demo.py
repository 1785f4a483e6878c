"""The demo, run as a user runs it: several processes on one store, and the check of what they left."""

import asyncio
import gzip
import json
import os
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
from bamboo_sessions.cli.demo.outcome import sqlite_url
from bamboo_sessions.storage.open import storage_for
from bamboo_sessions.storage.sqlite import SqliteStorage

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
    """Run the demo to its end; nothing temporary may be left behind."""
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
    assert list(temporary.iterdir()) == []
    return done


def written(path: Path, lines: Sequence[object]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# --- whole runs


@pytest.mark.multiprocess
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """G2, G3, G5, G6: with writers in two processes and people in a third, every acknowledged change is there."""
    done = run_demo(tmp_path, *SMALL, "--json")

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["ok"]
    assert outcome["findings"] == []
    faults = ("lost", "reverted", "duplicated", "torn", "answers_doubled", "unacknowledged")
    assert [outcome[fault] for fault in faults] == [0] * len(faults)
    turns = sum(len(conversation.turns) for conversation in read_conversations(None, sessions=4))
    assert outcome["turns"] == 4 * turns
    assert outcome["there"] == outcome["acknowledged"] > 4 * turns
    # All but one of the four writers of a session save first from a copy that is old for certain, and so does that
    # one, for people changed every session behind its back.
    assert outcome["saves_merged"] >= 4 * 4
    assert outcome["changes_acknowledged"] >= 4 * 3
    assert outcome["answers_refused"] >= 2 * outcome["answers_acknowledged"] > 0
    assert outcome["turns_per_second"] > 0


@pytest.mark.multiprocess
def test_the_naive_store_loses(tmp_path: Path) -> None:
    """The same load on a store without a merge loses what old copies wrote over; that is what is to be shown."""
    done = run_demo(tmp_path, *SMALL, "--naive", "--json")

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert not outcome["ok"]
    # Of the four first turns of each session, saved from the same old state, three at least are gone, of two messages
    # or more each; and with them what people did while the copies were held: the note, the priority, the answer.
    assert outcome["lost"] >= 4 * (3 * 2 + 1)
    assert outcome["there"] == outcome["acknowledged"] - outcome["lost"]
    assert outcome["reverted"] >= 4
    assert outcome["answers_doubled"] >= 4
    assert {finding["fault"] for finding in outcome["findings"]} >= {"lost", "reverted", "doubled"}


@pytest.mark.multiprocess
def test_both_stores_are_reported_alike(tmp_path: Path) -> None:
    """The results can be laid side by side: the same rows in the same order, and examples of what was lost."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ours = run_demo(tmp_path / "a", *SMALL).stdout.splitlines()
    naive = run_demo(tmp_path / "b", *SMALL, "--naive").stdout.splitlines()

    labels = [[line[:18].rstrip() for line in lines[1:14]] for lines in (ours, naive)]
    assert labels[0] == labels[1]
    assert "  lost             0 " in ours[4]
    assert "For example:" in naive
    assert "For example:" not in ours
    assert max(map(len, ours)) <= 82


@pytest.mark.multiprocess
def test_the_store_can_be_kept_and_looked_at(tmp_path: Path) -> None:
    """`--keep` leaves the SQLite file, the result says how to list it, and gzip input is fine."""
    source = tmp_path / "chats.jsonl.gz"
    source.write_bytes(gzip.compress(json.dumps(LINE).encode()))
    kept = tmp_path / "kept file.db"

    done = run_demo(tmp_path, "--input", str(source), "--keep", str(kept), "--sessions", "2", "--writers", "1")

    assert done.returncode == 0, done.stderr
    url = sqlite_url(kept)
    assert done.stdout.splitlines()[-1] == f"Look at it: bamboo-sessions --url {url} list"
    listed = subprocess.run([*PROGRAM, "--url", url, "list", "--json"], capture_output=True, check=True, text=True)
    assert '"chat-1"' in listed.stdout
    assert '"chat-1~2"' in listed.stdout


@pytest.mark.multiprocess
def test_a_run_can_be_cut_short(tmp_path: Path) -> None:
    """`--seconds-max` stops the writers between two turns; what they had acknowledged is checked as ever."""
    done = run_demo(tmp_path, "--sessions", "24", "--writers", "2", "--seconds-max", "0.001", "--json")

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["lost"] == 0
    assert 0 <= outcome["turns"] < 4 * sum(len(c.turns) for c in read_conversations(None, sessions=24))


@pytest.mark.multiprocess
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """Ctrl-C in the middle of the replay ends all processes, removes the files, and exits with 130."""
    with subprocess.Popen(
        [*PROGRAM, "demo"],
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
    plan = supervisor.Plan(input=None, sessions=1, writers=1, naive=False, seconds_max=None, keep=None)

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


def test_a_url_names_its_file(tmp_path: Path) -> None:
    """The URL that is printed leads back to the file, whatever its name."""
    path = tmp_path / "100% ours, a b.db"
    storage = storage_for(sqlite_url(path))

    assert isinstance(storage, SqliteStorage)
    assert storage.path == path
