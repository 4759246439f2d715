import itertools
import math

import pytest

from steerstream_simulation.road import Pose
from steerstream_simulation.steering import SteeringColumn, SteeringParameters
from steerstream_simulation.vehicle import STEP_S, Command, Vehicle, VehicleParameters

START = Pose(0.0, 0.0, 0.0)


def settled(angle: float, speed: float) -> Vehicle:
    vehicle = Vehicle(START, speed)
    vehicle.advance(Command(angle, speed), round(5.0 / STEP_S))
    return vehicle


@pytest.mark.parametrize("speed", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_steady_yaw_rate_is_that_of_the_linear_single_track_model(speed, sign):
    own = VehicleParameters()
    angle = sign * 0.15
    expected = (
        speed
        * (angle / own.steering_ratio)
        / (own.wheelbase_m + own.understeer_s2_per_m * speed**2)
    )
    assert settled(angle, speed).yaw_rate_radps == pytest.approx(expected, rel=0.02)


def test_tyres_saturate_before_the_linear_model_does():
    vehicle = settled(4.0, 22.0)
    linear = 22.0 * vehicle.parameters.curvature_per_m(4.0, 22.0)
    assert vehicle.yaw_rate_radps < 0.8 * linear
    lateral_mps2 = vehicle.yaw_rate_radps * vehicle.speed_mps
    assert lateral_mps2 <= vehicle.parameters.friction * 9.81 * 1.02


def test_walking_pace_is_kinematic():
    vehicle = settled(1.0, 2.0)
    own = vehicle.parameters
    expected = 2.0 * math.tan(1.0 / own.steering_ratio) / own.wheelbase_m
    assert vehicle.yaw_rate_radps == pytest.approx(expected, rel=0.01)


def test_standstill_stays():
    vehicle = settled(1.0, 0.0)
    assert vehicle.pose == START
    assert vehicle.yaw_rate_radps == 0.0


def test_place_is_the_steady_state():
    vehicle = settled(0.3, 18.0)
    placed = Vehicle(START, 18.0, steering_wheel_angle_rad=0.3)
    assert placed.yaw_rate_radps == pytest.approx(vehicle.yaw_rate_radps, rel=0.02)
    assert placed.slip_rad == pytest.approx(vehicle.slip_rad, abs=0.002)
    assert placed.steering_torque_nm == pytest.approx(vehicle.steering_torque_nm, rel=0.03)


def test_motion_is_deterministic_and_does_not_depend_on_how_it_is_split():
    whole, split = Vehicle(START, 15.0), Vehicle(START, 15.0)
    whole.advance(Command(0.4, 17.0), 100)
    for steps in (1, 9, 40, 50):
        split.advance(Command(0.4, 17.0), steps)
    assert whole.pose == split.pose
    assert whole.steering_torque_nm == split.steering_torque_nm


def test_the_wheel_waits_for_the_delay():
    parameters = SteeringParameters(delay_s=0.06)
    column = SteeringColumn(parameters, STEP_S)
    for _ in range(round(0.06 / STEP_S)):
        column.step(1.0)
    assert column.angle_rad == 0.0
    column.step(1.0)
    assert column.angle_rad > 0.0


def test_the_wheel_turns_no_faster_than_its_limit_and_arrives():
    parameters = SteeringParameters(rate_limit_radps=3.0)
    column = SteeringColumn(parameters, STEP_S)
    angles = []
    for _ in range(round(2.0 / STEP_S)):
        column.step(2.0)
        angles.append(column.angle_rad)
    steps = [after - before for before, after in itertools.pairwise(angles)]
    assert max(steps) == pytest.approx(3.0 * STEP_S)
    assert angles[-1] == pytest.approx(2.0, abs=0.01)


def test_the_wheel_stops_at_its_stop():
    column = SteeringColumn(SteeringParameters(), STEP_S)
    for _ in range(round(5.0 / STEP_S)):
        column.step(100.0)
    assert column.angle_rad == pytest.approx(SteeringParameters().angle_limit_rad, abs=0.01)


def test_torque_is_left_positive_odd_and_of_the_real_size():
    left, right = settled(0.3, 18.0), settled(-0.3, 18.0)
    assert left.steering_torque_nm == pytest.approx(-right.steering_torque_nm)
    # HMB_2 at 0.3 rad and 18 m/s: 1 to 2 Nm; its largest torque anywhere is 2.6 Nm.
    assert 0.8 < left.steering_torque_nm < 2.2


def test_speed_follows_within_the_acceleration_limits():
    vehicle = Vehicle(START, 10.0)
    vehicle.advance(Command(0.0, 20.0), round(1.0 / STEP_S))
    assert vehicle.speed_mps == pytest.approx(12.0, abs=0.05)
    vehicle.advance(Command(0.0, 0.0), round(1.0 / STEP_S))
    assert vehicle.speed_mps == pytest.approx(8.0, abs=0.05)
