from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.usage import COUNTS, TokenUsage, TokenUsageRecord, TokenUsageTotals, check_record, totals
from bamboo_sessions.testing import strategies


@given(strategies.token_usage_records())
def test_records_of_any_content_are_accepted(record: TokenUsageRecord) -> None:
    """Any counts and any metadata can be written to the ledger."""
    assert check_record(record) is record


@given(st.lists(strategies.token_usage_records(), max_size=5))
def test_totals_add_up(records: list[TokenUsageRecord]) -> None:
    """Each count is the sum over the records, and `calls` counts them."""
    summed = totals(records)
    assert summed.calls == len(records)
    for name in COUNTS:
        assert getattr(summed, name) == sum(getattr(record, name) for record in records)


def test_counts_are_all_countable_fields() -> None:
    """No countable field is left out of the totals."""
    assert set(COUNTS) == set(TokenUsage.__struct_fields__)
    assert set(TokenUsageTotals.__struct_fields__) == {*COUNTS, "calls"}


def test_cached_and_thinking_tokens_are_contained() -> None:
    """The total is input and output; the other counts are parts of these."""
    usage = TokenUsage(input_tokens=10, output_tokens=5, cache_read_input_tokens=8, thinking_tokens=3)
    assert usage.total_tokens == 15


@pytest.mark.parametrize("count", [-1, 2**53, 1.0, "1", True, None])
def test_counts_are_whole_numbers(count: object) -> None:
    """Negative, huge and other values are refused, naming the field."""
    with pytest.raises(InputError, match="output_tokens"):
        TokenUsageRecord(output_tokens=count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        {"id": ""},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive on purpose
        {"model": 5},
    ],
)
def test_what_could_not_be_read_back_is_refused(bad: dict[str, object]) -> None:
    """A bad id, a naive time and a field of the wrong type are refused when the record is made."""
    with pytest.raises(InputError):
        TokenUsageRecord(**bad)  # type: ignore[arg-type]


def test_metadata_is_frozen() -> None:
    """A record can't be changed through its metadata."""
    record = TokenUsageRecord(metadata={"a": [1]})
    with pytest.raises(TypeError, match="frozen"):
        record.metadata["a"].append(2)
    with pytest.raises(InputError):
        TokenUsageRecord(metadata={"a": object()})


def test_a_record_freezes_its_metadata() -> None:
    """Metadata can't be changed once it is in a record; frozen metadata is shared."""
    metadata = {"k": [1]}
    record = TokenUsageRecord(metadata=metadata)
    metadata["k"].append(2)
    assert record.metadata == {"k": [1]}
    assert TokenUsageRecord(metadata=record.metadata).metadata is record.metadata
