from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.histogram import Histogram


@settings(deadline=None)
@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=200), st.floats(0, 100))
def test_a_percentile_is_within_one_percent(durations, percent):
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    true = np.percentile(durations, percent, method="inverted_cdf")
    assert histogram.percentile_ms(percent) == pytest.approx(true, rel=0.0101)


def test_nothing_has_no_percentile():
    assert all(math.isnan(value) for value in Histogram().summary().values())


def test_what_lies_outside_counts_at_the_edge():
    histogram = Histogram()
    histogram.add(0.0)
    histogram.add(1e12)
    assert histogram.count == 2
    assert histogram.max_ms == 1e12
