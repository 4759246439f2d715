from __future__ import annotations

import pytest

from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.tally import Tally
from benchmark.peers import phases


def test_refused_and_ended_sessions_count_as_offered():
    pictures = PictureSet(pictures=())
    load = Load(vehicles=2, rate_hz=20.0, seconds=1.0, budget_ms=50.0, pictures=pictures)
    tally = Tally(budget_ms=50.0, frames=20, commands=20, over_budget=1, opened=1)
    tally.refusal.add(2.0)
    found = phases.paced_figures(tally, load)
    assert (found["admitted"], found["offered_fps"], found["goodput_fps"]) == (1, 40.0, 19.0)
    assert found["admitted_in_time_percent"] == 95.0
    assert found["in_time_percent"] == 47.5
    assert found["refused_p99_ms"] == pytest.approx(2.0)


def test_a_load_without_answers_has_figures():
    pictures = PictureSet(pictures=())
    load = Load(vehicles=1, rate_hz=20.0, seconds=1.0, budget_ms=50.0, pictures=pictures)
    found = phases.paced_figures(Tally(budget_ms=50.0), load)
    assert (found["p50_ms"], found["p99_ms"], found["refused_p99_ms"]) == (0.0, 0.0, 0.0)
    assert (found["missed_percent"], found["admitted_in_time_percent"]) == (100.0, 0.0)
