"""The documentation site is built from the same files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import bamboo_sessions
from bamboo_sessions import SessionRepository
from tests.docs.pages import ROOT

_HEADING = re.compile(r'<h\d id="([\w.]+)" class="doc doc-heading">')


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """No link of it is dead, no page is left out, and the reference describes every public name and call."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    described = {
        heading.rpartition(".")[2]
        for heading in _HEADING.findall((tmp_path / "reference/python/index.html").read_text(encoding="utf-8"))
    }
    calls = {name for name in vars(SessionRepository) if not name.startswith("_")}
    assert {*bamboo_sessions.__all__, *calls} <= described
