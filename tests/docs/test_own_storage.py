"""The storage that the documents show keeps the contract: whole sessions come back, commits are atomic."""

from pathlib import Path

import pytest

from bamboo_sessions import SimpleStorage
from bamboo_sessions.storage.port import SessionStorage
from bamboo_sessions.testing.conformance import CommitsConformance, MakeStorage, WholeSessionsConformance
from examples.own_storage import JsonFiles


class TestJsonFiles(CommitsConformance, WholeSessionsConformance):
    namespaces = False

    @pytest.fixture
    def make_storage(self, tmp_path: Path) -> MakeStorage:
        """Files in a folder of the test's own."""

        async def make() -> SessionStorage:
            return SimpleStorage(JsonFiles(tmp_path))

        return make
