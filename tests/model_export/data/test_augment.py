"""Changes to pictures keep the labels true."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from model_export.config import AugmentConfig, FrameConfig
from model_export.data.augment import Augmentation, Viewpoint, Wander, recovery_angle_rad
from steerstream_bundle.preprocess import prepare
from steerstream_simulation.camera import Camera
from steerstream_simulation.return_law import return_angle_rad
from steerstream_simulation.road import road_from_curvature

FRAME = FrameConfig().contract()
LABELS = np.array([[0.2, 15.0, 1.0], [-0.1, 14.0, np.nan]], np.float32)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, FRAME.shape, np.uint8)


def test_nothing_configured_changes_nothing():
    same = Augmentation(AugmentConfig(), FRAME, seed=1)
    np.testing.assert_array_equal(same.picture(picture(), 0), picture())
    np.testing.assert_array_equal(same.labels(LABELS), LABELS)


def test_a_mirrored_road_turns_the_other_way():
    flip = Augmentation(AugmentConfig(flip=1.0), FRAME, seed=1)
    np.testing.assert_array_equal(flip.picture(picture(), 0), picture()[:, ::-1])
    np.testing.assert_array_equal(flip.labels(LABELS), LABELS * np.array([-1, 1, -1], np.float32))


def moved(**bounds: Any) -> Augmentation:
    return Augmentation(AugmentConfig(**bounds), FRAME, seed=5)


def test_a_move_corrects_the_angle_towards_the_path_and_drops_the_torque():
    change = moved(shift_m=1.0)
    offset = change.viewpoint.shift_m
    assert abs(offset) > 0.05
    labels = change.labels(LABELS)
    correction = labels[:, 0] - LABELS[:, 0]
    # Pure pursuit over 20 m with the reference vehicle: 14.8 * 2.85 m * -2 y / L².
    np.testing.assert_allclose(correction, 14.8 * 2.85 * -2 * offset / 20**2, rtol=1e-3)
    np.testing.assert_array_equal(labels[:, 1], LABELS[:, 1])
    assert np.isnan(labels[:, 2]).all()


@pytest.mark.parametrize(("shift_m", "yaw_rad"), [(0.3, 0.0), (0.0, 0.02), (0.3, 0.02)])
def test_a_camera_left_of_the_path_steers_right(shift_m: float, yaw_rad: float):
    view = Viewpoint(shift_m=shift_m, yaw_rad=yaw_rad, pitch_px=0.0, zoom=1.0)
    mirrored = Viewpoint(shift_m=-shift_m, yaw_rad=-yaw_rad, pitch_px=0.0, zoom=1.0)
    assert recovery_angle_rad(view, 20.0) < 0
    assert math.isclose(recovery_angle_rad(mirrored, 20.0), -recovery_angle_rad(view, 20.0))


@pytest.mark.parametrize("bounds", [{"shift_m": 0.6}, {"yaw_rad": 0.06}])
def test_a_moved_picture_is_what_a_moved_camera_sees(bounds: dict[str, float]):
    """The simulation's camera, really moved, is the judge of the warp."""
    camera = Camera(road_from_curvature(np.zeros(400), seed=1234))
    change = moved(**bounds)
    view = change.viewpoint
    place = 100.0
    centre = prepare(camera.render(camera.road.pose_at(place), place), FRAME)
    pose = camera.road.pose_at(place, view.shift_m)
    pose = pose._replace(heading_rad=pose.heading_rad + view.yaw_rad)
    truth = prepare(camera.render(pose, place), FRAME)
    road = np.s_[15:, 30:170]
    before = np.abs(centre[road].astype(float) - truth[road]).mean()
    after = np.abs(change.picture(centre, 0)[road].astype(float) - truth[road]).mean()
    assert after < 0.7 * before


def test_a_draw_is_its_seeds_and_noise_differs_from_frame_to_frame():
    bounds = AugmentConfig(
        flip=0.5, shift_m=0.3, pitch_px=2, zoom=0.1, gain=(0.5, 1.5), gamma=(0.7, 1.4),
        colour=0.1, shadow=1.0, noise=8, blur=0.5, erase=1.0,
    )  # fmt: skip
    one, same, other = (Augmentation(bounds, FRAME, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one.picture(picture(), 3), same.picture(picture(), 3))
    assert (one.picture(picture(), 3) != other.picture(picture(), 3)).any()
    assert (one.picture(picture(), 3) != one.picture(picture(), 4)).any()
    assert one.picture(picture(), 3).dtype == np.uint8
    assert one.picture(picture(), 3).shape == FRAME.shape


WANDERING = AugmentConfig(wander_m=0.4, wander_rad=0.02)


def test_a_path_about_the_driven_one_is_as_wide_as_asked_and_turns_as_it_says():
    paths = [Wander(0.4, 0.02, np.random.default_rng(seed)) for seed in range(2000)]
    offset, heading = np.array([path.at(0.7) for path in paths]).T
    assert offset.std() == pytest.approx(0.4, rel=0.05)
    assert heading.std() == pytest.approx(0.02, rel=0.05)
    step_s = 1e-4
    for path in paths[:5]:
        moved_m = float(path.at(step_s).offset_m) - float(path.at(0.0).offset_m)
        assert moved_m / step_s / 15.0 == pytest.approx(float(path.at(0.0).heading_rad), abs=1e-4)


def test_a_sequence_that_wanders_is_seen_from_the_path_and_led_back_from_it():
    change, places = Augmentation(WANDERING, FRAME, seed=5), (3, 40)
    labels = np.stack([LABELS, LABELS + 0.1], axis=1)
    changed = change.labels(labels, places)
    same = Augmentation(WANDERING, FRAME, seed=5)
    for row, place in enumerate(places):
        where = same.deviation(place)
        assert where is not None
        expected = labels[row, :, 0] + return_angle_rad(where, labels[row, :, 1])
        np.testing.assert_allclose(changed[row, :, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(changed[..., 1], labels[..., 1])
    assert np.isnan(changed[..., 2]).all()
    frames = [change.picture(picture(), place) for place in places]
    assert (frames[0] != frames[1]).any(), "the camera stands still"


def test_a_softer_law_asks_for_less_of_the_same_way_back():
    softer = dataclasses.replace(WANDERING, return_radps=1.2, return_damping=0.8)
    change = Augmentation(softer, FRAME, seed=5)
    where = Augmentation(WANDERING, FRAME, seed=5).deviation(7)
    assert where is not None
    expected = LABELS[0, 0] + return_angle_rad(
        where, LABELS[0, 1], frequency_radps=1.2, damping=0.8
    )
    assert change.labels(LABELS[:1], (7,))[0, 0] == pytest.approx(float(expected), rel=1e-5)


def test_a_recording_without_speeds_wanders_at_the_usual_one():
    labels = LABELS.copy()
    labels[:, 1] = np.nan
    change = Augmentation(WANDERING, FRAME, seed=5)
    where = change.deviation(7)
    assert where is not None
    expected = labels[0, 0] + return_angle_rad(where, 15.0)
    assert change.labels(labels[:1], (7,))[0, 0] == pytest.approx(float(expected), rel=1e-5)
