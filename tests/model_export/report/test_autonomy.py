"""Drives of the unseen roads through a real server, with stated delays."""

from __future__ import annotations

import hashlib
import json

from model_export.__main__ import main


def test_every_delay_is_driven_and_kept(bundle_path, tmp_path, capsys):
    result = tmp_path / "figures" / "autonomy.json"
    options = ["--roads", "1", "--seconds", "1", "--delay-ms", "0", "150", "--json", str(result)]
    assert main(["measure", "autonomy", "--model", str(bundle_path), *options]) == 0
    report = json.loads(result.read_text())
    assert [drive["delay_ms"] for drive in report["results"]] == [0.0, 150.0]
    assert [drive["commands"] for drive in report["results"]] == [20, 20]
    assert report["command"].endswith("--delay-ms 0 150 --roads 1 --seconds 1")
    assert report["bundle_sha256"] == hashlib.sha256(bundle_path.read_bytes()).hexdigest()
    assert str(tmp_path) not in report["command"]
    printed = capsys.readouterr().out
    assert "a command acts 150 ms after its picture" in printed
    assert printed.count("| 0 | 100 % |") == 2


def test_a_bundle_that_is_none_is_named_in_one_line(tmp_path, capsys):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    assert main(["measure", "autonomy", "--model", str(broken)]) == 2
    # Its contract says in which precision it is driven, so it is read before a server starts.
    line = capsys.readouterr().err
    assert line.startswith(f"model_export: {broken}: not an ONNX model")
    assert line.count("\n") == 1
    assert main(["measure", "autonomy", "--model", str(tmp_path / "none.onnx")]) == 2
    assert "No such file" in capsys.readouterr().err
