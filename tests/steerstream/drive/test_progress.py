from __future__ import annotations

from steerstream import ControlValues
from steerstream.drive.progress import progress_line
from steerstream.progress import bar
from tests.steerstream.drive.tallies import filled
from tests.steerstream.values import command, skipped


def test_progress_tells_how_far_and_the_newest_answer():
    truth = ControlValues(steering_wheel_angle_rad=0.1)
    line = progress_line(filled(), command(4, 0), truth, 10, 2.0)
    assert line.startswith(f"{bar(5, 10)} 5/10    2.0 s")
    assert "truth" in line
    assert "VALID" in line
    assert "skipped 1" in line
    assert "skipped: LATE" in progress_line(filled(), skipped(4, 0), None, None, 2.0)
