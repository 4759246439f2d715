"""Which frames are lost: as many as asked for, the same ones again, and never a drive's first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_export.data.labels import LabelTable, read_labels
from model_export.errors import DataError, OptionError
from model_export.evaluation.frame_loss import FrameLoss

MS = 1_000_000


def table_of(tmp_path: Path, times_ms: np.ndarray) -> LabelTable:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["frame_id", *(str(int(time * MS)) for time in times_ms)]) + "\n")
    return read_labels(path)


@pytest.fixture
def table(tmp_path: Path) -> LabelTable:
    """Two drives of 1,000 frames at 20 Hz, each time up to 8 ms off its tick."""
    ticks = np.concatenate([np.arange(1000), np.arange(1010, 2010)]) * 50
    return table_of(tmp_path, 1000 + ticks + np.random.default_rng(1).uniform(-8, 8, 2000))


def test_nothing_is_lost_unless_asked_for(table: LabelTable):
    assert not FrameLoss()
    assert FrameLoss().shown(table).all()
    assert FrameLoss(rate_hz=20).shown(table).all()


@pytest.mark.parametrize("drop", [0.1, 0.3, 0.9])
def test_as_many_are_lost_as_asked_for(table: LabelTable, drop: float):
    shown = FrameLoss(drop=drop, seed=3).shown(table)
    assert shown.mean() == pytest.approx(1 - drop, abs=0.03)
    np.testing.assert_array_equal(shown, FrameLoss(drop=drop, seed=3).shown(table))
    assert (shown != FrameLoss(drop=drop, seed=4).shown(table)).any()


def test_the_first_frame_of_each_drive_is_always_shown(table: LabelTable):
    assert np.flatnonzero(table.starts).tolist() == [0, 1000]
    for seed in range(20):
        assert FrameLoss(drop=0.9, rate_hz=5, seed=seed).shown(table)[table.starts].all()


@pytest.mark.parametrize("rate_hz", [10, 5, 4])
def test_a_rate_that_divides_the_recording_s_shows_every_nth(table: LabelTable, rate_hz: int):
    rows = np.flatnonzero(FrameLoss(rate_hz=rate_hz).shown(table))
    every = 20 // rate_hz
    expected = [*range(0, 1000, every), *range(1000, 2000, every)]
    assert rows.tolist() == expected


def test_any_other_rate_comes_as_near_as_it_can(table: LabelTable):
    shown = FrameLoss(rate_hz=15).shown(table)
    assert shown.mean() == pytest.approx(0.75, abs=0.01)
    gaps_ms = np.diff(table.frame_ids[shown]) / MS
    assert gaps_ms[gaps_ms < 200].max() < 120


def test_both_act_together(table: LabelTable):
    both = FrameLoss(drop=0.3, rate_hz=10).shown(table)
    assert not (both & ~FrameLoss(rate_hz=10).shown(table)).any()
    assert both.mean() == pytest.approx(0.35, abs=0.03)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"drop": -0.1}, "--drop must be from 0 to 0.9, is -0.1"),
        ({"drop": 0.91}, "--drop must be from 0 to 0.9"),
        ({"drop": float("nan")}, "--drop must be from 0 to 0.9"),
        ({"rate_hz": 0.0}, "--rate must be above 0 Hz"),
        ({"rate_hz": float("nan")}, "--rate must be above 0 Hz"),
        ({"seed": -1}, "--seed must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], text: str):
    with pytest.raises(OptionError, match=text):
        FrameLoss(**options)


def test_no_more_frames_than_were_recorded(table: LabelTable, tmp_path: Path):
    with pytest.raises(DataError, match=r"at most the recording's 20\.\d Hz, is 25"):
        FrameLoss(rate_hz=25).shown(table)
    with pytest.raises(DataError, match="frames follow each other"):
        FrameLoss(rate_hz=5).shown(table_of(tmp_path, np.array([1000.0, 500.0, 0.0])))
