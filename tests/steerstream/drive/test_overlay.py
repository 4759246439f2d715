from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from steerstream import ControlValues, Limit, Validity
from steerstream.drive.overlay import MIN_WIDTH_PX, draw_overlay
from tests.steerstream.values import COMMAND, SKIPPED, command, skipped

ROAD = np.full((480, 640, 3), 90, np.uint8)
WHEEL = (slice(376, 480), slice(0, 112))
VALUES = (slice(376, 480), slice(112, 400))
LATENCY = (slice(376, 480), slice(410, 640))
STATUS = (slice(0, 40), slice(0, 400))
CORNER = (slice(0, 80), slice(400, 640))


def steered(angle_rad: float, **changes):
    values = ControlValues(angle_rad, 10.0, 0.0)
    return command(0, 0, limited=values, **changes)


def draw(answer=COMMAND, **changes):
    options = {"latency_ms": 8.0, "budget_ms": 50.0, **changes}
    return draw_overlay(ROAD, command=answer, **options)


def changed(before, after, region) -> bool:
    return bool((before[region] != after[region]).any())


def test_the_wheel_turns_with_the_angle_and_nothing_else_but_the_number():
    straight, left = draw(steered(0.0)), draw(steered(0.5))
    assert changed(straight, left, WHEEL)
    assert changed(straight, left, VALUES)
    assert not changed(straight, left, LATENCY)
    assert not changed(straight, left, STATUS)


def test_a_guard_that_has_let_go_is_said_in_the_status():
    assert changed(draw(), draw(is_released=True), STATUS)
    assert not changed(draw(), draw(is_released=True), CORNER)


def test_left_is_anticlockwise():
    """The white mark at the top of the rim goes left with a positive angle."""
    for angle_rad, side in ((0.6, -1), (-0.6, 1)):
        rows, columns = np.nonzero((draw(steered(angle_rad))[WHEEL] > 235).all(axis=2))
        assert len(rows) > 10
        assert math.copysign(1, columns.mean() - 60) == side


def test_the_label_is_a_ghost_beside_the_solid_wheel():
    plain, labelled = draw(), draw(label_rad=0.4)
    assert changed(plain, labelled, WHEEL)
    assert changed(plain, labelled, VALUES)


@pytest.mark.parametrize(
    "stddevs",
    [
        {"steering_wheel_angle_stddev_rad": 0.02},
        {"speed_stddev_mps": 0.5},
        {"steering_torque_stddev_nm": 0.25},
    ],
)
def test_a_standard_deviation_stands_beside_its_value(stddevs):
    sure = command(0, 0)
    unsure = command(0, 0, raw=dataclasses.replace(sure.raw, **stddevs))
    assert changed(draw(sure), draw(unsure), VALUES)
    assert not changed(draw(sure), draw(unsure), WHEEL)
    held, other = dataclasses.replace(SKIPPED, held=sure), dataclasses.replace(SKIPPED, held=unsure)
    assert changed(draw(held), draw(other), VALUES)


def test_the_latency_bar_grows_and_turns_red_over_the_budget():
    bar = (420, slice(424, 620))
    short, long, over = draw(latency_ms=5.0), draw(latency_ms=40.0), draw(latency_ms=70.0)
    green = [(picture[bar][:, 1] > 180).sum() for picture in (short, long)]
    assert green[0] < green[1]
    assert (over[bar][:, 0] > 200).all()


def test_the_sparkline_shows_what_was():
    assert changed(draw(), draw(latencies_ms=[5.0, 9.0, 30.0]), LATENCY)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        skipped(0, 0),
        steered(0.0, validity=Validity.WARMING_UP),
        steered(0.0, validity=Validity.HELD),
        steered(0.0, validity=Validity.FALLBACK),
        steered(0.0, checksum_ok=False),
        steered(0.0, active_limits=(Limit.STEERING_RATE,)),
        command(0, 0, limited=ControlValues()),
    ],
)
def test_every_other_state_looks_different_from_a_good_command(answer):
    good, other = draw(steered(0.0)), draw(answer)
    assert changed(good, other, STATUS) or changed(good, other, WHEEL)


def test_lines_stand_in_the_corner():
    assert changed(draw(), draw(lines=("frame 12", "pilotnet_lstm")), CORNER)


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((160, 320, 3), (320, 640, 3)),
        ((240, 320, 3), (480, 640, 3)),
        ((66, 200, 3), (264, 800, 3)),
        ((720, 1280, 3), (720, 1280, 3)),
    ],
)
def test_small_pictures_are_scaled_up(shape, drawn):
    picture = draw_overlay(
        np.zeros(shape, np.uint8), command=COMMAND, latency_ms=None, budget_ms=50.0
    )
    assert picture.shape == drawn
    assert picture.shape[1] >= MIN_WIDTH_PX
    assert picture.any()


def test_the_picture_that_was_given_stays_as_it_is():
    draw()
    assert (ROAD == 90).all()
