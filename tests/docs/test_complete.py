"""The reference pages leave nothing out, and say nothing that the code doesn't."""

import importlib
import inspect
import re
from importlib.resources import files

import apsw
import pytest

import bamboo_sessions
from bamboo_sessions import BambooSessionsError, MemoryStorage, SqliteStorage
from bamboo_sessions.domain import errors, limits
from bamboo_sessions.domain.merge import POLICY, Policy
from bamboo_sessions.repository.records import Records
from bamboo_sessions.storage.sqlite.transactions.migrations import STEPS
from tests.docs.pages import DOCS, prose, rows

REFERENCE = DOCS / "reference"
ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BambooSessionsError)]
PUBLIC = [getattr(bamboo_sessions, name) for name in bamboo_sessions.__all__]
ENGINES = (SqliteStorage, MemoryStorage)  # these, and what stands on them, do what the port says
CLASSES = [value for value in PUBLIC if inspect.isclass(value) and not issubclass(value, (Exception, *ENGINES))]


def _code_words(text: str) -> set[str]:
    """All names inside backticks."""
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}


def test_every_error_is_documented_as_it_is() -> None:
    """The table of errors has every class, with its code and whether trying again can help."""
    documented = {row[0]: (row[1], row[2]) for row in rows(REFERENCE / "errors.md") if row[0].endswith("Error")}
    assert documented == {error.__name__: (error.code, "yes" if error.retryable else "no") for error in ERRORS}


def test_every_limit_is_documented_as_it_is() -> None:
    """The table of limits has every constant, with its value, a unit and a reason."""
    documented = {row[0]: row[1:] for row in rows(REFERENCE / "limits.md") if row[0].isupper()}
    values = {name: cells[0].replace(",", "") for name, cells in documented.items()}
    assert values == {name: str(value) for name, value in vars(limits).items() if name.isupper()}
    assert all(all(cells) for cells in documented.values())


def test_every_public_name_is_documented() -> None:
    """The API reference names everything that can be imported from the package and from its testing kit."""
    words = _code_words(prose(REFERENCE / "api.md"))
    testing = importlib.import_module("bamboo_sessions.testing")
    assert {*bamboo_sessions.__all__, *testing.__all__} <= words


@pytest.mark.parametrize("kind", [*CLASSES, Records], ids=lambda kind: kind.__name__)
def test_every_member_is_documented(kind: type) -> None:
    """The API reference names the methods and fields of every public class."""
    words = _code_words(prose(REFERENCE / "api.md"))
    members = {name for name in dir(kind) if not name.startswith("_")} - set(dir(tuple))
    assert members <= words, f"{kind.__name__}: {sorted(members - words)}"


def test_the_policy_table_is_the_merge_s() -> None:
    """The page on merging gives each field the policy that the merge follows."""
    names = {policy.name.lower() for policy in Policy}
    documented = {row[0]: row[1] for row in rows(DOCS / "explanation" / "merging.md") if row[1] in names}
    assert documented == {field: policy.name.lower() for field, policy in POLICY.items()}


def test_every_table_and_column_is_documented() -> None:
    """The page on the storage format has every table, with every column."""
    connection = apsw.Connection(":memory:")
    for step in STEPS:
        connection.execute(files("bamboo_sessions.storage.sqlite.schema").joinpath(step).read_text(encoding="utf-8"))
    columns: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT s.name, c.name FROM sqlite_schema AS s, pragma_table_info(s.name) AS c "
        "WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%'"
    ):
        columns.setdefault(table, set()).add(column)
    connection.close()
    text = (REFERENCE / "storage-format.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == set(columns)
    for table, names in columns.items():
        cells = [row.split("|")[1] for row in sections[table].splitlines() if row.startswith("| `")]
        assert _code_words(" ".join(cells)) == names, table


def test_every_guarantee_is_explained() -> None:
    """The page on guarantees has a section for each of G1 to G13, in order."""
    text = (DOCS / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (G\d+) ", text, flags=re.MULTILINE) == [f"G{number}" for number in range(1, 14)]


def test_every_decision_is_listed() -> None:
    """The list of decisions has each record by its number."""
    folder = DOCS / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(folder.glob("0*.md"))
    numbers = [record.name[:4] for record in records]
    assert len(set(numbers)) == len(numbers)
    assert all(f"({record.name})" in listed for record in records)
