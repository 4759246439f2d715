"""The closed loop on a recording, in this process, for the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.report import results
from tests.model_export.conftest import Exported


@pytest.mark.parametrize(
    ("name", "told"), [("pilotnet_0", [False]), ("pilotnet_lstm_4", [True, False])]
)
def test_every_delay_is_driven_from_every_start(
    exported: Callable[[str], Exported],
    small_data: Path,
    tmp_path: Path,
    name: str,
    told: list[bool],
):
    bundle, *_ = exported(name)
    options = [str(bundle), "--data", str(small_data), "--root", str(tmp_path)]
    assert main(["measure", "pictures", *options]) == 0
    found = json.loads((tmp_path / results.path_of("pictures", bundle)).read_text())["results"]
    delays = [0.0, 50.0, 150.0, 250.0]
    assert [(one["delay_ms"], one["told"]) for one in found] == [
        (delay_ms, is_told) for delay_ms in delays for is_told in told
    ]
    assert all(one["drives"] == 3 and one["simulated_s"] == 3.0 for one in found)


def test_a_recording_that_is_missing_is_one_line(
    exported: Callable[[str], Exported], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bundle, *_ = exported("pilotnet_0")
    assert main(["measure", "pictures", str(bundle), "--data", str(tmp_path)]) == 2
    assert "labels.csv" in capsys.readouterr().err
