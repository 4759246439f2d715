"""What is counted of a guard, by a clock that the test moves."""

from __future__ import annotations

import math

from steerstream import Action, GuardReason, SafeCommand
from steerstream_simulation.guard_count import GuardCount, GuardTimes
from steerstream_simulation.scoring import Score


class Counted:
    """Tells a count of one safe command after the other."""

    def __init__(self) -> None:
        self.now_s = 5.0
        self.score, self.times = Score(0.9), GuardTimes()
        self.count = GuardCount(
            self.score, self.times, max_hold_ms=1000.0, clock=lambda: round(self.now_s * 1e9)
        )

    def told(self, action: Action, *reasons: GuardReason, seconds: float) -> None:
        self.count.told(SafeCommand(action, None, None, None, math.inf, reasons))
        self.now_s += seconds


def test_each_command_counts_until_the_next_and_the_last_one_until_the_end():
    drive = Counted()
    drive.told(Action.FOLLOW, seconds=0.5)
    drive.told(Action.FOLLOW, GuardReason.PREDICTED, seconds=0.25)
    drive.told(Action.HOLD, GuardReason.TOO_OLD, seconds=0.125)
    drive.told(Action.RELEASE, GuardReason.TOO_OLD, seconds=2.0)
    assert drive.times == GuardTimes(followed_s=0.5, predicted_s=0.25, held_s=0.125)
    drive.count.end()
    drive.count.end()
    assert drive.times.released_s == 2.0


def test_each_stretch_of_release_is_one_intervention():
    drive = Counted()
    for action in (Action.FOLLOW, Action.RELEASE, Action.RELEASE, Action.FOLLOW, Action.RELEASE):
        drive.told(action, seconds=0.25)
    assert (drive.score.interventions, drive.score.releases) == (2, 2)


def test_the_wait_for_the_first_command_counts_once_it_is_longer_than_a_command_is_held():
    drive = Counted()
    drive.told(Action.RELEASE, GuardReason.NO_COMMAND, seconds=1.0)
    drive.told(Action.RELEASE, GuardReason.NO_COMMAND, seconds=0.5)
    assert (drive.score.releases, drive.times.released_s) == (0, 0.0)
    drive.told(Action.RELEASE, GuardReason.NO_COMMAND, seconds=0.25)
    drive.count.end()
    assert (drive.score.releases, drive.times.released_s) == (1, 0.25)
