"""What the documents show runs, and prints what they say."""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, Block, blocks, matches, name_of, pages

_OURS = re.compile(r"^\$ bamboo-sessions\b", re.MULTILINE)


def _runnable(page: Path) -> bool:
    return any(block.language == "python" and block.runs for block in blocks(page))


RUNNABLE = [page for page in pages() if _runnable(page)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BAMBOO_SESSIONS_URL", "BAMBOO_SESSIONS_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_blocks_of_a_page_run(page: Path) -> None:
    """Every block of a page runs as it stands, and prints what the page says."""
    _run_all(page, compares=True)


def test_all_pages_run_in_one_folder_twice() -> None:
    """A reader may try one page after the other in one folder, and come back: no page trips over what is there."""
    for page in [*RUNNABLE, *RUNNABLE]:
        _run_all(page, compares=False)


def test_the_quick_start_prints_the_same_whenever_it_runs() -> None:
    """The program of the README, saved in a file, can be run again in the same folder."""
    program, printed = (block for block in blocks(ROOT / "README.md") if block.language in {"python", "output"})
    Path("quickstart.py").write_text(program.text, encoding="utf-8")
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "quickstart.py"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.stdout.strip(), done.stderr) == (printed.text, "")


@pytest.mark.parametrize("page", [page for page in RUNNABLE if page.name != "README.md"], ids=name_of)
def test_the_blocks_of_a_page_can_be_pasted(page: Path) -> None:
    """Pasted into `python -m asyncio`, which reads line by line, the blocks of a page raise nothing."""
    pasted = "".join(f"{block.text}\n\n" for block in blocks(page) if block.language == "python" and block.runs)
    done = subprocess.run(
        [sys.executable, "-m", "asyncio"], input=pasted, capture_output=True, text=True, check=False, timeout=60
    )
    assert not re.findall(r"^\S*(?:Error|Exception|Warning)\b.*", done.stderr, flags=re.MULTILINE), done.stderr
    assert done.returncode == 0


def _run_all(page: Path, *, compares: bool) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        try:
            _run_blocks(page, namespace, runner, compares=compares)
        finally:
            for value in list(namespace.values()):
                if inspect.iscoroutinefunction(getattr(value, "aclose", None)) and not inspect.isclass(value):
                    runner.run(value.aclose())


def _run_blocks(page: Path, namespace: dict[str, Any], runner: asyncio.Runner, *, compares: bool) -> None:
    printed = ""
    for block in blocks(page):
        if not block.runs:
            continue
        where = f"{name_of(page)}, line {block.line}"
        if block.language == "python":
            printed = _run(page, block, namespace, runner)
        elif block.language == "output":
            assert not compares or matches(block.text, printed), f"{where}: it prints\n{printed}"
        elif block.language == "console" and _OURS.search(block.text):
            exports: list[str] = []
            for command, wanted in _commands(block.text):
                if command.startswith("export "):
                    exports.append(command)
                    continue
                shown = _shell("\n".join([*exports, command]))
                assert not compares or matches(wanted, shown), f"{where}: {command} prints\n{shown}"


def _run(page: Path, block: Block, namespace: dict[str, Any], runner: asyncio.Runner) -> str:
    source = "\n" * (block.line - 1) + block.text + "\n"  # so that a traceback names the page's line
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with redirect_stdout(StringIO()) as out:
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, namespace))  # noqa: S307 - our own documents
        else:
            exec(code, namespace)  # noqa: S102 - our own documents
    return out.getvalue()


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def _shell(command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_every_block_says_what_it_is() -> None:
    """A fenced block names a language that these tests know, so that none is left out by a typing error."""
    known = {"python", "output", "console", "sh", "text", "sql", "json", "toml"}
    for page in pages():
        for block in blocks(page):
            assert block.language in known, f"{name_of(page)}, line {block.line}: {block.language!r}"
            assert set(block.words) <= {"no-run", "needs-agents"}, f"{name_of(page)}, line {block.line}: {block.words}"
