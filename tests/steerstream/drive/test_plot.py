from __future__ import annotations

import cv2
import numpy as np
import pytest

from steerstream import ControlValues
from steerstream.drive.plot import SteeringPlot
from steerstream.errors import OutputLost
from tests.steerstream.values import command, skipped


def drawn(plot):
    (axes,) = plot.draw().axes
    return {line.get_label(): line for line in axes.lines}


def filled(path, count=6, *, truth=None, broken_at=None):
    plot = SteeringPlot(path, "pilotnet on drive")
    for number in reversed(range(count)):
        plot.add(
            command(number, 50.0 * number, raw=ControlValues(0.1 * number)),
            time_s=number / 20,
            starts_anew=number == broken_at,
            truth=truth,
        )
    return plot


def test_predicted_and_recorded_steering_stand_over_the_same_time(tmp_path):
    lines = drawn(filled(tmp_path / "a.png", truth=ControlValues(0.3)))
    assert lines["predicted"].get_xdata() == pytest.approx(np.arange(6) / 20)
    assert lines["predicted"].get_ydata() == pytest.approx(np.arange(6) / 10)
    assert lines["recorded"].get_ydata() == pytest.approx([0.3] * 6)


def test_without_labels_there_is_no_recorded_curve(tmp_path):
    assert "recorded" not in drawn(filled(tmp_path / "a.png", truth=ControlValues(speed_mps=3)))


def test_curves_are_interrupted_at_breaks_and_where_no_command_came(tmp_path):
    plot = filled(tmp_path / "a.png", broken_at=3)
    plot.add(skipped(6, 300.0), time_s=0.3, starts_anew=False, truth=None)
    predicted = drawn(plot)["predicted"].get_ydata()
    assert np.flatnonzero(np.isnan(predicted)).tolist() == [3, 7]
    assert "break: the state begins again" in drawn(plot)


def test_the_file_is_a_picture(tmp_path):
    path = tmp_path / "new" / "a.png"
    filled(path).save()
    assert cv2.imread(str(path)).shape == (450, 1200, 3)


def test_a_file_that_cannot_be_written_is_lost(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputLost, match="cannot write"):
        filled(tmp_path / "file" / "a.png").save()
