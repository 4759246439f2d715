from __future__ import annotations

import json

import pytest

from benchmark.loadgen.tally import STAGES, Tally, total
from benchmark.loadgen.transport import Answer

NS_PER_MS = 1_000_000


def answered(*latencies_ms, budget_ms=50.0, late=0, silent=0):
    tally = Tally(budget_ms=budget_ms, frames=len(latencies_ms) + late + silent)
    command = Answer(0, (0.1, 10.0, 0.5), stages_ms=(7.0, 1.0, 2.0, 3.0))
    for latency_ms in latencies_ms:
        tally.add_answer(command, round(latency_ms * NS_PER_MS), 0)
    for _ in range(late):
        tally.add_answer(Answer(0, None, skipped="LATE"), 0, 0)
    return tally


def test_late_skipped_and_unanswered_frames_are_misses():
    summary = answered(10, 20, 51, late=1, silent=1).summary()
    assert (summary["frames"], summary["commands"], summary["missed"]) == (5, 3, 3)
    assert summary["missed_percent"] == 60.0
    assert summary["misses"] == {"OVER_BUDGET": 1, "UNANSWERED": 1, "LATE": 1}


def test_stages_are_the_servers_own():
    latency = answered(10).summary()["latency_ms"]
    found = [latency[stage]["p50"] for stage in STAGES]
    assert found == pytest.approx([10, 7, 1, 2, 3], rel=1e-3)


def test_a_server_that_tells_no_stages_has_a_round_trip():
    tally = Tally(budget_ms=50.0, frames=1)
    tally.add_answer(Answer(0, (0.1,)), 20 * NS_PER_MS, 0)
    latency = tally.summary()["latency_ms"]
    assert latency["round_trip"]["p50"] == 20
    assert {latency[stage]["p50"] for stage in STAGES[1:]} == {None}


def test_tallies_add_up():
    parts = [answered(10, 60), answered(20, late=2)]
    parts[0].refused["TOO_MANY_SESSIONS"] = 2
    whole = total(parts)
    assert (whole.frames, whole.missed, whole.refused.total()) == (5, 3, 2)
    assert whole.stages["round_trip"].max_ms == 60
    assert whole.skipped == {"LATE": 2}


def test_a_tally_comes_back_whole_from_another_process():
    tally = answered(10, 60, late=2)
    tally.refusal.add(3.0)
    tally.ended["SERVER_DRAINING"] = 1
    tally.client_cpu = 0.25
    again = Tally.from_json(json.loads(json.dumps(tally.to_json())))
    assert again.summary() == tally.summary()
    assert again.to_json() == tally.to_json()
    again.merge(tally)
    assert (again.ended.total(), again.refusal.count, again.frames) == (2, 2, 8)


def test_a_load_without_frames_has_figures_that_json_can_hold():
    summary = Tally(budget_ms=50.0).summary()
    assert summary["missed_percent"] is None
    json.dumps(summary, allow_nan=False)
