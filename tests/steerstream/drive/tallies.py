"""A tally of a few frames."""

from __future__ import annotations

from steerstream import Action, ControlValues, SkipReason
from steerstream.drive.tally import Tally
from tests.steerstream.values import command, skipped


def filled() -> Tally:
    tally = Tally(budget_ms=50.0)
    truth = ControlValues(steering_wheel_angle_rad=0.3)
    for number, (angle, latency_ms) in enumerate([(0.3, 8.0), (0.1, 60.0), (0.5, 20.0)]):
        tally.sent()
        values = ControlValues(angle, 10.0, 0.0)
        answer = command(number, 0, received_ms=latency_ms, raw=values, limited=values)
        tally.answered(answer, due_ns=0, truth=truth, action=Action.FOLLOW)
    tally.sent()
    late = skipped(3, 0, SkipReason.LATE)
    tally.answered(late, due_ns=0, truth=truth, action=Action.HOLD)
    tally.sent()
    return tally
