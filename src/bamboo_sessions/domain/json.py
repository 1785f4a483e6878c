r"""JSON, lossless: every text, NUL and lone surrogates included, comes back as it went in (L73, L94).

msgspec does the work. Its JSON refuses lone surrogates, which broken tool output does hold; for such values only,
the standard library's `json` carries them as `\ud800` escapes. JSON values inside frozen objects are frozen, so
that a shared snapshot can't be changed by accident; `thawed` gives a mutable copy.
"""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Callable, Mapping
from math import isfinite
from operator import is_
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from bamboo_sessions.domain.errors import InputError, StorageCorruptError
from bamboo_sessions.domain.limits import JSON_DEPTH_MAX

T = TypeVar("T")


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    message = f"This {type(self).__name__} belongs to a frozen object and can't be changed; make a new one."
    raise TypeError(message)


class FrozenDict(dict[str, Any]):
    """A JSON object that can't be changed. Compares equal to a dict; `copy.deepcopy` makes a mutable one."""

    __slots__ = ()
    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse
    __hash__ = None

    def __eq__(self, other: object) -> bool:
        """Two frozen objects are equal if they are stored alike; `{"a": 1}` and `{"a": True}` aren't."""
        equal = super().__eq__(other)
        return _stored_alike(self, other) if equal is True and isinstance(other, FrozenDict) else equal

    def __ne__(self, other: object) -> bool:
        """The opposite."""
        return not self == other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by content."""
        return FrozenDict, (dict(self),)

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        """A mutable copy."""
        copy = thawed(self)
        assert isinstance(copy, dict)  # noqa: S101 - tells the type checker what a JSON object thaws to
        return copy


class FrozenList(list[Any]):
    """A JSON array that can't be changed. Compares equal to a list; `copy.deepcopy` makes a mutable one."""

    __slots__ = ()
    __setitem__ = __delitem__ = append = extend = insert = pop = remove = clear = sort = reverse = _refuse
    __iadd__ = __imul__ = _refuse
    __hash__ = None

    def __eq__(self, other: object) -> bool:
        """As of `FrozenDict`."""
        equal = super().__eq__(other)
        return _stored_alike(self, other) if equal is True and isinstance(other, FrozenList) else equal

    def __ne__(self, other: object) -> bool:
        """The opposite."""
        return not self == other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by content."""
        return FrozenList, (list(self),)

    def __deepcopy__(self, memo: object) -> list[Any]:
        """A mutable copy."""
        copy = thawed(self)
        assert isinstance(copy, list)  # noqa: S101 - tells the type checker what a JSON array thaws to
        return copy


EMPTY: Final = FrozenDict()
"""The one empty object: fields that have it by default are left out of what is stored."""

_Place = tuple["_Place", str | int] | None
"""Where a value stands: the place around it, and its key or index there."""


def frozen_object(value: object, *, what: str) -> FrozenDict:
    """`value` as an immutable JSON object, `EMPTY` if it is empty; `InputError` names what can't be stored in it."""
    if not isinstance(value, Mapping):
        raise _not_json(what, None, value, f"{type(value).__name__} isn't a JSON object")
    result = frozen(value, what=what)
    assert isinstance(result, FrozenDict)  # noqa: S101 - tells the type checker what a mapping gives
    return result or EMPTY


def frozen(value: Any, *, what: str) -> Any:  # noqa: ANN401 - any JSON value
    """`value` as an immutable JSON value; `InputError` names `what`, and the place in it, if it isn't JSON."""
    try:
        return _frozen(value, what, None, 0)
    except InputError as exc:
        raise exc.with_traceback(None) from None  # it names the place; the way down to it would be shown call by call


def _frozen(value: Any, what: str, place: _Place, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    if value is None or isinstance(value, str | bool | int | float):
        return _scalar(value, what, place)
    if depth >= JSON_DEPTH_MAX:
        raise InputError(
            f"{what} can't be stored: it is nested more than {JSON_DEPTH_MAX} levels deep.",
            hint="Store what is that deep as JSON text.",
        )
    if isinstance(value, Mapping):
        return FrozenDict(
            {_key(k, what, place): _frozen(v, what, (place, k), depth + 1) for k, v in value.items()},
        )
    if isinstance(value, list | tuple):
        return FrozenList([_frozen(v, what, (place, i), depth + 1) for i, v in enumerate(value)])
    raise _not_json(what, place, value, f"{type(value).__name__} isn't a JSON type")


_EXACT: Final = frozenset({str, bool, int, type(None)})


def _scalar(value: Any, what: str, place: _Place) -> Any:  # noqa: ANN401 - any JSON value
    """A plain value of the builtin type: enums and other subclasses would come back without their class."""
    if type(value) in _EXACT:
        return value
    if isinstance(value, float):
        if not isfinite(value):
            raise _not_json(what, place, value, f"{value!r} has no JSON form")
        return float(value)
    return str.__str__(value) if isinstance(value, str) else int(value)


def _key(key: object, what: str, place: _Place) -> str:
    if not isinstance(key, str):
        raise _not_json(what, place, key, f"the key {key!r} isn't text")
    return key if type(key) is str else str.__str__(key)


_REMEDIES: Final = {
    "Decimal": "Store a Decimal as text, str(value), or as a number, float(value).",
    "set": "Store a set as a list: sorted(value).",
    "frozenset": "Store a set as a list: sorted(value).",
    "datetime": "Store a time as text: value.isoformat().",
    "date": "Store a date as text: value.isoformat().",
    "UUID": "Store a UUID as text: str(value).",
    "bytes": "Store bytes as text, such as base64, or as a record.",
}


def _not_json(what: str, place: _Place, value: object, why: str) -> InputError:
    path = ""
    while place is not None:
        place, key = place
        path = (f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]") + path
    usual = "Use text, numbers, true, false, null, lists and objects with text keys."
    return InputError(f"{what}{path} can't be stored: {why}.", hint=_REMEDIES.get(type(value).__name__, usual))


def thawed(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A mutable copy of a JSON value."""
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thawed(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any stored value
    """Whether two values are stored alike. Stricter than `==`, for which `1`, `1.0` and `True` are equal."""
    if one is other or _share_leaves(one, other):
        return True
    if one != other:
        return False
    return (type(one) is type(other) and type(one) in _EXACT) or encode(one) == encode(other)


def _stored_alike(one: object, other: object) -> bool:
    """The same of two values that are equal."""
    return _share_leaves(one, other) or encode(one) == encode(other)


def _share_leaves(one: object, other: object) -> bool:
    """Whether these are objects or arrays of the very same values, as a frozen one and its thawed copy are.

    No text is looked at, however long it is.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        if len(one) != len(other) or not all(map(is_, one, other)):
            return False
        pairs = zip(one.values(), other.values(), strict=True)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
    else:
        return False
    return all(_share_leaves(mine, theirs) for mine, theirs in pairs if mine is not theirs)


_encoder: Final = msgspec.json.Encoder(order="deterministic")


def encode(value: object) -> bytes:
    """The canonical JSON bytes of a struct or JSON value: equal content gives equal bytes."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, order="deterministic")
        return stdlib_json.dumps(plain, separators=(",", ":")).encode("ascii")


def encode_plain(value: object) -> bytes | None:
    """The same, or `None` where a text isn't Unicode, or a value is of a subclass of what JSON has."""
    try:
        return _encoder.encode(value)
    except (TypeError, UnicodeEncodeError):
        return None


def decode(data: bytes, into: msgspec.json.Decoder[T], *, what: str) -> T:
    """The value in `data`; raises `StorageCorruptError`, naming `what`, if it can't be read (G8)."""
    try:
        return _decoded(data, into)
    except (ValueError, RecursionError) as exc:
        message = f"{what} can't be decoded: {exc}"
        raise StorageCorruptError(message, hint="Run `bamboo-sessions check` on this store.") from exc


def _decoded(data: bytes, into: msgspec.json.Decoder[T]) -> T:
    try:
        return into.decode(data)
    except (ValueError, RecursionError) as exc:
        try:
            return msgspec.convert(stdlib_json.loads(data), into.type)
        except (ValueError, RecursionError):
            raise exc from None  # what msgspec says names the field


def encode_readable(value: T, into: msgspec.json.Decoder[T], *, what: str) -> bytes:
    """The bytes of `value`, sure to be read back as `value`; else `InputError`, before anything is written (L86)."""
    return readable(value, encode, into, what=what)


def readable(value: T, encoded: Callable[[T], bytes], into: msgspec.json.Decoder[T], *, what: str) -> bytes:
    """As `encode_readable`, with an encoding of one's own."""
    try:
        data = encoded(value)
        is_same = _decoded(data, into) == value
    except (TypeError, ValueError, RecursionError) as exc:
        raise InputError(f"{what} can't be stored: {exc}.", hint="Use the types that its fields name.") from None
    if not is_same:
        raise InputError(f"{what} would not be read back as it is.", hint="Use the types that its fields name.")
    return data
