"""Moments are the worst frames, each of another place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.training.health.moments import MOMENTS, Moment, share_of_error, worst_moments

RATE_HZ = 20.0


def moments_of(errors: np.ndarray) -> list[Moment]:
    zeros = np.zeros(len(errors), np.float32)
    return worst_moments(zeros, errors.astype(np.float32), zeros, RATE_HZ)


def test_one_bad_bend_is_one_moment():
    frames = np.arange(200)
    errors = np.exp(-(((frames - 60) / 5) ** 2)) - 0.5 * np.exp(-(((frames - 150) / 5) ** 2))
    first, second, *_ = moments_of(errors)
    assert (first.frame, second.frame) == (60, 150)
    assert first.error_rad == pytest.approx(1, rel=1e-6)
    assert second.error_rad == pytest.approx(-0.5, rel=1e-6)


@given(st.integers(1, 1200), st.integers(0, 2**32 - 1))
def test_moments_are_apart_and_ranked(frames: int, seed: int):
    errors = np.random.default_rng(seed).standard_normal(frames)
    moments = moments_of(errors)
    places = np.sort([moment.frame for moment in moments])
    assert (np.diff(places) >= RATE_HZ).all()
    ranks = [abs(moment.error_rad) for moment in moments]
    assert ranks == sorted(ranks, reverse=True)
    assert 1 <= len(moments) <= MOMENTS
    assert ranks[0] == pytest.approx(np.abs(errors).max())
    # Nothing was left out while there was room for it.
    if len(moments) < MOMENTS:
        assert all(np.abs(places - at).min() < RATE_HZ for at in range(frames))


def test_a_frame_without_a_label_is_no_moment():
    truth = np.array([np.nan, 0.1, np.nan], np.float32)
    said = np.array([9.0, 0.3, 9.0], np.float32)
    (only,) = worst_moments(truth, said, np.full(3, 0.2, np.float32), RATE_HZ)
    assert only.frame == 1
    assert only == pytest.approx((1, 0.1, 0.3, 0.2))


def test_the_share_of_error_is_what_lies_within_half_a_second():
    errors = np.zeros(100, np.float32)
    errors[[30, 40, 41]] = 2.0, 1.0, 1.0
    moments = [Moment(30, 0.0, 2.0, 0.1)]
    assert share_of_error(moments, errors, RATE_HZ) == pytest.approx(5 / 6)
    errors[60] = np.nan
    assert share_of_error(moments, errors, RATE_HZ) == pytest.approx(5 / 6)
    assert share_of_error(moments, np.zeros(100, np.float32), RATE_HZ) == 0
