"""Drives with other cameras, measured through a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_export.__main__ import main
from model_export.report import lenses, results


def test_every_lens_drives_every_road(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lenses, "LENSES", lenses.LENSES[1:5:3])
    options = ["--roads", "1", "--seconds", "0.5", "--root", str(tmp_path)]
    assert main(["measure", "lenses", str(bundle_path), *options]) == 0
    written = json.loads((tmp_path / results.path_of("lenses", bundle_path)).read_text())
    assert written["command"].endswith("--roads 1 --seconds 0.5")
    straight, bent = written["results"]
    assert (straight["fov_deg"], straight["lens"], straight["distortion"]) == (30.0, "pinhole", [])
    assert (bent["fov_deg"], bent["lens"]) == (60.0, "brown_conrady")
    assert bent["image_size_px"] == [640, 480]
    assert all(one["drives"] == 1 and one["simulated_s"] == 0.5 for one in written["results"])
