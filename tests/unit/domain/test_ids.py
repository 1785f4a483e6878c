from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given

from bamboo_sessions.domain.errors import InputError, InvalidMessageError, InvalidSessionIdError
from bamboo_sessions.domain.ids import check_message_id, check_name, check_session_id, new_id
from bamboo_sessions.domain.limits import ID_CHARS_MAX
from bamboo_sessions.testing import strategies


def _check_owner(value: str) -> str:
    return check_name(value, what="owner")


CHECKS = pytest.mark.parametrize(
    ("check", "error"),
    [
        (check_session_id, InvalidSessionIdError),
        (check_message_id, InvalidMessageError),
        (_check_owner, InputError),
    ],
)


@CHECKS
@pytest.mark.parametrize("bad", ["", "a\0", "a\nb", "\x7f", "\x85", "\ud800", "x" * (ID_CHARS_MAX + 1), None, 5, b"id"])
def test_L64_bad_ids_are_refused_at_the_door(
    check: Callable[[object], str], error: type[Exception], bad: object
) -> None:
    """Empty, too long, control characters, lone surrogates and other types are refused (L64)."""
    with pytest.raises(error) as caught:
        check(bad)
    assert len(str(caught.value)) < 300


@CHECKS
@pytest.mark.parametrize("good", ["a", "../../etc/passwd", "日本語", "a b", "😀", "x" * ID_CHARS_MAX])
def test_all_other_ids_are_taken_as_they_are(check: Callable[[str], str], error: type[Exception], good: str) -> None:
    """Ids are never used as file names, so nearly any text may be one."""
    assert check(good) == good


@given(strategies.ids())
def test_generated_ids_pass(value: str) -> None:
    """The strategy for ids makes only ids that are accepted."""
    assert check_session_id(value) == value


def test_new_ids_sort_by_time() -> None:
    """New ids are UUIDv7: unique, and later ones sort behind earlier ones."""
    made = [new_id() for _ in range(1_000)]
    assert made == sorted(made)
    assert len(set(made)) == 1_000
    assert UUID(made[0]).version == 7


def test_a_refused_id_is_shown_in_short() -> None:
    """The message has the id as it was given, and of a long one the beginning, with dots in the place of the rest."""
    for length, shown in ((74, "x" * 74 + r"\x7f'"), (75, "x" * 75 + r"\x7…")):
        with pytest.raises(InvalidSessionIdError) as caught:
            check_session_id("x" * length + "\x7f")
        assert str(caught.value).startswith(f"'{shown} is no session id: ")
