import math

import numpy as np
import pytest

from steerstream_simulation.road import STEP_M, Pose, generate_road, road_from_curvature


def test_same_seed_draws_the_same_road():
    first, second = generate_road(7, length_m=500.0), generate_road(7, length_m=500.0)
    assert np.array_equal(first.x_m, second.x_m)
    assert np.array_equal(first.curvature_per_m, second.curvature_per_m)
    assert not np.array_equal(
        first.curvature_per_m, generate_road(8, length_m=500.0).curvature_per_m
    )


def test_a_longer_road_begins_with_the_shorter_one():
    shorter, longer = generate_road(3, length_m=300.0), generate_road(3, length_m=900.0)
    count = round(340.0 / STEP_M)
    assert np.array_equal(shorter.curvature_per_m[:count], longer.curvature_per_m[:count])


def test_curvature_has_the_statistics_of_the_real_drives():
    curvature = np.abs(
        np.concatenate([generate_road(seed).curvature_per_m for seed in range(1000, 1030)])
    )
    median, most = np.percentile(curvature, (50, 99))
    assert 0.001 < median < 0.005
    assert 0.01 < most <= 0.03


def test_positive_curvature_bends_left():
    road = road_from_curvature(np.full(200, 0.01), seed=0)
    end = road.pose_at(100.0)
    assert end.y_m > 0
    assert end.heading_rad == pytest.approx(1.0, abs=0.01)


def test_an_arc_ends_where_geometry_says():
    road = road_from_curvature(np.full(400, 0.02), seed=0)
    end = road.pose_at(100.0)
    assert end.x_m == pytest.approx(50.0 * math.sin(2.0), abs=0.05)
    assert end.y_m == pytest.approx(50.0 * (1.0 - math.cos(2.0)), abs=0.05)


@pytest.mark.parametrize("offset", [-3.0, -0.5, 0.0, 0.5, 3.0])
@pytest.mark.parametrize("place", [0.0, 123.4, 350.0])
def test_locate_inverts_pose_at(place, offset):
    road = generate_road(1, length_m=400.0)
    pose = road.pose_at(place, offset)
    found = road.locate(Pose(pose.x_m, pose.y_m, pose.heading_rad + 0.05), place + 4.0)
    assert found.arc_length_m == pytest.approx(place, abs=0.02)
    assert found.lateral_offset_m == pytest.approx(offset, abs=0.01)
    assert found.heading_error_rad == pytest.approx(0.05, abs=0.002)


def test_left_of_the_centre_is_positive():
    road = road_from_curvature(np.zeros(100), seed=0)
    assert road.locate(Pose(10.0, 0.7, 0.0), 10.0).lateral_offset_m == pytest.approx(0.7)
