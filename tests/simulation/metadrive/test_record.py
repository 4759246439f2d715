from __future__ import annotations

import pytest

from steerstream_simulation.metadrive.record import Pushes


def test_pushes_are_short_go_both_ways_and_repeat():
    times = [number / 20 for number in range(20 * 120)]
    pushes = Pushes(seed=3)
    angles = [pushes.at(time_s) for time_s in times]
    again = Pushes(seed=3)
    assert [again.at(time_s) for time_s in times] == angles
    assert min(angles) < -1.0
    assert max(angles) > 1.0
    assert max(map(abs, angles)) <= 3.0
    pushed = [angle != 0.0 for angle in angles]
    starts = [index for index in range(1, len(pushed)) if pushed[index] > pushed[index - 1]]
    ends = [index for index in range(1, len(pushed)) if pushed[index] < pushed[index - 1]]
    lengths = [(end - start) / 20 for start, end in zip(starts, ends, strict=False)]
    assert 0.3 <= min(lengths) <= max(lengths) <= 1.05
    assert sum(pushed) / len(pushed) == pytest.approx(0.28, abs=0.08)
