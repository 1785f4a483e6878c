"""JSON as strict as the standard: no NaN, no numbers too large to keep. Lone surrogates in escapes are text."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, NoReturn

from bamboo_sessions.domain.errors import InputError


def parsed(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """The JSON value in `text`; raises `InputError` if it isn't JSON, or has numbers that JSON doesn't have."""
    try:
        value: Any = json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        raise InputError(f"This isn't JSON: {exc.msg} at character {exc.pos + 1:,}.") from exc
    except UnicodeDecodeError as exc:
        raise InputError(f"This isn't UTF-8 text: byte {exc.start + 1:,} can't be decoded.") from exc
    except RecursionError as exc:
        raise InputError("This JSON is nested too deeply.") from exc
    except ValueError as exc:
        raise InputError(f"This isn't JSON: {exc}.") from exc
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        _refuse_constant(text)
    return number


def _refuse_constant(text: str) -> NoReturn:
    message = f"{text[:40]} is no number that can be kept"
    raise ValueError(message)
