"""The fields of a head as attributes of a working copy: fixed ones, and ones that can be set and are checked then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Never, Self, TypeVar, overload

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import InputError
from bamboo_sessions.domain.limits import VERSION_MAX
from bamboo_sessions.domain.usage import TokenUsage, counts_of

if TYPE_CHECKING:
    from bamboo_sessions.domain.session import Session

T = TypeVar("T")


class Fixed(Generic[T]):
    """A field of the head that can't be changed."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, session: None, owner: type) -> Self: ...
    @overload
    def __get__(self, session: Session, owner: type) -> T: ...
    def __get__(self, session: Session | None, owner: type) -> Self | T:
        if session is None:
            return self
        value: T = getattr(session._head, self.name)
        return value

    def __set__(self, session: Session, value: Never) -> None:
        why = _FIXED.get(self.name, "is fixed when the session is created and can't be set")
        message = f"Session.{self.name} {why}."
        raise AttributeError(message)


_FIXED: Final[Mapping[str, str]] = {
    "id": "is fixed: `fork` makes a session of another id",
    "owner": "can't be set in a copy: use `SessionRepository.set_owner`",
    "revision": "is counted by storage and can't be set",
    "incarnation": "is counted by storage and can't be set",
    "authoritative_keys": "follows from `set_value` and `remove_value` and can't be set",
}


class Field(Fixed[T]):
    """A field of the head that can be set; only what differs from the head is kept in the working copy."""

    def __init__(self, *kinds: type) -> None:
        self.kinds = kinds

    def __get__(self, session: Session | None, owner: type) -> Any:  # noqa: ANN401 - T, as the overloads say
        if session is None:
            return self
        changes = session._changes
        return changes[self.name] if self.name in changes else getattr(session._head, self.name)

    def __set__(self, session: Session, value: T) -> None:
        if not isinstance(value, self.kinds) or (isinstance(value, bool) and bool not in self.kinds):
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in self.kinds)
            message = f"Session.{self.name} must be {wanted}, not {value!r}."
            raise InputError(message, hint=f"Assign {wanted}; nothing was changed.")
        if isinstance(value, int) and not 0 <= value <= VERSION_MAX:
            message = f"Session.{self.name} must be 0 to {VERSION_MAX:,}, not {value!r}."
            raise InputError(message, hint="Nothing was changed.")
        stored: object = value
        if isinstance(value, str):  # a member of an enum would come back without its class
            stored = str.__str__(value)
        elif isinstance(value, Mapping):
            stored = json.frozen(value, what=f"Session.{self.name}")
        session._change(self.name, stored)


class LatestUsage(Field["TokenUsage | None"]):
    """What a run noted last of the tokens that it used: the counts, also of a record."""

    def __init__(self) -> None:
        super().__init__(TokenUsage, type(None))

    def __set__(self, session: Session, value: TokenUsage | None) -> None:
        super().__set__(session, counts_of(value) if isinstance(value, TokenUsage) else value)


class Title(Field["str | None"]):
    """The title. Whoever sets another one is a person, unless `title_generated` is set after it (L61, L122)."""

    def __init__(self) -> None:
        super().__init__(str, type(None))

    def __set__(self, session: Session, value: str | None) -> None:
        super().__set__(session, value)
        head = session._head
        is_another = value != head.title
        session._note("title_generated", head.title_generated and not is_another)
        if session._link.base is not None:
            session._note("title_version", head.title_version + is_another)
