from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.drive.histogram import HIGHEST_MS, Histogram, merged

DURATIONS = st.lists(st.floats(0, HIGHEST_MS), min_size=1, max_size=200)
BOUNDARIES = sorted(
    {float(edge) for bits in range(32) for edge in (2**bits - 1, 2**bits, 2**bits + 1)}
)
"""In microseconds: where the buckets double their width."""


def is_near(measured_ms, true_ms):
    return -1e-9 <= measured_ms - true_ms <= max(1e-3, true_ms / 1000) + 1e-9


@settings(deadline=None)
@given(DURATIONS, st.floats(0, 100))
def test_a_percentile_is_within_a_thousandth_or_a_microsecond(durations, percent):
    true = float(np.percentile(durations, percent, method="inverted_cdf"))
    assert is_near(Histogram.of(durations).percentile_ms(percent), true)


@settings(deadline=None)
@given(DURATIONS)
def test_one_by_one_and_all_at_once_count_the_same(durations):
    single = Histogram()
    for duration in durations:
        single.add(duration)
    assert single.to_json() == Histogram.of(durations).to_json()


@settings(deadline=None)
@given(DURATIONS, DURATIONS)
def test_merging_is_counting_together(first, second):
    together = merged([Histogram.of(first), Histogram.of(second)])
    assert together.to_json() == Histogram.of([*first, *second]).to_json()
    assert together.count == len(first) + len(second)


@settings(deadline=None)
@given(DURATIONS)
def test_json_keeps_everything(durations):
    histogram = Histogram.of(durations)
    again = Histogram.from_json(json.loads(json.dumps(histogram.to_json(), allow_nan=False)))
    assert again.to_json() == histogram.to_json()
    assert again.summary() == histogram.summary()


@pytest.mark.parametrize("microseconds", BOUNDARIES)
def test_every_edge_of_a_bucket_is_itself(microseconds):
    histogram = Histogram.of([microseconds / 1e3, HIGHEST_MS])
    assert is_near(histogram.percentile_ms(50), microseconds / 1e3)


def test_the_rank_does_not_suffer_from_binary_fractions():
    histogram = Histogram.of([1.0] * 9990 + [2.0] * 10)
    assert histogram.summary()["p99_9"] == pytest.approx(1.0, abs=2e-3)
    assert histogram.summary()["p99_99"] == 2.0


def test_nothing_has_no_percentile():
    assert math.isnan(Histogram().percentile_ms(50))
    assert set(Histogram().summary().values()) == {None}
    assert Histogram.of([]).count == 0


def test_a_duration_above_an_hour_counts_as_an_hour():
    histogram = Histogram.of([1e12])
    histogram.add(2e12)
    assert (histogram.count, histogram.max_ms) == (2, 2e12)
    assert histogram.percentile_ms(50) == pytest.approx(HIGHEST_MS, rel=1e-3)


@pytest.mark.parametrize("wrong", [-1.0, math.nan])
def test_a_negative_or_nan_duration_is_refused(wrong):
    histogram = Histogram()
    with pytest.raises(ValueError, match="zero or more"):
        histogram.add(wrong)
    with pytest.raises(ValueError, match="zero or more"):
        histogram.add_many([1.0, wrong])
    assert histogram.count == 0


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="format"):
        Histogram.from_json({"format": "other", "max_ms": 0.0, "counts": []})
