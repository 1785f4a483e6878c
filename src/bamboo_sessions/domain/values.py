"""What values that users make and see have in common: calls that say what is wrong with them, and reprs of one line."""

from __future__ import annotations

from datetime import datetime
from inspect import signature
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bamboo_sessions.domain.errors import InputError

SHOWN_CHARS_MAX: Final = 80
"""Characters of one field in a repr: several fit on a line."""

_SHOWN_ITEMS_MAX: Final = 3


class ValueType(msgspec.StructMeta):
    """The type of values. Called with arguments that can't be meant, it says how the value is made."""

    if not TYPE_CHECKING:  # a type checker reads the fields

        def __call__(cls, *args, **fields):  # noqa: D102, N805 - of a metaclass; the fields document themselves
            try:
                return super().__call__(*args, **fields)
            except InputError as exc:
                raise exc.with_traceback(None) from None  # it names the place; how we came there tells users nothing
            except TypeError as exc:
                unknown = sorted(fields.keys() - set(cls.__struct_fields__))
                what = f" has no field {unknown[0]!r}" if unknown else f": {str(exc)[0].lower()}{str(exc)[1:]}"
                raise TypeError(f"{cls.__name__}{what}. Write {usage(cls)}.") from None


class Value(msgspec.Struct, metaclass=ValueType, frozen=True, repr_omit_defaults=True):
    """A frozen value, whose fields are checked when it is made."""

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={shown(value)}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


def shown(value: object) -> str:
    """`value` in a repr: long texts are cut, of many items the first ones are shown."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, str | bytes) and len(value) > SHOWN_CHARS_MAX:
        return f"{value[:SHOWN_CHARS_MAX]!r}…"
    if isinstance(value, tuple | frozenset) and value:
        more = len(value) - _SHOWN_ITEMS_MAX
        items = [*map(shown, islice(value, _SHOWN_ITEMS_MAX)), *([f"… {more} more"] if more > 0 else [])]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    text = repr(value)
    return text if isinstance(value, Value) or len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def usage(kind: type[Any]) -> str:
    """How a value of `kind` is made: the usual way, if it says one, and all its fields (`=…`: may be left out)."""
    parameters = signature(kind).parameters.values()
    shapes = [p.name if p.default is p.empty else f"{p.name}=…" for p in parameters]
    if any(p.kind is p.KEYWORD_ONLY for p in parameters):
        shapes.insert(0, "*")
    usual = f"{kind._usual_way}, or " if hasattr(kind, "_usual_way") else ""  # noqa: SLF001 - ours, hidden from users
    return f"{usual}{kind.__name__}({', '.join(shapes)})"
