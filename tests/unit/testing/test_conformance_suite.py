"""The conformance suite itself: nothing in it hides or is forgotten, and it notices engines that break promises."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bamboo_sessions.testing import conformance
from bamboo_sessions.testing.conformance.base import MODULES

PARTS = [
    part
    for suite in (conformance.StorageConformance, conformance.RepositoryConformance)
    for part in suite.__bases__
    if part is not object
]


def _tests(part: type) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in vars(part).items() if name.startswith("test"))


def test_no_test_hides_another() -> None:
    """No two parts have a test of the same name: in one class the second would never run."""
    names = [name for part in PARTS for name, _ in _tests(part)]
    assert len(names) == len(set(names))
    assert len(names) > 150


def test_every_part_is_in_a_suite() -> None:
    """Each class with tests that the package exports belongs to one of the two suites."""
    exported = {value for name in conformance.__all__ if inspect.isclass(value := getattr(conformance, name))}
    from bamboo_sessions.testing.conformance import repository

    exported |= {value for name in repository.__all__ if inspect.isclass(value := getattr(repository, name))}
    assert {part for part in exported if list(_tests(part))} == set(PARTS)


def test_every_test_says_what_it_demands() -> None:
    """Each test has a docstring of one sentence or two."""
    for part in PARTS:
        assert part.__doc__
        for name, test in _tests(part):
            assert (inspect.getdoc(test) or "").endswith("."), name


def test_every_module_explains_its_asserts() -> None:
    """The asserts of every module of the suite are rewritten by pytest."""
    found = {
        name.removeprefix("bamboo_sessions.testing.conformance.")
        for _, name, is_package in pkgutil.walk_packages(conformance.__path__, f"{conformance.__name__}.")
        if not is_package
    }
    assert found - {"base"} == set(MODULES)


BROKEN = """
import msgspec
import pytest
from bamboo_sessions import MemoryStorage
from bamboo_sessions.domain.snapshot import Snapshot
from bamboo_sessions.storage.query import Cursor
from bamboo_sessions.testing.conformance import (
    CommitIdsConformance, CommitsConformance, FeedConformance, FreshnessConformance, LeasesConformance,
    NamespacesConformance, StorageConformance, TreesConformance,
)

class NoCompare(MemoryStorage):
    async def commit(self, commit):
        return await super().commit(msgspec.structs.replace(commit, expected=None) if commit.expected else commit)

class NoReplay(MemoryStorage):
    async def commit(self, commit):
        another = commit.commit_id + str(len(self._contents.commits))
        return await super().commit(msgspec.structs.replace(commit, commit_id=another))

class Forgetful(MemoryStorage):
    async def delete_tree(self, key, query):
        deleted = await super().delete_tree(key, query)
        for id in deleted:
            del self._contents.sessions[key._replace(session_id=id)]
        return deleted

class OneNamespace(MemoryStorage):
    async def read(self, key):
        return await super().read(key._replace(namespace="default"))

class Stale(MemoryStorage):
    def still_newest(self, key, revision, token):
        return token or 1

class Silent(MemoryStorage):
    async def read_changes(self, namespace, after, limit):
        page = await super().read_changes(namespace, after, limit)
        told = tuple(change for change in page.changes if "deleted" not in change.kinds)
        return msgspec.structs.replace(page, changes=told)

class Amnesiac(MemoryStorage):
    async def settle(self, key, commit_id):
        return None

class Unfenced(MemoryStorage):
    async def commit(self, commit):
        return await super().commit(msgspec.structs.replace(commit, fence=None))

class FreshTokens(MemoryStorage):
    async def delete_tree(self, key, query):
        deleted = await super().delete_tree(key, query)
        self._contents.leases.clear()
        return deleted

def case(storage, part):
    class Test(part):
        @pytest.fixture
        def make_storage(self):
            async def make():
                return storage()
            return make
    return Test

TestSound = case(MemoryStorage, StorageConformance)
TestNoCompare = case(NoCompare, CommitsConformance)
TestNoReplay = case(NoReplay, CommitIdsConformance)
TestForgetful = case(Forgetful, TreesConformance)
TestOneNamespace = case(OneNamespace, NamespacesConformance)
TestStale = case(Stale, FreshnessConformance)
TestSilent = case(Silent, FeedConformance)
TestAmnesiac = case(Amnesiac, CommitIdsConformance)
TestUnfenced = case(Unfenced, LeasesConformance)
TestFreshTokens = case(FreshTokens, LeasesConformance)
"""


def test_it_notices_broken_engines(tmp_path: Path) -> None:
    """A third party's ten lines run anywhere; a sound engine passes, and each broken promise fails some test."""
    (tmp_path / "test_engines.py").write_text(BROKEN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-rf", "test_engines.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    failed = {line.split("::")[1] for line in run.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {
        "TestNoCompare",
        "TestNoReplay",
        "TestForgetful",
        "TestOneNamespace",
        "TestStale",
        "TestSilent",
        "TestAmnesiac",
        "TestUnfenced",
        "TestFreshTokens",
    }, run.stdout
    assert "error" not in run.stdout.splitlines()[-1], run.stdout


@pytest.mark.parametrize("name", ["bamboo_sessions.testing", "bamboo_sessions.testing.faults"])
def test_imports_stay_light(name: str) -> None:
    """The clock and the faults need neither pytest nor hypothesis."""
    code = f"import sys, {name}; sys.exit(bool({{'pytest', 'hypothesis', 'anyio'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
