from __future__ import annotations

from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.report import results, speed


def test_every_bundle_and_batch_has_its_milliseconds(bundle: Path, tmp_path: Path):
    options = ["--rounds", "2", "--root", str(tmp_path)]
    assert main(["measure", "speed", str(bundle), *options]) == 0
    found = results.load(tmp_path, results.SPEED, [bundle])["tiny"]
    assert found["command"] == "python -m model_export measure speed models/tiny.onnx --rounds 2"
    for batch in speed.BATCHES:
        times = found["results"][f"batch_{batch}_ms"]
        assert 0 < times["least"] <= times["median"] <= times["most"]


@pytest.mark.parametrize("what", ["speed", "accuracy"])
def test_a_bundle_that_is_none_is_refused(what: str, tmp_path: Path, capsys):
    assert main(["measure", what, str(tmp_path / "none.onnx"), "--root", str(tmp_path)]) == 2
    assert "none.onnx: No such file" in capsys.readouterr().err
