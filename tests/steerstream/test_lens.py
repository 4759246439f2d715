"""A network's pixels lie where OpenCV's own models of lenses put them."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest

from steerstream import Camera, LensModel
from steerstream.lens import UnsuitableCameraError
from tests.steerstream.cameras import NETWORK, SAME, WIDE, mapping, mapping_of

BROWN, FISHEYE = (-0.3, 0.1, 0.001, -0.002, -0.02), (0.05, -0.01, 0.003, -0.001)
WIDTH_PX, HEIGHT_PX = 1280, 800
FOCAL, PRINCIPAL = (700.0, 705.0), (650.0, 390.0)


def by_opencv(points, lens, distortion, pitch_rad):
    """Project points [N, 3], right, down and ahead of a camera that looks down by some angle."""
    matrix = np.array([[FOCAL[0], 0, PRINCIPAL[0]], [0, FOCAL[1], PRINCIPAL[1]], [0, 0, 1.0]])
    project = cv2.fisheye.projectPoints if lens is LensModel.FISHEYE else cv2.projectPoints
    turned = np.array([pitch_rad, 0.0, 0.0])
    points = np.asarray(points, float).reshape(-1, 1, 3)
    return project(points, turned, np.zeros(3), matrix, np.array(distortion or [0.0] * 5))[
        0
    ].reshape(-1, 2)


def calibrated(lens, distortion, *, pitch_rad=0.07, height_m=1.5):
    """A camera as a calibration describes it, with the horizon where its pitch puts it."""
    ((_, horizon_px),) = by_opencv([[0, 0, 1]], lens, distortion, pitch_rad)
    return Camera(
        WIDTH_PX,
        HEIGHT_PX,
        mount_height_m=height_m,
        horizon_fraction=(horizon_px + 0.5) / HEIGHT_PX,
        lens=lens,
        distortion=distortion,
        focal_x_px=FOCAL[0],
        focal_y_px=FOCAL[1],
        principal_x_px=PRINCIPAL[0],
        principal_y_px=PRINCIPAL[1],
    )


def network_rays(height_m):
    """What the network's pixels show, from its crop of 0.4 to 0.9, seen from a height."""
    focal = 0.5 / math.tan(math.radians(9))
    across = ((np.arange(200) + 0.5) / 200 - 0.5) / focal
    down = (0.4 + (np.arange(66) + 0.5) / 66 * 0.5 - 0.45) * 0.75 / focal
    down = np.where(down > 0, down * height_m / 1.3, down)
    right, below = np.meshgrid(across, down)
    return np.stack([right, below, np.ones_like(right)], axis=2)


@pytest.mark.parametrize(
    ("lens", "distortion"),
    [
        (LensModel.PINHOLE, ()),
        (LensModel.BROWN_CONRADY, BROWN),
        (LensModel.BROWN_CONRADY, BROWN[:4]),
        (LensModel.FISHEYE, FISHEYE),
    ],
)
def test_places_are_those_of_opencv(lens, distortion):
    found = mapping(calibrated(lens, distortion)).places()
    pixels = found * np.array([WIDTH_PX, HEIGHT_PX]) - 0.5
    expected = by_opencv(network_rays(1.5), lens, distortion, 0.07)
    np.testing.assert_allclose(pixels.reshape(-1, 2), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("lens", "distortion"),
    [(LensModel.BROWN_CONRADY, (-0.1, 0.01, 0.0, 0.0)), (LensModel.FISHEYE, FISHEYE)],
)
def test_a_field_of_view_is_that_of_the_bent_picture(lens, distortion):
    camera = dataclasses.replace(WIDE, lens=lens, distortion=distortion, horizontal_fov_deg=70.0)
    projection = mapping(camera).projection
    level = dataclasses.replace(projection, pitch_rad=0.0)
    edge = np.array([math.tan(math.radians(35.0))])
    columns, _ = level.places(edge, np.zeros(1))
    assert columns[0] == pytest.approx(640 - 0.5)


def test_the_network_s_own_camera_needs_no_mapping():
    assert mapping_of(SAME) is None
    assert mapping_of(Camera(horizontal_fov_deg=18.05)) is None


@pytest.mark.parametrize("camera", [Camera(), Camera(640, 480), Camera(mount_height_m=3.0)])
def test_who_says_nothing_of_the_lens_keeps_the_crop(camera):
    assert mapping_of(camera) is None


def test_a_bundle_that_does_not_know_its_camera_keeps_the_crop():
    unknown = dataclasses.replace(NETWORK, horizontal_fov_deg=0.0)
    assert mapping_of(WIDE, unknown) is None


@pytest.mark.parametrize(
    "change",
    [
        {"horizontal_fov_deg": 18.5},
        {"mount_height_m": 1.4},
        {"horizon_fraction": 0.47},
        {"height_px": 400},
        {"principal_x_px": 318.0},
        {"focal_x_px": 2020.0},
        {"lens": LensModel.FISHEYE, "distortion": (0.0, 0.0, 0.0, 0.0)},
    ],
)
def test_a_camera_that_differs_in_anything_is_mapped(change):
    # Wide enough to show all that the network needs, if that were its only difference.
    network = dataclasses.replace(NETWORK, horizontal_fov_deg=17.95)
    assert mapping_of(dataclasses.replace(SAME, **change), network) is not None


def test_with_the_horizon_through_its_principal_point_a_camera_looks_straight_ahead():
    camera = dataclasses.replace(WIDE, horizon_fraction=0.4, principal_y_px=0.4 * 480 - 0.5)
    assert mapping(camera).projection.pitch_rad == pytest.approx(0.0, abs=1e-9)


def test_what_is_far_away_does_not_move_with_the_camera_s_height():
    low, high = (
        mapping(dataclasses.replace(WIDE, mount_height_m=height_m)).places()
        for height_m in (1.3, 2.6)
    )
    # The crop begins a tenth of its height above the horizon.
    np.testing.assert_array_equal(low[:6], high[:6])
    below = (low[8:, :, 1] - 0.4, high[8:, :, 1] - 0.4)
    assert (below[1] > 1.5 * below[0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizontal_fov_deg": 12.0}, "does not show 47% of what the network needs (left 17%"),
        ({"horizon_fraction": 0.99}, "83% of what the network needs (bottom 83%)"),
        ({"mount_height_m": None}, "mount_height_m must be stated"),
        ({"width_px": None, "horizon_fraction": None}, "width_px and horizon_fraction must be"),
        ({"horizontal_fov_deg": 176.0}, "must be above 0 and at most 175 for a lens of model PIN"),
        ({"horizon_fraction": 5.0}, "its horizon would be in row 2400, which its lens shows"),
        ({"distortion": (0.1,)}, "a lens of model PINHOLE has 0 coefficients of distortion, not 1"),
        (
            {"lens": LensModel.BROWN_CONRADY, "distortion": (0.1,)},
            "a lens of model BROWN_CONRADY has 4 or 5 coefficients of distortion, not 1",
        ),
        (
            {"lens": LensModel.BROWN_CONRADY, "distortion": (-1.2, 0.0, 0.0, 0.0)},
            "wider than distortion [-1.2, 0.0, 0.0, 0.0, 0.0] holds for",
        ),
        (
            {"lens": LensModel.FISHEYE, "distortion": (-1.0, 0.0, 0.0, 0.0), "focal_x_px": 500.0,
             "horizon_fraction": 0.001},
            "beyond what distortion",
        ),
        ({"focal_x_px": 1e-6, "principal_y_px": 191.5}, "in a single pixel"),
    ],
)  # fmt: skip
def test_what_cannot_be_mapped_is_refused_with_the_numbers(change, message):
    with pytest.raises(UnsuitableCameraError) as caught:
        mapping_of(dataclasses.replace(WIDE, **change))
    assert message in str(caught.value)


def test_what_lies_beyond_a_lens_s_model_is_not_shown():
    """Its polynomial turns back there, and would show the sky in the middle of the road."""
    camera = dataclasses.replace(
        WIDE, lens=LensModel.BROWN_CONRADY, distortion=(-0.4, 0.0, 0.0, 0.0), focal_x_px=400.0
    )
    projection = mapping(camera).projection
    columns, _ = projection.places(np.array([0.3, 1.5]), np.zeros(2))
    assert np.isfinite(columns[0])
    assert np.isnan(columns[1])


def test_what_lies_behind_a_camera_is_not_shown():
    projection = dataclasses.replace(mapping().projection, pitch_rad=math.radians(50))
    _, rows = projection.places(np.zeros(2), np.array([0.0, -2.0]))
    assert np.isfinite(rows[0])
    assert np.isnan(rows[1])


def test_mappings_of_equal_cameras_are_equal():
    assert mapping() == mapping(dataclasses.replace(WIDE))
    assert len({mapping(), mapping(dataclasses.replace(WIDE))}) == 1
