from __future__ import annotations

import base64

import pytest

from steerstream.bridge.driver import LARGEST_PICTURE_BYTES, Order, SimulatorError
from steerstream.bridge.udacity.telemetry import read_number, read_telemetry, steer
from tests.steerstream.bridge.driving import PICTURE

IMAGE = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    ("text", "number", "separator"),
    [
        ("0.0000", 0.0, "."),
        ("-12.3456", -12.3456, "."),
        ("1,234.5678", 1234.5678, "."),
        ("1.234,5678", 1234.5678, ","),
        ("-1.234.567,8901", -1234567.8901, ","),
        ("1\u202f234,5678", 1234.5678, ","),
        ("1\u00a0234,5678", 1234.5678, ","),
        ("1\u2019234.5678", 1234.5678, "."),
        ("12,34,567.8901", 1234567.8901, "."),
        ("\u22120,5000", -0.5, ","),
        ("0", 0.0, ""),
        ("5,5", 5.5, ","),
        (3, 3.0, ""),
        (2.5, 2.5, "."),
    ],
)
def test_numbers_are_read_in_every_culture(text, number, separator):
    assert read_number(text, "speed") == (pytest.approx(number), separator)


@pytest.mark.parametrize(
    "text", ["NaN", "∞", "", "fast", "1.2.3", "12,345,678", None, True, [], "1e999", float("nan")]
)
def test_what_is_no_finite_number_is_refused_by_name(text):
    with pytest.raises(SimulatorError, match="speed is no number"):
        read_number(text, "speed")


def test_telemetry_is_read_in_si_units():
    told = {"steering_angle": "0,0000", "throttle": "0,1000", "speed": "10,0000", "image": IMAGE}
    telemetry = read_telemetry(told)
    assert telemetry.picture == PICTURE
    assert telemetry.speed_mps == pytest.approx(4.4704)
    assert telemetry.decimal_separator == ","


@pytest.mark.parametrize("value", [None, {}])
def test_no_telemetry_means_that_a_person_drives(value):
    assert read_telemetry(value) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "no picture"),
        ({"image": "not base64!"}, "no base64"),
        ({"image": "A" * (2 * LARGEST_PICTURE_BYTES)}, "too large"),
        ({"speed": "NaN"}, "speed is no number"),
        ({"steering_angle": None}, "steering_angle is no number"),
    ],
)
def test_telemetry_that_cannot_be_used_is_refused(change, message):
    told = {"steering_angle": "0.0000", "speed": "1.0000", "image": IMAGE}
    with pytest.raises(SimulatorError, match=message):
        read_telemetry({**told, **change})


def test_telemetry_must_be_an_object():
    with pytest.raises(SimulatorError, match="no object"):
        read_telemetry([1])


def test_orders_are_told_in_the_simulator_s_sign_scale_and_culture():
    assert steer(Order(0.1, -0.25), ",") == {
        "steering_angle": "-0,229183",
        "throttle": "-0,250000",
    }
    assert steer(Order(-2.0, 0.0), ".") == {"steering_angle": "1.000000", "throttle": "0.000000"}
