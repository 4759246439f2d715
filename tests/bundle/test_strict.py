"""Plain values become dataclasses, or an error of the caller's own type that names the key."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from steerstream_bundle.strict import Reader


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    radius_m: float
    colour: Colour = Colour.RED


@dataclass(frozen=True, kw_only=True)
class Car:
    name: str
    wheels: tuple[Wheel, ...] = ()
    size_m: tuple[float, float] = (4.0, 2.0)
    extras: Mapping[str, object] = field(default_factory=dict)
    doors: int = 4


class CarError(Exception):
    pass


READER = Reader(
    error=CarError,
    key="key {!r}",
    types={dict: "a table"},
    unknown="unknown key {first}; known here: {known}",
)


def test_everything_that_is_there_is_read():
    data = {
        "name": "mule",
        "wheels": [{"radius_m": 1, "colour": "blue"}, {"radius_m": 0.5}],
        "size_m": [3, 1.5],
        "extras": {"hook": True},
    }
    car = READER.read(Car, data)
    assert car.wheels == (Wheel(radius_m=1.0, colour=Colour.BLUE), Wheel(radius_m=0.5))
    assert (car.size_m, dict(car.extras), car.doors) == ((3.0, 1.5), {"hook": True}, 4)
    assert isinstance(car.wheels[0].radius_m, float)
    with pytest.raises(TypeError):
        car.extras["hook"] = False  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "key 'name' must be of type str, is 3"),
        ({"doors": True}, "key 'doors' must be of type int, is True"),
        ({"doors": 4.0}, "key 'doors' must be of type int, is 4.0"),
        ({"dors": 4}, "unknown key 'dors'; known here: name, wheels, size_m, extras, doors"),
        ({"wheels": {}}, "key 'wheels' must be of type list, is {}"),
        ({"wheels": [3]}, "key 'wheels[0]' must be a table, is 3"),
        ({"wheels": [{}]}, "key 'wheels[0].radius_m' is missing"),
        ({"wheels": [{"radius": 1}]}, "unknown key 'wheels[0].radius'; known here: radius_m"),
        ({"size_m": [1.0]}, "key 'size_m' must be a list of 2, is [1.0]"),
        ({"size_m": [1.0, "b"]}, "key 'size_m[1]' must be of type float, is 'b'"),
        ({"size_m": [1.0, float("nan")]}, "key 'size_m[1]' must be finite, is nan"),
        ({"size_m": [1.0, 10**400]}, "key 'size_m[1]' must be finite, is 1000"),
        ({"extras": []}, "key 'extras' must be a table, is []"),
        (
            {"wheels": [{"radius_m": 1, "colour": "pink"}]},
            "key 'wheels[0].colour' must be one of ['red', 'blue'], is 'pink'",
        ),
        (
            {"wheels": [{"radius_m": 1, "colour": []}]},
            "key 'wheels[0].colour' must be one of ['red', 'blue'], is []",
        ),
    ],
)
def test_a_mistake_is_named_by_its_full_key(change, message):
    with pytest.raises(CarError) as caught:
        READER.read(Car, {"name": "mule"} | change)
    assert str(caught.value).startswith(message)


def test_a_message_is_one_short_line_whatever_the_file_holds():
    for change in ({"name": ["x\n" * 1_000_000]}, {"x\n" * 1_000_000: 1}):
        with pytest.raises(CarError) as caught:
            READER.read(Car, {"name": "mule"} | change)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)
