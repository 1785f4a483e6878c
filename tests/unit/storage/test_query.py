"""Cursors and page limits."""

from __future__ import annotations

import base64

import pytest

from bamboo_sessions import InputError
from bamboo_sessions.storage.query import ORDERS, Cursor, check_page_limit, decode_cursor, encode_cursor


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("session_id", ["s", "日本", "a/b?c=d&e", "😀" * 40])
def test_cursors_come_back(order: str, session_id: str) -> None:
    """A cursor is opaque text that can stand in a URL, and says the same when it comes back."""
    cursor = Cursor(order, -5, session_id)
    text = encode_cursor(cursor)
    assert text.isascii()
    assert not set(text) & set("+/=&? ")
    assert decode_cursor(text, order) == cursor


@pytest.mark.parametrize(
    "text",
    ["", "x", "nonsense!", "ä", "AAAA", base64.urlsafe_b64encode(b'["-updated_at", 1]').decode(), "é" * 1_000, "\0"],
)
def test_what_is_no_cursor(text: str) -> None:
    """Anything else is a mistake, told with its beginning only."""
    with pytest.raises(InputError) as refused:
        decode_cursor(text, "-updated_at")
    assert len(str(refused.value)) < 500


def test_cursors_belong_to_an_order() -> None:
    """A cursor of one order is refused by another."""
    with pytest.raises(InputError, match="order"):
        decode_cursor(encode_cursor(Cursor("-updated_at", 1, "s")), "created_at")


def test_pages_have_limits() -> None:
    """A page has 1 to 1000 rows."""
    assert [check_page_limit(limit) for limit in (1, 1_000)] == [1, 1_000]
    for wrong in (0, -1, 1_001, "5", None, 2.5):
        with pytest.raises(InputError):
            check_page_limit(wrong)  # type: ignore[arg-type]
