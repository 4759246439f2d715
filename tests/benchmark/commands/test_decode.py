"""Ways to the network's input agree, and their benchmark shows all of them."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from benchmark.commands import decode
from benchmark.errors import BenchmarkError
from benchmark.loadgen.synthetic_road import jpegs, road_pictures
from benchmark.programs import decoders
from model_export.evaluation.bundle_runner import BundleRunner
from steerstream_bundle.contract import Crop, FrameInput

FRAME = FrameInput(tensor="frames", height_px=66, width_px=200, crop=Crop(top=0.4, bottom=0.9))


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    decode.add_arguments(parser)
    return parser.parse_args(["--rounds", "1", *arguments])


@pytest.mark.parametrize("name", decoders.ways())
def test_every_way_gives_nearly_what_the_server_makes(name):
    (data,) = jpegs(road_pictures(1, width_px=640, height_px=480))
    found = decoders.ways()[name](data, FRAME)
    assert found.shape == FRAME.shape
    expected = decoders.served(data, FRAME)
    assert np.abs(found.astype(int) - expected).mean() < 8


def test_without_the_data_made_pictures_are_timed(bundle_path, tmp_path):
    results = decode.run(options("--model", str(bundle_path), "--data", str(tmp_path)))
    assert list(results["jpeg"]) == ["made 640x480", "made 320x240"]
    assert results["rmse_rad"] == {}
    text = decode.table(results)
    for name in (*decoders.ways(), "rgb8 640x480", "nv12 320x240"):
        assert f"| {name} |" in text


def test_a_bundle_that_is_none_is_named(tmp_path, capfd):
    with pytest.raises(BenchmarkError, match="not measured"):
        decode.run(options("--model", str(tmp_path / "none.onnx"), "--data", str(tmp_path)))
    assert "none.onnx" in capfd.readouterr().err


@pytest.mark.data
def test_the_real_drive_scores_every_way(bundle_path, data_dir):
    runner = BundleRunner(bundle_path)
    found = decoders.accuracy(runner, data_dir, {"as served": decoders.served})
    assert 0.06 < found["as served"]["320x240"] < 0.09
    assert 0.05 < found["as served"]["640x480"] < 0.08
