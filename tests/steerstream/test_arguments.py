from __future__ import annotations

import math

import numpy as np
import pytest

from steerstream import BadRequest, Encoding
from steerstream.arguments import finite_number, instance, whole_number


@pytest.mark.parametrize("value", [3, np.uint64(3)])
def test_a_whole_number_becomes_an_int(value):
    number = whole_number("count", value, low=0, high=9)
    assert (number, type(number)) == (3, int)


@pytest.mark.parametrize("value", [3.0, "3", None, True, math.nan, [3]])
def test_an_error_names_the_value_that_is_no_whole_number(value):
    with pytest.raises(BadRequest, match=r"count must be a whole number, not .*; count up"):
        whole_number("count", value, low=0, high=9, hint="count up")


@pytest.mark.parametrize("value", [-1, 10])
def test_a_whole_number_out_of_its_range_is_named(value):
    with pytest.raises(BadRequest, match=f"count must be 0 to 9, not {value}"):
        whole_number("count", value, low=0, high=9)


@pytest.mark.parametrize("value", [3, 3.0, np.float32(3)])
def test_a_finite_number_becomes_a_float(value):
    number = finite_number("speed_mps", value, low=0, high=9)
    assert (number, type(number)) == (3.0, float)


@pytest.mark.parametrize("value", ["3", None, True, 3j])
def test_an_error_names_the_value_that_is_no_number(value):
    with pytest.raises(BadRequest, match="speed_mps must be a number"):
        finite_number("speed_mps", value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.1, 9.1, 10**400])
def test_a_number_that_is_not_finite_or_out_of_its_range_is_named(value):
    with pytest.raises(BadRequest, match="speed_mps must be finite, 0 to 9, not"):
        finite_number("speed_mps", value, low=0, high=9)


def test_a_wrong_type_is_named():
    instance("target", "localhost", str)
    with pytest.raises(BadRequest, match="target must be str, not 50051"):
        instance("target", 50051, str)
    with pytest.raises(BadRequest, match="answer must be str or int, not None"):
        instance("answer", None, str, int)
    expected = "encoding must be Encoding.AUTO or Encoding.JPEG or Encoding.RGB8, not 'jpeg'"
    with pytest.raises(BadRequest, match=expected):
        instance("encoding", "jpeg", Encoding)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("value", [pytest.param(10**5000, id="long"), Unprintable(), "x" * 10_000])
def test_an_error_about_a_value_that_cannot_be_shown_is_short_and_still_a_bad_request(value):
    for call in (
        lambda: whole_number("count", value, low=0, high=9),
        lambda: finite_number("speed_mps", value, low=0, high=9),
        lambda: instance("target", value, bytes),
    ):
        with pytest.raises(BadRequest) as caught:
            call()
        assert len(str(caught.value)) < 200
