"""What a network says of the time after a frame, limited as if each step were commanded."""

from __future__ import annotations

import math

import numpy as np
import pytest

import steerstream
from steerstream import FramePolicy, ModelHorizon
from steerstream_service.domain import ControlValues, Stddevs, Validity
from steerstream_service.session.vehicle_limits import PROFILES, Previous, apply
from tests.service import bundles
from tests.service.shell import Shell
from tests.service.vehicle import pictures, running

NOW = (0.1, 10.0, 0.2)
ANGLES, SPEEDS = (0.2, 2.0, -8.0), (10.0, 40.0, 0.0)
AHEAD = (*ANGLES, *SPEEDS, 0.5)
"""Steps that no vehicle follows at 10 m/s as they are, and a standard deviation."""


def shell():
    return Shell(horizon=bundles.HORIZON)


def test_each_step_is_limited_from_the_one_before_at_the_measured_speed():
    command = shell().drive(0, 0, (*NOW, *AHEAD), speed=20.0)
    before = command.limited
    for angle_rad, speed_mps, step in zip(ANGLES, SPEEDS, command.horizon.steps, strict=True):
        expected, _ = apply(
            ControlValues(angle_rad, speed_mps, None),
            PROFILES["passenger_car"],
            vehicle_speed_mps=20.0,
            previous=Previous(before, 0.05),
        )
        assert step == expected
        assert step.steering_torque_nm is None, "the horizon has no torque"
        before = step
    assert command.horizon.steps[-1].steering_wheel_angle_rad > -1.0, "it was limited"
    assert command.horizon.last_raw == ControlValues(-8.0, 0.0, None)
    assert command.horizon.last_stddevs == Stddevs(0.5, None, None)


@pytest.mark.parametrize(("at", "value"), [(0, math.nan), (4, 1e9), (6, 0.0)])
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


async def test_a_model_without_one_says_so(tmp_path):
    async with (
        running(bundles.recurrent(tmp_path / "a.onnx")) as run,
        steerstream.connect(run.address) as client,
    ):
        (model,) = (await client.describe_models()).models
        assert model.horizon is None
