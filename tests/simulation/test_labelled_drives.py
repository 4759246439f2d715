import numpy as np
import pytest

from steerstream_simulation.labelled_drives import (
    UNDISTURBED,
    Recovery,
    SeedReservedError,
    render_drive,
    render_trace,
)
from steerstream_simulation.road import Pose
from steerstream_simulation.vehicle import Command, Vehicle


def labels(frames) -> np.ndarray:
    return np.array([frame[1:] for frame in frames])


def test_drives_are_deterministic():
    first, second = list(render_drive(1000, frames=20)), list(render_drive(1000, frames=20))
    assert np.array_equal(labels(first), labels(second))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("seed", [0, 99, 999])
def test_evaluation_seeds_are_refused(seed):
    with pytest.raises(SeedReservedError, match="1000"):
        render_drive(seed, frames=1)
    assert len(list(render_drive(seed, frames=1, evaluation=True))) == 1
    with pytest.raises(SeedReservedError):
        render_trace([0.0], [10.0], [0.0], seed=seed)


def test_undisturbed_drives_stay_in_the_middle():
    offsets = labels(render_drive(1001, frames=100, recovery=UNDISTURBED))[:, 3]
    assert np.abs(offsets).max() < 0.25


def test_recovery_is_in_the_data():
    recovery = Recovery(displace_every_s=3.0)
    rows = labels(render_drive(1002, frames=200, recovery=recovery))
    assert np.abs(rows[:, 3]).max() > 0.4
    assert rows[-1, 4] >= 1
    assert np.all(np.diff(rows[:, 4]) >= 0)


def test_a_traces_labels_come_back_unchanged():
    angle = 0.3 * np.sin(np.linspace(0.0, 6.0, 60))
    speed, torque = np.full(60, 15.0), 2.0 * angle
    rows = labels(render_trace(angle, speed, torque, seed=1003))
    assert np.array_equal(rows[:, 0], angle)
    assert np.array_equal(rows[:, 2], torque)
    assert not rows[:, 3:].any()


def test_a_traces_road_is_the_one_its_angle_drives():
    from steerstream_simulation.labelled_drives import _road_of_trace

    angle, speed = np.full(200, 0.4), np.full(200, 14.0)
    places, road = _road_of_trace(angle, speed, 1004, 20.0)
    vehicle = Vehicle(Pose(*road.pose_at(places[5])), 14.0, steering_wheel_angle_rad=0.4)
    vehicle.advance(Command(0.4, 14.0), 400)
    position = road.locate(vehicle.pose, places[45])
    assert position.arc_length_m == pytest.approx(places[45], abs=0.5)
    assert abs(position.lateral_offset_m) < 0.7


def test_traces_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        render_trace([0.0, 0.1], [10.0], [0.0], seed=1000)


def test_a_trace_may_stand_still():
    frames = list(render_trace(np.zeros(5), np.zeros(5), np.zeros(5), seed=1000))
    assert len(frames) == 5
