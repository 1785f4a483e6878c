import inspect
import pickle
import traceback
from datetime import UTC, datetime

import pytest

from bamboo_sessions.domain import errors
from bamboo_sessions.domain.errors import BambooSessionsError

TREE = {
    "SessionError": ["SessionNotFoundError", "SessionExistsError", "SessionDeletedError", "SessionBusyError"],
    "ConcurrencyError": ["PreconditionFailedError", "LeaseLostError", "TooMuchContentionError"],
    "HistoryError": ["MessageIdConflictError", "MessageNotFoundError"],
    "QuestionError": ["NoPendingQuestionError", "QuestionAlreadyAnsweredError", "InvalidAnswerError"],
    "StorageError": [
        "StorageUnavailableError",
        "StorageTimeoutError",
        "StorageCorruptError",
        "StorageFullError",
        "SchemaVersionError",
    ],
    "InputError": ["InvalidSessionIdError", "LimitExceededError", "InvalidMessageError"],
    "AuthError": ["UnauthenticatedError", "PermissionDeniedError"],
    "FeedError": ["PositionExpiredError", "SubscriberTooSlowError"],
}
CLASSES: list[type[BambooSessionsError]] = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, BambooSessionsError)
]
EXAMPLES: list[BambooSessionsError] = [
    BambooSessionsError("It broke.", hint="Mend it.", outcome_unknown=True),
    errors.SessionNotFoundError("s"),
    errors.SessionExistsError("s"),
    errors.SessionDeletedError("s"),
    errors.SessionBusyError("s", reason="a run holds it"),
    errors.PreconditionFailedError(3, 4, session_id="s", what="metadata_version"),
    errors.SessionBusyError("s", reason="a run holds it", holder="worker 7", until=datetime(2026, 1, 1, tzinfo=UTC)),
    errors.LeaseLostError("s", token=3, newer_token=4, holder="worker 7"),
    errors.LeaseLostError("s", token=3, newer_token=None),
    errors.TooMuchContentionError("Too busy."),
    errors.MessageIdConflictError("s", "m"),
    errors.MessageNotFoundError("s", "m"),
    errors.NoPendingQuestionError("s", "q"),
    errors.QuestionAlreadyAnsweredError("s", "q", answer="yes"),
    errors.InvalidAnswerError("s", "q", options=("yes", "no")),
    errors.InvalidAnswerError("s", "q", options=()),
    errors.StorageUnavailableError("Locked.", hint="Wait."),
    errors.StorageTimeoutError("Late."),
    errors.StorageTimeoutError("Late.", outcome_unknown=False),
    errors.StorageCorruptError("Broken."),
    errors.StorageFullError("Full."),
    errors.SchemaVersionError(found=9, supported=2, location="agents.db"),
    errors.InvalidSessionIdError("No id."),
    errors.LimitExceededError("Message 'm'", limit=10, actual=11, unit="bytes"),
    errors.InvalidMessageError("No role."),
    errors.UnauthenticatedError("Nobody is known."),
    errors.PermissionDeniedError("No."),
    errors.PositionExpiredError("e:1:", reason="pruned", oldest="e:2:"),
    errors.SubscriberTooSlowError("e:1:", oldest="e:2:"),
]


def test_the_tree_is_as_documented() -> None:
    """One root, eight families, and every error in its family."""
    for family, names in TREE.items():
        parent = getattr(errors, family)
        assert parent.__bases__[0] is BambooSessionsError
        children = [kind.__name__ for kind in CLASSES if parent in kind.__bases__]
        assert sorted(children) == sorted(names)
    assert len(CLASSES) == 1 + len(TREE) + sum(map(len, TREE.values()))


def test_the_docstring_shows_every_error() -> None:
    """The tree at the top of the module names each class."""
    shown = errors.__doc__ or ""
    assert [kind.__name__ for kind in CLASSES if kind.__name__ not in shown] == []


def test_codes_are_unique() -> None:
    """Each class has a code of its own, made of small letters and underscores."""
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


def test_only_two_errors_are_retryable() -> None:
    """Trying again can help only where storage can't be reached or was too slow."""
    assert {kind.__name__ for kind in CLASSES if kind.retryable} == {"StorageUnavailableError", "StorageTimeoutError"}


def test_builtin_families() -> None:
    """Code that knows only the builtin errors catches them too."""
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.SessionNotFoundError, LookupError)
    assert issubclass(errors.MessageNotFoundError, LookupError)
    assert issubclass(errors.StorageTimeoutError, TimeoutError)
    assert not issubclass(errors.StorageError, LookupError)


def test_every_class_has_an_example() -> None:
    """The tests below look at each error that can be raised."""
    families = {getattr(errors, name) for name in TREE}
    assert {type(example) for example in EXAMPLES} == set(CLASSES) - families


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_errors_travel_between_processes(example: BambooSessionsError) -> None:
    """Pickling keeps the class, the sentence and every attribute."""
    copy = pickle.loads(pickle.dumps(example))  # noqa: S301 - our own bytes
    assert type(copy) is type(example)
    assert str(copy) == str(example)
    assert vars(copy) == vars(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_errors_are_sentences(example: BambooSessionsError) -> None:
    """What happened is a sentence, and so is the hint."""
    assert str(example).endswith(".")
    assert example.hint is None or example.hint.endswith(".")


def test_attributes_are_structured() -> None:
    """What a program needs is an attribute, not only text."""
    failed = errors.PreconditionFailedError(3, 4, session_id="s")
    assert (failed.expected, failed.actual, failed.session_id, failed.what) == (3, 4, "s", "revision")
    too_large = errors.LimitExceededError("It", limit=10, actual=11)
    assert (too_large.limit, too_large.actual) == (10, 11)
    assert errors.SessionDeletedError("s").session_id == "s"
    assert errors.MessageIdConflictError("s", "m").message_id == "m"
    assert errors.QuestionAlreadyAnsweredError("s", "q", answer="yes").answer == "yes"
    assert "yes, no" in (errors.InvalidAnswerError("s", "q", options=("yes", "no")).hint or "")


def test_a_timeout_leaves_the_outcome_open() -> None:
    """After a time-out a commit may have happened; all other errors know that none has."""
    assert errors.StorageTimeoutError("Late.").outcome_unknown
    assert not errors.StorageUnavailableError("Away.").outcome_unknown
    assert not errors.SessionNotFoundError("s").outcome_unknown


def test_every_attribute_is_there() -> None:
    """Programs find the session, the versions and the oldest position in the errors about them."""
    assert errors.NoPendingQuestionError("s", "q").session_id == "s"
    schema = errors.SchemaVersionError(found=9, supported=1, location="It")
    assert (schema.found, schema.supported) == (9, 1)
    assert errors.SubscriberTooSlowError("p", oldest="o").oldest == "o"


def test_what_is_not_known_is_not_said() -> None:
    """Sentences have no hole where a holder or a unit isn't known."""
    lost = errors.LeaseLostError("s", token=1, newer_token=2)
    assert str(lost) == "Run lease 1 of session 's' is lost: a newer one was given (token 2)."
    held = errors.LeaseLostError("s", token=1, newer_token=2, holder="h")
    assert str(held).endswith("(token 2 by h).")
    assert str(errors.LimitExceededError("It", limit=10, actual=1_100)) == "It is too large: 1,100, the limit is 10."


def test_a_traceback_shows_the_hint_once() -> None:
    """The hint is a note of the error, also after a journey between processes."""
    error = errors.SessionNotFoundError("s")
    for shown in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        lines = traceback.format_exception_only(shown)
        assert lines == [
            "bamboo_sessions.SessionNotFoundError: There is no session 's'.\n",
            f"Hint: {error.hint}\n",
        ]
