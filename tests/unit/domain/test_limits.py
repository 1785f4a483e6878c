import ast
import inspect
from itertools import pairwise

import pytest

from bamboo_sessions.domain import limits
from bamboo_sessions.domain.errors import LimitExceededError
from bamboo_sessions.domain.limits import check_limit

NAMES = [name for name in vars(limits) if name.isupper()]


def test_every_limit_is_positive_and_explained() -> None:
    """Each bound is a whole number above 0, with its unit and reason below it (G13)."""
    body = ast.parse(inspect.getsource(limits)).body
    explained = {
        statement.target.id
        for statement, after in pairwise(body)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
    assert explained == set(NAMES)
    for name in NAMES:
        assert type(getattr(limits, name)) is int
        assert getattr(limits, name) > 0


def test_limits_fit_into_one_another() -> None:
    """What one limit allows, no wider one forbids."""
    assert limits.MESSAGE_BYTES_MAX <= limits.COMMIT_BYTES_MAX
    assert limits.HEAD_BYTES_MAX <= limits.COMMIT_BYTES_MAX
    assert limits.PAGE_DEFAULT <= limits.PAGE_MAX
    assert limits.WAL_PAGES_CHECKPOINT < limits.WAL_PAGES_MAX


def test_check_limit_refuses_only_what_is_above() -> None:
    """The limit itself is allowed; the error names both numbers and the unit."""
    check_limit("It", 10, 10)
    with pytest.raises(LimitExceededError, match="It is too large: 1,001 bytes, the limit is 1,000 bytes"):
        check_limit("It", 1_001, 1_000, "bytes")


def test_a_limit_without_a_unit() -> None:
    """What has no unit is told as numbers alone."""
    with pytest.raises(LimitExceededError, match=r"It is too large: 2, the limit is 1\."):
        check_limit("It", 2, 1)
