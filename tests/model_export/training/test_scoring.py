"""What chooses weights, what is reported, and what the notes say of both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from model_export.config import Config
from model_export.data.sources import Source, read_source
from model_export.training.scoring import (
    Judged,
    JudgedSource,
    Predicted,
    choosers,
    monitored,
    scores,
)


@pytest.fixture
def source(tiny: Config, small_data: Path, tmp_path: Path) -> Source:
    held = dataclasses.replace(tiny.source[0], options={"holdout": ["1"]}, monitor=2.0)
    return read_source(held, tiny, small_data, tmp_path)


def said(source: Source, split: str, error: float, stddev: float) -> Judged:
    """What a network with one error everywhere says."""
    recording = getattr(source, split)
    like = np.ones_like(recording.labels)
    return Judged(recording, Predicted(recording.labels + error, stddev * like))


def test_held_out_recordings_choose_and_validation_is_reported(source: Source):
    held, validation = said(source, "holdout", 0.1, 1), said(source, "validation", 0.3, 1)
    judgement = [JudgedSource(source, held, validation)]
    assert monitored(judgement) == pytest.approx(2 * 0.1, rel=1e-5)
    (score,) = scores(judgement, set())
    assert score.rmse == pytest.approx(0.3, rel=1e-5)
    assert score.frames == 20
    assert "no say" in score.note


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_left_out_of_a_score(source: Source, value: float):
    judged = said(source, "validation", 0.3, 1)
    judged.predicted.mean[3] = value
    assert not np.isfinite(judged.rmse(0))
    assert np.isnan(judged.rmse(1)), "it has no label"


def test_without_a_holdout_validation_chooses_and_says_so(tiny: Config, source: Source):
    whole = dataclasses.replace(source, holdout=None)
    judgement = [JudgedSource(whole, None, said(source, "validation", 0.3, 1))]
    assert monitored(judgement) == pytest.approx(2 * 0.3, rel=1e-5)
    chose = choosers(tiny, [whole], ())
    (score,) = scores(judgement, chose)
    assert "also chose" in score.note
    assert choosers(tiny, [source], ()) == set()
    assert choosers(tiny, [source], [score]) == {score.source}
