"""What a network says of the time after a frame, limited as if each step were commanded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import steerstream
from steerstream import FramePolicy, ModelHorizon
from steerstream_bundle.contract import (
    SPEED,
    STEERING_TORQUE,
    STEERING_WHEEL_ANGLE,
    Horizon,
    HorizonOutput,
)
from steerstream_service.domain import ControlValues, Stddevs, Validity
from steerstream_service.session.horizons import Horizons
from steerstream_service.session.vehicle_limits import PROFILES, Previous, apply
from tests.service import bundles
from tests.service.shell import Shell
from tests.service.vehicle import pictures, running

HEADS = (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE)
CAR = PROFILES["passenger_car"]
NOW = (0.1, 10.0, 0.2)
ANGLES, SPEEDS = (0.2, 2.0, -8.0), (10.0, 40.0, 0.0)
AHEAD = (*ANGLES, *SPEEDS, 0.5)
"""Steps that no vehicle follows at 10 m/s as they are, and a standard deviation."""


def shell():
    return Shell(horizon=bundles.HORIZON)


def one_by_one(raw, limited, spacing_ms, speed):
    """The steps of a horizon that are limited as if each were commanded after the one before."""
    for values in raw:
        previous = Previous(limited, spacing_ms / 1e3)
        limited, _ = apply(ControlValues(*values), CAR, vehicle_speed_mps=speed, previous=previous)
        yield limited.steering_wheel_angle_rad, limited.speed_mps, limited.steering_torque_nm


def test_each_step_is_limited_from_the_one_before_at_the_measured_speed():
    command = shell().drive(0, 0, (*NOW, *AHEAD), speed=20.0)
    raw = [
        (angle_rad, speed_mps, None) for angle_rad, speed_mps in zip(ANGLES, SPEEDS, strict=True)
    ]
    angles, speeds, torques = zip(*one_by_one(raw, command.limited, 50, 20.0), strict=True)
    ahead = command.horizon
    assert (tuple(ahead.angles_rad), tuple(ahead.speeds_mps)) == (angles, speeds)
    assert ahead.torques_nm is None, "the horizon has no torque"
    assert torques == (None,) * 3
    assert angles[-1] > -1.0, "it was limited"
    assert ahead.last_raw == ControlValues(-8.0, 0.0, None)
    assert ahead.last_stddevs == Stddevs(0.5, None, None)


def around(bound):
    """Values of a head: any, and those at which something happens."""
    return st.floats(-bound, bound) | st.sampled_from([0.0, -0.0, bound, -bound])


@st.composite
def said(draw):
    """Heads of a horizon in any order with values for each step, and a command before them."""
    steps = draw(st.integers(1, 12))
    bounds = {STEERING_WHEEL_ANGLE: 8.0, SPEED: 60.0, STEERING_TORQUE: 20.0}
    others = draw(st.lists(st.sampled_from([SPEED, STEERING_TORQUE]), unique=True))
    heads = draw(st.permutations([STEERING_WHEEL_ANGLE, *others]))
    values = {}
    for head in heads:
        near, bound = draw(st.floats(0.001, 1.0)), bounds[head]
        column = draw(st.lists(around(bound * near), min_size=steps, max_size=steps))
        values[head] = [max(value, -5.0) for value in column] if head == SPEED else column
    most = (CAR.max_steering_wheel_angle_rad, CAR.max_speed_mps, CAR.max_steering_torque_nm)
    before = ControlValues(*(draw(around(bound)) for bound in most))
    speed = draw(st.none() | st.floats(-40.0, 40.0))
    return values, before, draw(st.integers(1, 1000)), speed


def horizon_of(values, before, spacing_ms, speed=None):
    """The horizon after a command, of these steps for each head."""
    horizon = Horizon(
        steps=len(values[STEERING_WHEEL_ANGLE]),
        spacing_ms=spacing_ms,
        outputs=tuple(HorizonOutput(head=head, tensor=f"{head}_ahead") for head in values),
    )
    contract = bundles.contract(horizon=horizon)
    ahead = [value for column in values.values() for value in column]
    return Horizons(contract, CAR).after([*NOW, *ahead], before, speed)


@settings(deadline=None)
@given(said())
def test_any_horizon_is_as_if_its_steps_were_commanded_one_by_one(case):
    values, before, spacing_ms, speed = case
    ahead = horizon_of(values, before, spacing_ms, speed)
    absent = [None] * len(values[STEERING_WHEEL_ANGLE])
    raw = list(zip(*(values.get(head, absent) for head in HEADS), strict=True))
    expected = zip(*one_by_one(raw, before, spacing_ms, speed), strict=True)
    found = (ahead.angles_rad, ahead.speeds_mps, ahead.torques_nm)
    for column, one in zip(found, expected, strict=True):
        assert repr(list(column or absent)) == repr(list(one)), "to the last bit and sign"
    assert ahead.last_raw == ControlValues(*raw[-1])


@pytest.mark.parametrize(
    ("torque_nm", "before_nm", "expected_nm"),
    [
        (20.0, 2.85, [2.95, 3.0, 3.0]),
        (-20.0, -2.85, [-2.95, -3.0, -3.0]),
        (-20.0, 0.3, [0.05, -0.1, -0.2]),
        (20.0, -0.3, [-0.05, 0.1, 0.2]),
    ],
)
def test_torque_rises_slowly_and_falls_quickly(torque_nm, before_nm, expected_nm):
    values = {STEERING_WHEEL_ANGLE: [0.0] * 3, STEERING_TORQUE: [torque_nm] * 3}
    ahead = horizon_of(values, ControlValues(0.0, 10.0, before_nm), 50)
    assert ahead.torques_nm == pytest.approx(expected_nm)


def test_a_slow_vehicle_s_wheel_turns_to_its_own_bound():
    bound = CAR.max_steering_wheel_angle_rad
    values = {STEERING_WHEEL_ANGLE: [8.0, 8.0, -8.0]}
    ahead = horizon_of(values, ControlValues(bound - 0.3, 0.5, 0.0), 50, speed=0.5)
    assert ahead.angles_rad == pytest.approx([bound - 0.3 + 0.218, bound, bound - 0.218], abs=1e-3)


def test_speed_rises_to_its_bound():
    values = {STEERING_WHEEL_ANGLE: [0.0] * 3, SPEED: [60.0] * 3}
    ahead = horizon_of(values, ControlValues(0.0, 36.0, 0.0), 50)
    assert ahead.speeds_mps == pytest.approx([36.1, 130 / 3.6, 130 / 3.6])


def test_a_horizon_at_the_bounds_of_what_is_plausible_is_limited():
    values = {STEERING_WHEEL_ANGLE: [8.0, -8.0], SPEED: [60.0, -5.0]}
    ahead = horizon_of(values, ControlValues(0.0, 10.0, 0.0), 50)
    assert ahead.speeds_mps == pytest.approx([10.1, 9.925])


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, math.nan), (2, math.nan), (2, -8.1), (3, -5.1), (4, 1e9), (6, 0.0), (6, math.nan)],
)
def test_a_horizon_with_an_implausible_value_is_left_out_and_the_command_stays(at, value):
    ahead = [*AHEAD]
    ahead[at] = value
    command = shell().drive(0, 0, (*NOW, *ahead))
    assert command.horizon is None
    assert command.limited.steering_wheel_angle_rad == 0.1


def test_a_command_that_is_sent_again_has_none():
    vehicle = shell()
    assert vehicle.drive(0, 0, (*NOW, *AHEAD)).horizon is not None
    held = vehicle.drive(1, 50, (math.nan, 10.0, 0.2, *AHEAD))
    assert (held.validity, held.horizon) == (Validity.HELD, None)
    vehicle.frame(0, 0)
    assert vehicle.answers[-1].held.horizon is None


async def test_it_comes_through_a_real_server(tmp_path):
    film = pictures(3, 1)
    async with (
        running(bundles.horizon(tmp_path / "a.onnx")) as run,
        steerstream.connect(run.address) as client,
        client.open_session(
            vehicle_id="car", frame_policy=FramePolicy.EVERY, budget_ms=1000
        ) as session,
    ):
        assert session.info.model.horizon == ModelHorizon(3, 50, ("steering_wheel_angle", "speed"))
        for number, picture in enumerate(film):
            answer = await session.request(picture, capture_time_ns=50_000_000 * (number + 1))
            assert isinstance(answer, steerstream.Command)
            assert answer.checksum_ok
            assert answer.horizon is not None
            assert [step.after_ms for step in answer.horizon.steps] == [50, 100, 150]
            said = answer.raw.steering_wheel_angle_rad
            assert said is not None
            last = answer.horizon.last_raw
            assert last.steering_wheel_angle_rad == pytest.approx(said + 0.3, abs=1e-5)
            assert last.steering_wheel_angle_stddev_rad is not None
            angles = [step.limited.steering_wheel_angle_rad for step in answer.horizon.steps]
            assert np.all(np.diff([answer.limited.steering_wheel_angle_rad, *angles]) <= 0.219)


async def test_a_session_that_wants_none_gets_none(tmp_path):
    async with (
        running(bundles.horizon(tmp_path / "a.onnx")) as run,
        steerstream.connect(run.address) as client,
        client.open_session(
            vehicle_id="car", frame_policy=FramePolicy.EVERY, budget_ms=1000, horizon=False
        ) as session,
    ):
        answer = await session.request(pictures(1, 1)[0], capture_time_ns=50_000_000)
        assert isinstance(answer, steerstream.Command)
        assert answer.checksum_ok
        assert answer.horizon is None


async def test_a_model_without_one_says_so(tmp_path):
    async with (
        running(bundles.recurrent(tmp_path / "a.onnx")) as run,
        steerstream.connect(run.address) as client,
    ):
        (model,) = (await client.describe_models()).models
        assert model.horizon is None
