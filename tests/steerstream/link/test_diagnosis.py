"""What the measurements of a link mean: advice where something is wrong, and only there."""

from __future__ import annotations

import dataclasses

import pytest

from steerstream.link.diagnosis import Measured, diagnose
from steerstream.link.times import LinkTimes
from steerstream.models import CropFractions, View, ViewEncoding

SUBJECTS = ["connection", "proxy", "round trip", "jitter", "view", "bytes", "pause", "clock"]
ENCODINGS = (ViewEncoding.JPEG_444, ViewEncoding.RGB8)
VIEW = View(CropFractions(0.4, 0.9, 0.0, 1.0), 200, 66, ENCODINGS, 90)


def times(*link_ms, server_ms=1.0, kilobytes=8, in_budget=None):
    result = LinkTimes(1000 * kilobytes, frames=len(link_ms))
    result.link.add_many(link_ms)
    result.server.add_many([server_ms] * len(link_ms))
    result.round_trip.add_many([value + server_ms for value in link_ms])
    result.in_budget = len(link_ms) if in_budget is None else in_budget
    return result


WELL = Measured(
    connect_ms=10.0,
    is_encrypted=True,
    is_local=False,
    headers={"content-type": "application/grpc"},
    view=VIEW,
    small=times(4.0, 4.0, 5.0),
    large=times(5.0, 5.0, 6.0, kilobytes=80),
    after_pause_ms=6.0,
    clock_step_ms=0.3,
    budget_ms=50.0,
    rate_hz=20.0,
)


def advised(measured):
    found = diagnose(measured)
    assert [item.subject for item in found] == SUBJECTS
    return {item.subject: item.advice for item in found if item.advice}


def test_a_good_link_gets_no_advice():
    assert advised(WELL) == {}


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        ({"is_encrypted": False}, "connection", "use TLS"),
        ({"headers": {"server": "envoy"}}, "proxy", "deploy/README.md"),
        ({"small": times(4.0, 60.0, in_budget=1)}, "round trip", "the link"),
        ({"small": times(4.0, 4.0, server_ms=70.0, in_budget=0)}, "round trip", "the server"),
        ({"small": times(4.0, 4.0, 15.0)}, "jitter", "radio"),
        ({"view": None}, "view", "a newer server"),
        ({"large": times(40.0, 40.0, kilobytes=80)}, "bytes", "the view"),
        ({"after_pause_ms": 12.0}, "pause", "tcp_slow_start_after_idle=0"),
        ({"clock_step_ms": -8.0}, "clock", "chrony"),
    ],
)
def test_each_fault_is_told_with_what_to_change(change, subject, words):
    assert words in advised(dataclasses.replace(WELL, **change))[subject]


def test_jitter_on_this_machine_is_of_its_cores_and_not_of_a_radio():
    local = dataclasses.replace(WELL, is_local=True, small=times(4.0, 4.0, 15.0))
    assert "other programs take the cores" in advised(local)["jitter"]
    assert "radio" not in advised(local)["jitter"]


def test_plain_text_on_this_machine_is_well():
    local = dataclasses.replace(WELL, is_encrypted=False, is_local=True)
    assert "connection" not in advised(local)


def test_a_clock_that_stands_well_has_no_negative_zero():
    still = dataclasses.replace(WELL, clock_step_ms=-0.004)
    lines = {item.subject: item.finding for item in diagnose(still)}
    assert lines["clock"] == "the wall clock went +0.0 ms off meanwhile"


def test_findings_have_the_figures():
    lines = {item.subject: item.finding for item in diagnose(WELL)}
    assert lines["connection"] == "TLS, 10.0 ms to connect"
    assert lines["view"] == (
        "the server asks for 200x66 as JPEG or raw pixels, of rows 40% to 90% of a picture"
    )
    assert "80 kB a frame, 1600 kB/s: 5.0 ms" in lines["bytes"]
    assert "0 of 3 frames missed 50 ms" in lines["round trip"]
