"""Token usage: the ledger of model calls, idempotent by record id (L98), and its totals.

One idea in three sizes: `TokenUsage` is the counts, a `TokenUsageRecord` is one model call in the ledger, and
`TokenUsageTotals` is a sum over the ledger. All that was used is in the ledger alone; `Session.token_usage` only shows
what a run noted last, and a record does as well there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import inf
from typing import Any, ClassVar, Final

import msgspec

from bamboo_sessions.domain import json
from bamboo_sessions.domain.clock import now, utc
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.ids import check_name, new_id
from bamboo_sessions.domain.values import Value

COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "thinking_tokens",
)
"""The countable fields that records and totals share."""

_COUNT_END: Final = 2**53  # readers in other languages keep whole numbers exactly up to here


class TokenUsage(Value, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Tokens of one model call, or of many. Whole numbers, 0 or more."""

    _count_end: ClassVar[float] = _COUNT_END

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    thinking_tokens: int = 0

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in COUNTS:
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count < self._count_end:
                message = f"{type(self).__name__}.{name} must be a whole number of 0 or more, not {count!r}."
                raise InputError(message, hint="Leave counts that the provider doesn't report at 0.")

    @property
    def total_tokens(self) -> int:
        """Input and output together; cached and thinking tokens are contained in these."""
        return self.input_tokens + self.output_tokens


class TokenUsageTotals(TokenUsage, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The sum of a ledger; `calls` counts its records."""

    _count_end: ClassVar[float] = inf  # what was recorded can be summed, however much it is

    calls: int = 0


class TokenUsageRecord(TokenUsage, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One model call in the ledger.

    Args:
        id: Identity of the call: writing it again changes nothing. A UUIDv7 by default.
        at: When it happened, aware UTC.
        model: The model, as the provider names it. `None` if nobody said.
        provider: Who ran it.
        metadata: Any JSON.
    """

    id: str = msgspec.field(default_factory=new_id)
    at: datetime = msgspec.field(default_factory=now)
    model: str | None = None
    provider: str | None = None
    metadata: Mapping[str, Any] = json.EMPTY

    def __post_init__(self) -> None:
        """Check what the type checker can't, and bring it into the form that is stored."""
        super().__post_init__()
        check_name(self.id, what="token usage record id")
        for name in ("model", "provider"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                message = f"TokenUsageRecord.{name} must be text or None, not {type(value).__name__}."
                raise InputError(message, hint="Name it as the provider does.")
        msgspec.structs.force_setattr(self, "at", utc(self.at, what="TokenUsageRecord.at"))
        if type(self.metadata) is not json.FrozenDict:
            metadata = json.frozen_object(self.metadata, what="TokenUsageRecord.metadata")
            msgspec.structs.force_setattr(self, "metadata", metadata)


_checked: Final = msgspec.json.Decoder(TokenUsageRecord)


def check_record(usage: TokenUsage) -> TokenUsageRecord:
    """The record of `usage`, a new one if it is none yet; `InputError` if it can't be stored."""
    if not isinstance(usage, TokenUsage) or isinstance(usage, TokenUsageTotals):
        message = f"Token usage must be a TokenUsageRecord, not {type(usage).__name__}."
        raise InputError(message, hint="Write TokenUsageRecord(model=…, input_tokens=…, output_tokens=…).")
    record = usage if isinstance(usage, TokenUsageRecord) else TokenUsageRecord(**msgspec.structs.asdict(usage))
    json.encode_readable(record, _checked, what=f"Token usage record {record.id!r}")
    return record


def counts_of(usage: TokenUsage) -> TokenUsage:
    """The counts of `usage` alone, whatever it is."""
    return TokenUsage(**{name: getattr(usage, name) for name in COUNTS})


def totals(records: Iterable[TokenUsage]) -> TokenUsageTotals:
    """The sum of `records`."""
    sums = dict.fromkeys(COUNTS, 0)
    calls = 0
    for record in records:
        calls += 1
        for name in COUNTS:
            sums[name] += getattr(record, name)
    return TokenUsageTotals(calls=calls, **sums)
