"""Every bundle is made smaller in every way, and what it would cost and gain is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.evaluation import unseen
from model_export.export.reduced_precision.verdict import PRECISIONS
from model_export.report import results


def test_every_precision_is_judged_and_nothing_is_left(
    bundle: Path, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unseen, "PARTS", {})
    options = ["--data", str(small_data), "--root", str(tmp_path)]
    assert main(["measure", "optimized", str(bundle), *options]) == 0
    found = results.load(tmp_path, results.OPTIMIZED, [bundle])["tiny"]
    assert found["command"] == "python -m model_export measure optimized models/tiny.onnx"
    assert [one["precision"] for one in found["results"]] == list(PRECISIONS)
    for one in found["results"]:
        assert (one["verdict"] == "accepted") == (not one["reasons"])
        assert 0.4 < one["rmse_ratio"][unseen.REAL]["steering_wheel_angle"] < 2.5
        assert one[one["precision"]]["size_bytes"] < one["fp32"]["size_bytes"]
    assert [path.suffix for path in tmp_path.rglob("*.*")] == [".json"]
