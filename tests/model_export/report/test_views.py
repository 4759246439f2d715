"""What views cost is measured on every source, and kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.evaluation import unseen
from model_export.evaluation.evaluate import evaluate
from model_export.report import results

PARTS = {unseen.ROADS: {"validation_roads": 1, "seconds": 1.0}}


def test_both_errors_are_those_of_the_evaluation(
    bundle: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unseen, "PARTS", PARTS)
    options = ["--data", str(small_data), "--root", str(tmp_path), "--cache", str(tmp_path / "c")]
    assert main(["measure", "view", str(bundle), *options]) == 0
    found = results.load(tmp_path, results.VIEW, [bundle])["tiny"]["results"]
    labels = small_data / "udacity_ch2_hmb3" / "labels.csv"
    whole, seen = (
        evaluate(bundle, labels, split="validation", as_views=as_views)
        for as_views in (False, True)
    )
    real, rendered = found["sources"][unseen.REAL], found["sources"][unseen.ROADS]
    angle = real["heads"]["steering_wheel_angle"]
    assert angle["rmse_whole"] == whole.heads()["steering_wheel_angle"].rmse
    assert angle["rmse_view"] == seen.heads()["steering_wheel_angle"].rmse
    assert angle["largest_difference"] == 0, "these pictures are no larger than the view"
    assert real["frame_bytes"] == round(seen.view_bytes or 0)
    assert len(rendered["heads"]) == 3
    assert all(0 < head["largest_difference"] < 1 for head in rendered["heads"].values())
    assert (found["encoding"], found["jpeg_quality"]) == ("JPEG_444", 90)
