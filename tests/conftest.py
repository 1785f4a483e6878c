"""What all tests share: the event loop, the profiles of hypothesis, and the `long` marker."""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# A slow machine must not fail a test: no deadline, no complaint about speed.
# Examples are random in every run; a failure prints the blob that brings it back.
_TOO_SLOW = [HealthCheck.too_slow]
settings.register_profile(
    "default",
    derandomize=False,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=_TOO_SLOW,
)
settings.register_profile("nightly", settings.get_profile("default"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, which `scripts/test --long` passes on, and `--repeat` for `tests/model`."""
    parser.addoption("--long", action="store_true", help="also run the tests marked `long`")
    parser.addoption("--repeat", metavar="TOKEN", help="run a program of tests/model again, and nothing else")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked `long` and `repeat`, unless they were asked for."""
    repeats = config.getoption("--repeat") is not None
    is_long = config.getoption("--long")

    def is_wanted(item: pytest.Item) -> bool:
        if repeats or item.get_closest_marker("repeat"):
            return repeats and item.get_closest_marker("repeat") is not None
        return is_long or not item.get_closest_marker("long")

    wanted = [item for item in items if is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how often the simulation went through each branch, the rarest first."""
    reached: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, counts in report.user_properties:
            if name == "reached":
                reached.update(counts)
    if reached:
        terminalreporter.section("branches that the simulation went through")
        for branch, count in sorted(reached.items(), key=lambda each: each[1]):
            terminalreporter.line(f"{count:>9,}  {branch}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio."""
    return "asyncio"
