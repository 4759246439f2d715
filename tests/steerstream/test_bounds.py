from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.bounds import Bounds, clamp, slew


def test_clamp_changes_only_what_is_outside():
    assert [clamp(value, -1.0, 1.0) for value in (-2.0, -1.0, 0.5, 1.0, 2.0)] == [
        -1.0,
        -1.0,
        0.5,
        1.0,
        1.0,
    ]


@settings(deadline=None)
@given(
    value=st.floats(-1e6, 1e6),
    previous=st.floats(-1e6, 1e6),
    rate=st.floats(0, 1e3),
    elapsed_s=st.floats(-1, 100),
)
def test_slew_goes_as_near_as_it_may_and_no_farther(value, previous, rate, elapsed_s):
    reached = slew(value, previous, rate_per_s=rate, elapsed_s=elapsed_s)
    reach = rate * max(0.0, elapsed_s)
    assert abs(reached - previous) <= reach + 1e-6
    assert abs(reached - value) <= max(0.0, abs(value - previous) - reach) + 1e-6


def test_slew_from_nowhere_goes_everywhere():
    assert slew(5.0, None, rate_per_s=0.0, elapsed_s=0.0) == 5.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_age_ms": math.nan}, "max_age_ms must be finite"),
        ({"max_speed_mps": -1.0}, "max_speed_mps must be finite and at least 0"),
        ({"max_age_ms": 300.0, "max_hold_ms": 200.0}, "max_hold_ms"),
        ({"min_speed_mps": 50.0}, "min_speed_mps"),
        ({"lost_window_frames": 0}, "lost_window_frames"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Bounds(**changes)
