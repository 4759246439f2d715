import numpy as np
import pytest

from steerstream_simulation.expert import FASTEST_MPS, SLOWEST_MPS, Expert, speed_profile
from steerstream_simulation.road import STEP_M, generate_road, road_from_curvature
from steerstream_simulation.vehicle import STEP_S, Command, Vehicle


def angle_at(curvature: float, offset: float = 0.0, heading: float = 0.0) -> float:
    road = road_from_curvature(np.full(400, curvature), seed=0)
    pose = road.pose_at(50.0, offset)
    vehicle = Vehicle(pose._replace(heading_rad=pose.heading_rad + heading), 15.0)
    return Expert(road).angle_rad(vehicle, road.locate(vehicle.pose, 50.0))


def test_a_left_bend_asks_for_a_left_angle():
    assert angle_at(0.01) > 0.1
    assert angle_at(-0.01) < -0.1


def test_left_of_the_centre_asks_for_a_right_angle():
    assert angle_at(0.0, offset=0.8) < -0.05
    assert angle_at(0.0, offset=-0.8) > 0.05


def test_heading_left_asks_for_a_right_angle():
    assert angle_at(0.0, heading=0.05) < -0.05


def drive(seed: int, offset: float, heading: float, seconds: float) -> np.ndarray:
    road = generate_road(seed, length_m=1200.0)
    pose = road.pose_at(0.0, offset)
    vehicle = Vehicle(pose._replace(heading_rad=pose.heading_rad + heading), 15.0)
    expert, place, offsets = Expert(road), 0.0, []
    for _ in range(round(seconds * 20)):
        position = road.locate(vehicle.pose, place)
        place = position.arc_length_m
        offsets.append(position.lateral_offset_m)
        label = expert.label(vehicle, position, 0.05)
        vehicle.advance(Command(label.steering_wheel_angle_rad, label.speed_mps), 10)
    return np.abs(offsets)


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("offset", [-1.2, 1.2])
@pytest.mark.parametrize("heading_deg", [-6.0, 6.0])
def test_recovers_from_perturbed_starts(seed, offset, heading_deg):
    error = drive(seed, offset, np.radians(heading_deg), seconds=20.0)
    assert error[:40].max() < 1.9
    assert error[100:].max() < 0.25


def test_speed_profile_keeps_its_limits():
    road = generate_road(1003, length_m=2000.0)
    speed = speed_profile(road)
    assert speed.min() >= SLOWEST_MPS
    assert speed.max() <= FASTEST_MPS
    change = np.diff(speed**2) / (2.0 * STEP_M)
    assert change.max() <= 1.0 + 1e-6
    assert change.min() >= -2.2 - 1e-6
    fast_enough = speed > SLOWEST_MPS + 0.01
    assert (speed**2 * np.abs(road.curvature_per_m))[fast_enough].max() <= 2.4 + 1e-6


def test_torque_of_a_held_angle_is_the_vehicles():
    road = road_from_curvature(np.full(800, 0.01), seed=0)
    vehicle = Vehicle(road.pose_at(20.0), 15.0, steering_wheel_angle_rad=0.5)
    expert, place = Expert(road), 20.0
    for _ in range(60):
        position = road.locate(vehicle.pose, place)
        place = position.arc_length_m
        label = expert.label(vehicle, position, 10 * STEP_S)
        vehicle.advance(Command(label.steering_wheel_angle_rad, 15.0), 10)
    assert label.steering_torque_nm == pytest.approx(vehicle.steering_torque_nm, abs=0.05)
