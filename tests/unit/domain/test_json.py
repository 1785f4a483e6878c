import copy
import enum
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bamboo_sessions.domain import json
from bamboo_sessions.domain.errors import InputError, StorageCorruptError
from bamboo_sessions.domain.limits import JSON_DEPTH_MAX
from bamboo_sessions.testing import strategies

ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)


@given(strategies.json_values())
def test_L94_any_json_value_comes_back(value: strategies.Json) -> None:
    """Encoding and decoding gives an equal value, lone surrogates and big numbers included."""
    back = json.decode(json.encode(value), ANY, what="It")
    assert json.same(back, value)


@given(strategies.json_values())
def test_freezing_and_thawing_keep_the_value(value: strategies.Json) -> None:
    """A frozen value equals what it was made of, and thaws to something that can be changed."""
    frozen = json.frozen(value, what="It")
    assert json.same(frozen, value)
    thawed = json.thawed(frozen)
    assert thawed == value
    if isinstance(thawed, dict):
        thawed["new"] = 1
        assert "new" not in frozen or frozen == value


@given(st.dictionaries(strategies.texts(), strategies.json_values(), max_size=4))
def test_the_order_of_keys_does_not_matter(value: dict[str, strategies.Json]) -> None:
    """Equal objects have equal bytes, whatever order their keys were set in."""
    backwards = dict(reversed(value.items()))
    assert json.encode(value) == json.encode(backwards)


@given(strategies.metadata(), strategies.json_values(), st.sampled_from(["colour", "plan", "new"]))
def test_same_tells_as_encodings_do(value: dict[str, strategies.Json], other: strategies.Json, key: str) -> None:
    """A thawed copy that was changed, changed back, or not at all is the same if it is stored alike."""
    frozen = json.frozen(value, what="It")
    thawed = json.thawed(frozen)
    assert json.same(thawed, frozen)
    thawed[key] = other
    assert json.same(thawed, frozen) == (json.encode(thawed) == json.encode(frozen))


def test_thawed_copies_are_compared_without_a_look_at_what_is_in_them() -> None:
    """Metadata that was only read costs a save next to nothing, however long its texts are."""
    leaf = object()  # nothing that could be encoded
    assert json.same({"a": [leaf, {"b": leaf}]}, {"a": [leaf, {"b": leaf}]})
    assert json.FrozenDict(a=json.FrozenList([leaf])) == json.FrozenDict(a=json.FrozenList([leaf]))


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ([1], [True]), ({"a": 0.0}, {"a": -0.0})])
def test_same_is_stricter_than_equal(one: object, other: object) -> None:
    """Values that Python calls equal but that are stored differently aren't the same."""
    assert one == other
    assert not json.same(one, other)
    assert json.same(one, copy.deepcopy(one))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1: "a"}, {None: 1}, b"x", {1, 2}, object(), [{"a": b""}]]
)
def test_what_is_no_json_is_refused(value: object) -> None:
    """The error names the place and the reason, and comes with a hint."""
    with pytest.raises(InputError, match=r"^Here(\[0\]\.a)? can't be stored: ") as caught:
        json.frozen(value, what="Here")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "place", "remedy"),
    [
        ({"order": {"lines": [{"amount": Decimal("1.5")}]}}, "It.order.lines[0].amount", "str(value)"),
        ({"a b": [0, {1, 2}]}, "It['a b'][1]", "sorted(value)"),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, "It.at", "isoformat"),
        ({"id": UUID(int=1)}, "It.id", "str(value)"),
        ({"a": [b"x"]}, "It.a[0]", "base64"),
        ({"a": {1: 2}}, "It.a", "text keys"),
        ({"a": float("nan")}, "It.a", "text, numbers"),
    ],
)
def test_the_error_names_the_place_and_the_remedy(value: object, place: str, remedy: str) -> None:
    """Deep in an object, too: where the value stands, and what to store in its place."""
    with pytest.raises(InputError) as caught:
        json.frozen(value, what="It")
    assert str(caught.value).startswith(f"{place} can't be stored: ")
    assert remedy in (caught.value.hint or "")


@pytest.mark.parametrize("value", [None, 5, "text", [1]])
def test_an_object_is_an_object(value: object) -> None:
    """Where a JSON object belongs, other JSON is refused; an empty one of any class becomes the one empty object."""
    with pytest.raises(InputError, match="isn't a JSON object"):
        json.frozen_object(value, what="It")
    assert json.frozen_object({}, what="It") is json.EMPTY


def test_frozen_values_are_equal_if_they_are_stored_alike() -> None:
    """Stricter than a dict: 1 and True differ in two frozen values; a plain value compares as Python does."""
    one, other = json.frozen({"a": [1]}, what="It"), json.frozen({"a": [True]}, what="It")
    assert one != other
    assert one["a"] != other["a"]
    assert not one["a"] == other["a"]  # noqa: SIM201 - both operators
    assert one == {"a": [True]}
    assert one["a"] == [True]
    assert one != {"a": [2]}
    assert one == json.frozen({"a": (1,)}, what="It")
    assert one != 5
    with pytest.raises(TypeError):
        hash(one)


def test_nesting_has_a_bound() -> None:
    """100 levels are stored, one more isn't, and a value that holds itself is refused as well."""
    value: list[object] = []
    for _ in range(99):
        value = [value]
    assert json.frozen(value, what="It") == value
    with pytest.raises(InputError, match="nested"):
        json.frozen([value], what="It")
    value[0] = value
    with pytest.raises(InputError, match="nested"):
        json.frozen(value, what="It")


def test_subclasses_of_plain_types_are_stored_as_these() -> None:
    """Enums and other subclasses come back as text and numbers, so they are frozen as such."""

    class Colour(enum.StrEnum):
        RED = "red"

    class Text(str):
        __slots__ = ()

    class Size(enum.IntEnum):
        BIG = 9

    class Real(float):
        __slots__ = ()

    frozen = json.frozen({Text("k"): [Colour.RED, Text("t"), Size.BIG, Real(1.5)]}, what="It")
    assert frozen == {"k": ["red", "t", 9, 1.5]}
    assert [type(item) for item in frozen["k"]] == [str, str, int, float]
    assert [type(key) for key in frozen] == [str]
    assert json.decode(json.encode(frozen), ANY, what="It") == frozen


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.__setitem__("a", 1),
        lambda d: d.__delitem__("a"),
        lambda d: d.update(a=1),
        lambda d: d.pop("a"),
        lambda d: d.popitem(),
        lambda d: d.clear(),
        lambda d: d.setdefault("b", 1),
        lambda d: d.__ior__({"b": 1}),
        lambda d: d["a"].append(1),
        lambda d: d["a"].extend([1]),
        lambda d: d["a"].insert(0, 1),
        lambda d: d["a"].pop(),
        lambda d: d["a"].remove(1),
        lambda d: d["a"].clear(),
        lambda d: d["a"].sort(),
        lambda d: d["a"].reverse(),
        lambda d: d["a"].__setitem__(0, 1),
        lambda d: d["a"].__delitem__(0),
        lambda d: d["a"].__iadd__([1]),
        lambda d: d["a"].__imul__(2),
    ],
)
def test_frozen_values_refuse_every_change(change: Any) -> None:  # noqa: ANN401 - any function
    """Each mutating method of dict and list raises and changes nothing."""
    frozen = json.frozen({"a": [1, 2]}, what="It")
    with pytest.raises(TypeError, match="frozen"):
        change(frozen)
    assert frozen == {"a": [1, 2]}


def test_frozen_values_travel() -> None:
    """Pickling keeps them frozen; a deep copy can be changed."""
    frozen = json.frozen({"a": [1, {"b": 2}]}, what="It")
    travelled = pickle.loads(pickle.dumps(frozen))  # noqa: S301 - our own bytes
    assert type(travelled) is json.FrozenDict
    assert type(travelled["a"]) is json.FrozenList
    copied = copy.deepcopy(frozen)
    copied["a"].append(3)
    assert copy.deepcopy(frozen["a"]) == [1, {"b": 2}]
    assert frozen == {"a": [1, {"b": 2}]}


@pytest.mark.parametrize("data", [b"", b"{", b"[1,]", b'"\xff"', b"[" * 200_000, b"9" * 5_000])
def test_what_cannot_be_decoded_is_corrupt(data: bytes) -> None:
    """Every broken document raises `StorageCorruptError` and names what could not be read (G8)."""
    with pytest.raises(StorageCorruptError, match=r"^The thing can't be decoded"):
        json.decode(data, ANY, what="The thing")


def test_only_what_can_be_read_back_is_encoded() -> None:
    """`encode_readable` refuses a value whose reader would refuse or change it (L86)."""
    into = msgspec.json.Decoder(list[int])
    assert json.encode_readable([1], into, what="It") == b"[1]"
    bad_values: list[Any] = [["a"], [object()], (1,)]
    for bad in bad_values:
        with pytest.raises(InputError, match="It"):
            json.encode_readable(bad, into, what="It")


def test_every_level_counts() -> None:
    """Objects and arrays are counted alike: one level too many is refused, and the refusal names the value."""
    for deeper in (lambda inner: {"k": inner}, lambda inner: [inner]):
        value: Any = 1
        for _ in range(JSON_DEPTH_MAX):
            value = deeper(value)
        assert json.same(json.frozen(value, what="It"), value)
        with pytest.raises(InputError, match=r"^It can't .*levels deep|^It .*levels deep"):
            json.frozen(deeper(value), what="It")
