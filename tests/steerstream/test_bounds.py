from __future__ import annotations

import math

import pytest

from steerstream.bounds import Bounds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_age_ms": math.nan}, "max_age_ms must be finite"),
        ({"max_speed_mps": -1.0}, "max_speed_mps must be finite, 0 or more"),
        ({"max_speed_mps": "45"}, "max_speed_mps must be a number"),
        ({"max_age_ms": 300.0, "max_hold_ms": 200.0}, "max_hold_ms"),
        ({"min_speed_mps": 50.0}, "min_speed_mps"),
        ({"lost_window_frames": 0}, "lost_window_frames"),
        ({"recovery_frames": 2.5}, "recovery_frames must be a whole number"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Bounds(**changes)
