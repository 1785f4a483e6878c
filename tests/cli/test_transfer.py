"""`import` and `export`."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from bamboo_sessions import Message, SessionRepository
from bamboo_sessions.cli import lines
from tests.cli.support import Cli, conversation, with_tools

ENVIRONMENT = "BAMBOO_SESSIONS_TEST_CONVERSATIONS"

MANY = [with_tools(f"tools-{n}") if n % 3 == 0 else conversation(f"talk-{n}", "Hi", f"Hello {n}") for n in range(150)]


def _counts(cli: Cli, path: str, *args: str) -> tuple[int, dict[str, int]]:
    outcome = cli("import", "openai-chat", path, "--json", *args)
    return outcome.code, outcome.json


def _imported(**counts: int) -> dict[str, int]:
    return {"imported": 0, "appended": 0, "unchanged": 0, "failed": 0, "new_messages": 0, "repeated_ids": 0, **counts}


def test_what_is_imported_is_exported(cli: Cli) -> None:
    """150 conversations come back equal, in their order."""
    cli.ok("import", "openai-chat", cli.write("in.jsonl", MANY))
    assert cli.ok("export").lines == MANY
    assert cli.ok("export", "--json").lines == MANY


def test_importing_twice_changes_nothing(cli: Cli) -> None:
    """G4: importing a file again, or what was exported, writes nothing."""
    path = cli.write("in.jsonl", MANY[:20])
    code, counts = _counts(cli, path)
    assert (code, counts["imported"], counts["failed"]) == (0, 20, 0)
    before = cli.ok("stats", "--json").json
    assert _counts(cli, path) == (0, _imported(unchanged=20))
    assert _counts(cli, cli.write("out.jsonl", cli.ok("export").lines)) == (0, _imported(unchanged=20))
    assert cli.ok("stats", "--json").json["changes"] == before["changes"]


def test_a_longer_version_adds_what_is_new(cli: Cli) -> None:
    """A conversation that went on gets its new messages in one commit; the others stay as they are."""
    cli.ok("import", "openai-chat", cli.write("a.jsonl", [conversation("a", "1", "2"), conversation("b", "1")]))
    longer = [conversation("a", "1", "2", "3", "4"), conversation("b", "1")]
    assert _counts(cli, cli.write("b.jsonl", longer)) == (0, _imported(appended=1, unchanged=1, new_messages=2))
    assert cli.ok("export").lines == longer
    assert cli.ok("show", "a", "--json").json["session"]["revision"] == 2


def test_what_people_did_meanwhile_stays(cli: Cli) -> None:
    """Titles, further messages and removals of what was imported survive another import, and an export of them too."""
    path = cli.write("a.jsonl", [conversation("a", "1", "2", "3")])
    cli.ok("import", "openai-chat", path)

    async def change(sessions: SessionRepository) -> None:
        await sessions.rename("a", "Mine")
        session = await sessions.get("a")
        session.messages.insert(1, Message.user("inserted", id="i"))
        del session.messages[3]
        await sessions.save(session)

    cli.store(change)
    exported = cli.ok("export").lines
    assert [message["content"] for message in exported[0]["messages"]] == ["1", "inserted", "2"]
    for again in (path, cli.write("b.jsonl", exported)):
        assert _counts(cli, again) == (0, _imported(unchanged=1))
    assert cli.ok("export").lines == exported
    assert cli.ok("show", "a", "--json").json["session"]["title"] == "Mine"


def test_metadata_of_a_session_is_not_overwritten(cli: Cli) -> None:
    """Model and metadata of a session that exists stay, and the import says so."""
    cli.ok("import", "openai-chat", cli.write("a.jsonl", [conversation("a", "1", metadata={"team": "blue"})]))
    other = conversation("a", "1", metadata={"team": "red"}, model="other")
    outcome = cli.ok("import", "openai-chat", cli.write("b.jsonl", [other]))
    assert "session 'a' keeps its own model and metadata" in outcome.err
    assert cli.ok("export").lines[0]["metadata"] == {"team": "blue"}


def test_L115_messages_of_one_id_are_told_apart(cli: Cli) -> None:
    """Later messages of an id get one of their place, as the import says; they go out as they came (L115)."""
    line = conversation("a", "1", "2", "3")
    line["messages"] = [{**message, "id": "same"} for message in line["messages"]]
    path = cli.write("a.jsonl", [line])
    outcome = cli.ok("import", "openai-chat", path, "--json")
    assert outcome.json == _imported(imported=1, new_messages=3, repeated_ids=2)
    assert "line 1: 2 messages got new ids, as earlier ones have theirs" in outcome.err
    assert [message["content"] for message in cli.ok("export").lines[0]["messages"]] == ["1", "2", "3"]
    assert cli.ok("export").lines == [line]
    assert _counts(cli, path) == (0, _imported(unchanged=1, repeated_ids=2))


def test_a_bad_line_does_not_stop_the_others(cli: Cli) -> None:
    """Each bad line is told with file, number and reason; the others are imported; the exit code is 1."""
    path = cli.folder / "in.jsonl"
    texts = [
        json.dumps(conversation("a", "1")),
        '{"id": "b", "messages": [',
        "",
        json.dumps({"id": "b"}),
        json.dumps(conversation("c") | {"messages": [{"role": "robot"}]}),
        json.dumps(conversation("a", "something else")),
        json.dumps(conversation("\x07", "1")),
        json.dumps(conversation("d", "1")),
    ]
    path.write_text("\n".join(texts))
    outcome = cli("import", "openai-chat", str(path), "--json")
    assert (outcome.code, outcome.json) == (1, _imported(imported=2, failed=5, new_messages=2))
    reasons = dict(line.removeprefix(f"Error: {path}, line ").split(": ", 1) for line in outcome.err.splitlines())
    assert set(reasons) == {"2", "4", "5", "6", "7"}
    assert "isn't JSON" in reasons["2"]
    assert reasons["4"] == "The conversation has no 'messages'."
    assert "the role 'robot'" in reasons["5"]
    assert "with other content" in reasons["6"]
    assert "is no session id" in reasons["7"]
    assert [line["id"] for line in cli.ok("export").lines] == ["a", "d"]


def test_a_conversation_is_imported_whole_or_not_at_all(cli: Cli) -> None:
    """G3: a conversation with one message in conflict adds none of the others."""
    cli.ok("import", "openai-chat", cli.write("a.jsonl", [conversation("a", "1", "2")]))
    assert _counts(cli, cli.write("b.jsonl", [conversation("a", "1", "two", "3")])) == (1, _imported(failed=1))
    assert cli.ok("export").lines == [conversation("a", "1", "2")]


def test_versions_of_one_conversation_in_one_file(cli: Cli) -> None:
    """Lines of one id are imported one after another, however many are under way."""
    versions = [conversation("a", *map(str, range(length))) for length in range(1, 31)]
    others = [conversation(f"o{number}", "1") for number in range(100)]
    code, counts = _counts(cli, cli.write("in.jsonl", [*others, *versions, *reversed(versions)]))
    assert (code, counts) == (0, _imported(imported=101, appended=29, unchanged=30, new_messages=130))
    assert cli.ok("export", "a").lines == [versions[-1]]


def test_a_deleted_session_stays_deleted(cli: Cli) -> None:
    """G9: importing what was deleted is refused, unless it is asked for."""
    path = cli.write("a.jsonl", [conversation("a", "1"), conversation("b", "1")])
    cli.ok("import", "openai-chat", path)
    cli.ok("delete", "a", "--yes")
    outcome = cli("import", "openai-chat", path)
    assert outcome.code == 1
    assert "line 1: Session 'a' was deleted; nothing was written. --recreate makes it again." in outcome.err
    assert _counts(cli, path, "--recreate") == (0, _imported(imported=1, unchanged=1, new_messages=1))


def test_gzip_and_stdin(cli: Cli, tmp_path: Path) -> None:
    """Gzip is recognised by its content, in files and on stdin; several files are imported in one go."""
    zipped = gzip.compress(json.dumps(conversation("a", "1")).encode())
    (tmp_path / "in.dat").write_bytes(zipped)
    other = cli.write("b.jsonl", [conversation("b", "1")])
    assert cli.ok("import", "openai-chat", str(tmp_path / "in.dat"), other, "--json").json["imported"] == 2
    assert cli.ok("import", "openai-chat", "-", "--json", stdin=zipped).json["unchanged"] == 1
    text = "\ufeff" + json.dumps(conversation("c", "1")) + "\r\n\r\n"
    assert cli.ok("import", "openai-chat", "-", "--json", stdin=text).json["imported"] == 1
    assert [line["id"] for line in cli.ok("export").lines] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x00\x00", "this is binary"),
        (gzip.compress(os.urandom(5_000)), "this is binary"),
        (gzip.compress(json.dumps(MANY).encode())[:200], "its gzip data ends too early"),
        (b"\x1f\x8bnonsense", "its gzip data is broken"),
        (json.dumps([conversation("a", "1")], indent=2).encode(), "one JSON document"),
        (json.dumps([conversation("a", "1")]).encode(), "jq -c '.[]'"),
        (json.dumps(conversation("a", "1"), indent=2).encode(), "rewrite it first: jq -c . "),
        (json.dumps(conversation("a", "1")).encode("utf-16"), "make it UTF-8 first: iconv -f UTF-16"),
        (json.dumps(conversation("a", "1")).encode("utf-16-le"), "this is UTF-16 text"),
    ],
)
def test_files_of_something_else(cli: Cli, tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that isn't JSON lines is told what it is, with exit code 1."""
    path = tmp_path / "in"
    path.write_bytes(content)
    outcome = cli("import", "openai-chat", str(path))
    assert outcome.code == 1
    assert f"Error: {path}, line 1: " in outcome.err
    assert reason in outcome.err


def test_a_line_that_is_too_long(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """G13: a line longer than a commit may be ends the reading of its file, not the memory of the machine."""
    monkeypatch.setattr(lines, "_LINE_BYTES_MAX", 1_000)
    path = cli.write("in.jsonl", [conversation("a", "1"), conversation("b", "x" * 2_000), conversation("c", "1")])
    outcome = cli("import", "openai-chat", path)
    assert outcome.code == 1
    assert "line 2: the line is longer than 1,000 bytes" in outcome.err
    assert [line["id"] for line in cli.ok("export").lines] == ["a"]


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file(cli: Cli, tmp_path: Path, content: bytes) -> None:
    """An empty file is no error: it is said to be empty, and nothing is imported."""
    path = tmp_path / "in"
    path.write_bytes(content)
    outcome = cli.ok("import", "openai-chat", str(path), "--json")
    assert (outcome.json, outcome.err) == (_imported(), f"Note: {path} is empty.\n")


def test_files_that_can_not_be_read(cli: Cli, tmp_path: Path) -> None:
    """A folder or a missing file is wrong usage, found before anything of the other files is imported."""
    good = cli.write("a.jsonl", [conversation("a", "1")])
    for bad in (str(tmp_path), str(tmp_path / "nope")):
        outcome = cli("import", "openai-chat", good, bad)
        assert outcome.code == 2
        assert bad in outcome.err
    assert cli("export").code == 3  # there isn't even a store


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(cli: Cli) -> None:
    """A file that this user may not read is wrong usage, with a sentence that says so."""
    path = cli.write("a.jsonl", [conversation("a", "1")])
    Path(path).chmod(0)
    outcome = cli("import", "openai-chat", path)
    assert outcome.code == 2
    assert "not readable" in outcome.err


def test_a_file_that_vanishes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can't be opened any more is a failure with its name, not a traceback."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "a.jsonl")

    path = cli.write("a.jsonl", [conversation("a", "1")])
    monkeypatch.setattr(lines.Input, "_open", refuse)
    outcome = cli("import", "openai-chat", path)
    assert (outcome.code, outcome.err) == (1, "Error: a.jsonl: Permission denied.\n")


def test_a_store_that_fails_ends_the_import(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """G8: a failure of the store isn't blamed on a line; what was imported until then is told."""
    from bamboo_sessions import StorageFullError

    save = SessionRepository.save

    async def fail_at_last(self: SessionRepository, session: Any) -> Any:  # noqa: ANN401 - as it is called
        if session.id == "b":
            raise StorageFullError("No space is left.", hint="Free some.")
        return await save(self, session)

    monkeypatch.setattr(SessionRepository, "save", fail_at_last)
    cli.ok("import", "openai-chat", cli.write("a.jsonl", [conversation("a", "1")]))
    outcome = cli("import", "openai-chat", cli.write("b.jsonl", [conversation("a", "1"), conversation("b", "1")]))
    assert outcome.code == 1
    assert "Error: No space is left." in outcome.err
    assert "line 2" not in outcome.err


def test_text_that_breaks_others(cli: Cli) -> None:
    """L94: NUL and lone surrogates come through import and export, escaped where UTF-8 can't carry them."""
    nasty = [
        conversation("a", "null: \x00", "half: \ud83d", "whole: 🦊"),
        conversation("b", "é", metadata={"k": "\udfff"}),
    ]
    cli.ok("import", "openai-chat", cli.write("in.jsonl", nasty))
    outcome = cli.ok("export")
    assert outcome.lines == nasty
    assert "\\ud83d" in outcome.out
    assert "🦊" in outcome.out


def test_export_of_some(cli: Cli) -> None:
    """The sessions that are named are written in that order, each once; what isn't there is exit code 3."""
    cli.ok("import", "openai-chat", cli.write("in.jsonl", MANY[:5]))
    names = [MANY[3]["id"], MANY[1]["id"]]
    assert cli.ok("export", *names, names[0]).lines == [MANY[3], MANY[1]]
    outcome = cli("export", "nope", *names)
    assert (outcome.code, len(outcome.lines)) == (3, 2)
    assert outcome.err == f"Error: There is no session 'nope' in {cli.url}.\n"


def test_from_store_to_store(cli: Cli, tmp_path: Path) -> None:
    """What one store exports another imports, and exports again as the same lines."""
    (tmp_path / "other").mkdir()
    other = Cli(tmp_path / "other")
    cli.ok("append", "--create", "a", "Hello")
    cli.ok("append", "a", "The run began.", "--role", "event")
    exported = cli.ok("export").out
    other.ok("import", "openai-chat", "-", stdin=exported)
    assert other.ok("export").out == exported


def test_progress_is_for_terminals(cli: Cli) -> None:
    """A terminal sees a progress bar, and bad lines whole; nothing else ever sees a bar."""
    path = cli.write("in.jsonl", [*MANY[:3], "bad", *MANY[3:6]])
    outcome = cli.in_terminal("import", "openai-chat", path)
    assert outcome.code == 1
    assert "━" in outcome.out
    assert "line 4: A conversation is a JSON object, not text." in outcome.bare.replace("\n", "")
    assert "6 conversations imported" in outcome.bare
    assert "━" not in cli("import", "openai-chat", path).err


@pytest.mark.skipif(ENVIRONMENT not in os.environ, reason=f"{ENVIRONMENT} names no file of conversations")
def test_conversations_of_ones_own(cli: Cli) -> None:
    """The conversations in a file of the user's come back equal."""
    path = Path(os.environ[ENVIRONMENT])
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    cli.ok("import", "openai-chat", str(path))
    assert cli.ok("export").lines == [json.loads(line) for line in text.splitlines() if line.strip()]
