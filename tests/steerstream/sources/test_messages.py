from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from steerstream import ControlValues, MediaError
from steerstream.sources.messages import (
    Reports,
    picture_of,
    plain_type,
    reports_steering,
    stamp_ns,
    steering_of,
)

MS = 1_000_000


def test_a_time_is_read_as_each_of_them_writes_it():
    ros = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=2, nanosec=5)))
    protobuf = SimpleNamespace(timestamp=SimpleNamespace(seconds=2, nanos=5))
    json = SimpleNamespace(timestamp=SimpleNamespace(sec=2, nsec=5))
    assert [stamp_ns(one) for one in (ros, protobuf, json)] == [2 * 10**9 + 5] * 3
    assert stamp_ns(SimpleNamespace(timestamp=7.5)) == 0
    assert stamp_ns(SimpleNamespace()) == 0


def test_types_are_named_alike():
    assert plain_type("sensor_msgs/msg/Image") == plain_type("sensor_msgs/Image")
    assert reports_steering("dbw_mkz_msgs/SteeringReport")
    assert not reports_steering("dbw_mkz_msgs/BrakeReport")


def test_a_report_of_the_wheel_has_speed_and_torque_where_it_tells_them():
    report = SimpleNamespace(
        steering_wheel_angle=np.float32(0.5), steering_wheel_torque=0.25, speed=8
    )
    assert steering_of(report) == ControlValues(0.5, 8.0, 0.25)
    assert steering_of(SimpleNamespace(steering_wheel_angle=1.0)) == ControlValues(1.0)
    assert steering_of(SimpleNamespace(steering_tire_angle=1.0)) is None
    unknown = float("nan")
    assert steering_of(SimpleNamespace(steering_wheel_angle=unknown)) is None
    report = SimpleNamespace(steering_wheel_angle=0.5, speed=unknown, steering_wheel_torque="?")
    assert steering_of(report) == ControlValues(0.5)


def test_a_field_may_be_named_by_its_path():
    command = SimpleNamespace(drive=SimpleNamespace(steering_angle=0.25))
    assert steering_of(command, "drive.steering_angle") == ControlValues(0.25)
    assert steering_of(command, "drive.steering") is None
    assert steering_of(command, "nosuch.steering") is None


def test_a_picture_that_cannot_be_read_is_named():
    raw = SimpleNamespace(data=b"", encoding="16UC1", width=2, height=2, step=4)
    with pytest.raises(MediaError, match="here: pictures of encoding '16UC1' cannot be read"):
        picture_of(raw, "here")
    with pytest.raises(MediaError, match="here is damaged"):
        picture_of(SimpleNamespace(data=b"no picture"), "here")


def test_between_two_reports_values_are_interpolated():
    reports = Reports([(40 * MS, ControlValues(0.4, 8.0, None)), (0, ControlValues(0.0, 4.0, 1.0))])
    found = reports.at(10 * MS)
    assert found.steering_wheel_angle_rad == pytest.approx(0.1)
    assert found.speed_mps == pytest.approx(5.0)
    assert found.steering_torque_nm is None
    assert reports.at(40 * MS) == ControlValues(0.4, 8.0, None)


def test_far_from_reports_nothing_is_labelled():
    reports = Reports([(0, ControlValues(0.0)), (250 * MS, ControlValues(1.0))])
    assert reports.at(50 * MS) is None
    assert reports.at(-1) is None
    assert reports.at(251 * MS) is None
    assert Reports([]).at(0) is None
