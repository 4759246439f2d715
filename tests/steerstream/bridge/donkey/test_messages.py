from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.bridge.donkey.messages import (
    LARGEST_MESSAGE_BYTES,
    Splitter,
    control,
    read_message,
    read_telemetry,
)
from steerstream.bridge.driver import Order, SimulatorError
from tests.steerstream.bridge.driving import PICTURE

IMAGE = base64.b64encode(PICTURE).decode()
# As gym-donkeycar 1.0.13 wrote them in one go.
GLUED = (
    b'{"msg_type": "control", "steering": "-1.0", "throttle": "0.0", "brake": "0.0"}'
    b'{"msg_type": "reset_car"}'
)

SHORT = st.text(max_size=8)


def pieces(splitter: Splitter, *data: bytes) -> list[bytes]:
    return [found.strip() for part in data for found in splitter.feed(part)]


def test_messages_are_cut_where_they_are_glued():
    first, second = pieces(Splitter(), GLUED)
    assert json.loads(first)["msg_type"] == "control"
    assert json.loads(second) == {"msg_type": "reset_car"}


def test_a_message_may_come_in_pieces_and_hold_what_looks_like_an_end():
    text = b'{"a":"}\\"{\\\\","b":{"c":1}}\n'
    for at in range(len(text)):
        assert pieces(Splitter(), text[:at], text[at:]) == [text.strip()]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.dictionaries(SHORT, SHORT | st.integers(), max_size=3), max_size=3),
    st.integers(1, 20),
    st.sampled_from(["", "\n"]),
)
def test_what_is_written_is_cut_alike_however_it_arrives(objects, size, end):
    raw = "".join(json.dumps(item) + end for item in objects).encode()
    parts = (raw[at : at + size] for at in range(0, len(raw), size))
    assert [json.loads(item) for item in pieces(Splitter(), *parts)] == objects


def test_a_message_that_is_broken_off_is_said_and_the_next_one_read():
    broken, good = Splitter().feed(b'{"msg_type":"telemetry","image":"abc\n{"msg_type":"x"}\n')
    assert isinstance(broken, SimulatorError)
    assert "broken off" in str(broken)
    assert isinstance(good, bytes)
    assert read_message(good) == {"msg_type": "x"}


def test_a_message_without_end_is_dropped():
    splitter = Splitter()
    (error,) = splitter.feed(b'{"image":"' + b"a" * LARGEST_MESSAGE_BYTES)
    assert "over" in str(error)
    assert pieces(splitter, b'{"msg_type":"x"}\n') == [b'{"msg_type":"x"}']


def test_decimal_commas_are_mended():
    text = (
        '{"msg_type":"telemetry","steering_angle":-0,0625,"throttle":0,2,"speed":1,25E-05,'
        f'"image":"{IMAGE}","hit":"none","pos_x":50,"time":12,5,"cte":-0,0123}}'
    )
    message = read_message(text.encode())
    assert (message["throttle"], message["pos_x"], message["time"]) == (0.2, 50, 12.5)
    telemetry = read_telemetry(message)
    assert telemetry == (PICTURE, pytest.approx(1.25e-05), pytest.approx(-0.0123))


@pytest.mark.parametrize(
    "text", [b"{", b'{"a":1}', b"[1]", b'{"msg_type":1}', b"\xff\xfe", b'{"speed":1,,"a":2}', b"{}"]
)
def test_what_is_no_message_is_refused(text):
    with pytest.raises(SimulatorError):
        read_message(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": None}, "no picture"),
        ({"image": "not base64!"}, "no base64"),
        ({"speed": float("nan")}, "speed is no number"),
        ({"speed": "fast"}, "speed is no number"),
        ({"cte": float("inf")}, "cte is no number"),
        ({"speed": 10**400}, "speed is no number"),
    ],
)
def test_telemetry_that_cannot_be_used_is_refused(change, message):
    with pytest.raises(SimulatorError, match=message):
        read_telemetry({"image": IMAGE, "speed": 1.0, "cte": 0.0, **change})


def test_a_scene_may_not_know_the_middle_of_its_road():
    assert read_telemetry({"image": IMAGE, "speed": 1}).cross_track_m is None


@pytest.mark.parametrize(
    ("order", "steering", "throttle", "brake"),
    [
        (Order(0.1, 0.5), "-0.358099", "0.500000", "0.000000"),
        (Order(-1.0, -1.0), "1.000000", "0.000000", "1.000000"),
        (Order(0.0, 0.0), "0.000000", "0.000000", "0.000000"),
    ],
)
def test_orders_are_text_with_points_whatever_the_culture(order, steering, throttle, brake):
    assert control(order) == {
        "msg_type": "control",
        "steering": steering,
        "throttle": throttle,
        "brake": brake,
    }
