from __future__ import annotations

import pytest

from steerstream import Action
from steerstream.drive.tally import Tally
from tests.steerstream.drive.tallies import filled
from tests.steerstream.values import command


def test_a_tally_counts_every_frame_once():
    tally = filled()
    assert (tally.frames, tally.commands, tally.unanswered) == (5, 3, 1)
    assert tally.skips == {"LATE": 1}
    # One late, one skipped, one without an answer.
    assert tally.over_budget == 3


def test_latency_counts_from_when_a_frame_was_due():
    tally = Tally(50.0)
    answer = command(0, sent_ms=30.0, received_ms=40.0)
    assert tally.answered(answer, due_ns=10_000_000, truth=None, action=Action.FOLLOW) == 30.0


def test_errors_are_counted_for_labelled_heads_alone():
    error = filled().heads["steering_wheel_angle"]
    assert error.frames == 3
    assert error.rmse == pytest.approx((0.08 / 3) ** 0.5)
    assert error.mae == pytest.approx(0.4 / 3)
    assert error.rmse_zero == pytest.approx(0.3)
    assert filled().heads["speed"].frames == 0
