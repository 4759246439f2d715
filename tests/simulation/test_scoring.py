import math

import pytest

from steerstream_simulation.scoring import INTERVENTION_OFFSET_M, Score


def test_autonomy_charges_six_seconds_an_intervention():
    score = Score(0.8)
    for _ in range(60):
        score.add(0.0, 10.0, 1.0)
    assert score.autonomy_percent == 100.0
    score.add(INTERVENTION_OFFSET_M + 0.01, 10.0, 0.0)
    assert score.autonomy_percent == pytest.approx(90.0)


def test_autonomy_is_not_negative():
    score = Score(0.8)
    for _ in range(5):
        assert score.add(2.0, 10.0, 1.0)
    assert score.autonomy_percent == 0.0


def test_a_vehicle_that_is_put_back_while_the_guard_has_let_go_is_one_intervention():
    score = Score(0.8)
    score.release(False)
    score.add(0.0, 10.0, 30.0)
    for _ in range(3):
        score.release(True)
        assert score.add(INTERVENTION_OFFSET_M + 0.01, 10.0, 10.0)
    assert (score.interventions, score.releases) == (1, 1)
    assert score.autonomy_percent == pytest.approx(90.0)
    score.release(False)
    score.add(INTERVENTION_OFFSET_M + 0.01, 10.0, 0.0)
    score.release(True)
    assert (score.interventions, score.releases) == (3, 2)
    assert score.summary()["releases"] == 2


def test_a_departure_counts_once_until_the_vehicle_is_back():
    score = Score(0.8)
    for offset in (0.0, 0.9, 1.0, -0.9, 0.2, -0.81, 0.0):
        assert not score.add(offset, 10.0, 0.5)
    assert score.lane_departures == 2
    assert score.outside_s == pytest.approx(2.0)


def test_errors_are_weighted_by_time():
    score = Score(0.8)
    score.add(0.0, 10.0, 3.0)
    score.add(-0.4, 10.0, 1.0)
    summary = score.summary()
    assert summary["lateral_error_mean_m"] == pytest.approx(0.1)
    assert summary["lateral_error_rms_m"] == pytest.approx(0.2)
    assert summary["lateral_error_max_m"] == pytest.approx(0.4)
    assert summary["distance_m"] == pytest.approx(40.0)


def test_nothing_driven_has_no_autonomy():
    assert math.isnan(Score(0.8).autonomy_percent)
