import numpy as np
import pytest

from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.road import generate_road, road_from_curvature

STEADY = CameraConfig(pitch_px=0.0)


@pytest.fixture(scope="module")
def straight() -> Camera:
    return Camera(road_from_curvature(np.zeros(600), seed=3), STEADY)


def yellow_column(image: np.ndarray, row: int) -> float:
    """Centre of the yellow line in one row."""
    red, green, blue = (image[row, :, channel].astype(float) for channel in range(3))
    yellowness = np.minimum(red, green) - blue
    columns = np.flatnonzero(yellowness > 0.6 * yellowness.max())
    return float(columns.mean())


def test_same_seed_and_pose_give_the_same_picture(straight):
    again = Camera(road_from_curvature(np.zeros(600), seed=3), STEADY)
    pose = straight.road.pose_at(33.3, 0.4)
    assert np.array_equal(straight.render(pose, 33.3), again.render(pose, 33.3))
    assert np.array_equal(straight.render(pose, 33.3), straight.render(pose, 33.3))


def test_seeds_look_different(straight):
    other = Camera(road_from_curvature(np.zeros(600), seed=2), STEADY)
    pose = straight.road.pose_at(20.0)
    difference = np.abs(
        straight.render(pose, 20.0).astype(int) - other.render(pose, 20.0).astype(int)
    )
    assert difference.mean() > 5


@pytest.mark.parametrize("size", [(320, 240), (320, 160), (640, 480), (200, 66)])
def test_pictures_have_the_size_asked_for(size):
    width, height = size
    camera = Camera(generate_road(0, length_m=50.0), CameraConfig(width_px=width, height_px=height))
    image = camera.render(camera.road.pose_at(0.0), 0.0)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


def test_the_lanes_lines_stand_where_the_pinhole_puts_them(straight):
    config = straight.config
    row = 200
    image = straight.render(straight.road.pose_at(20.0), 20.0)
    distance = config.focal_px * config.mount_height_m / (row - config.horizon * config.height_px)
    left = 0.5 * straight.road.lane_width_m
    expected = 0.5 * (config.width_px - 1) - config.focal_px * left / distance
    assert yellow_column(image, row) == pytest.approx(expected, abs=4.0)


def test_moving_left_moves_the_line_right(straight):
    columns = [
        yellow_column(straight.render(straight.road.pose_at(20.0, offset), 20.0), 180)
        for offset in (-0.5, 0.0, 0.5)
    ]
    assert columns[0] < columns[1] < columns[2]


def test_a_left_bend_moves_the_line_left(straight):
    columns = []
    for curvature in (-0.002, 0.0, 0.002):
        road = road_from_curvature(np.full(600, curvature), seed=3, lane_width_m=3.5)
        image = Camera(road, STEADY).render(road.pose_at(20.0), 20.0)
        columns.append(yellow_column(image, 180))
    assert columns[0] > columns[1] > columns[2]


def test_the_ground_moves_with_the_vehicle_and_not_in_jumps(straight):
    """Neighbouring poses look alike, also where the ground's texture begins anew."""
    for place in (100.0, 319.9, 250.0):
        near, far = (
            straight.render(straight.road.pose_at(at), at).astype(int)
            for at in (place, place + 0.05)
        )
        assert np.abs(near - far).mean() < 12


def test_the_road_is_road_everywhere(straight):
    """The lane's surface is one grey, whatever the distance and the place along the period."""
    for place in np.linspace(5.0, 290.0, 12):
        image = straight.render(straight.road.pose_at(place), place)
        patch = image[150:235, 150:170].astype(float)
        assert np.abs(np.diff(patch, axis=0)).mean() < 12
        assert (patch.max(axis=2) - patch.min(axis=2)).mean() < 40
