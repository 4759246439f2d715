"""The settings of ONNX Runtime beside each other: every one opens, and answers alike."""

from __future__ import annotations

import os

from benchmark.commands import runtimes


def test_every_setting_is_a_row(bundle_path, monkeypatch, capsys):
    monkeypatch.setattr(runtimes, "_TURNS", 1)
    monkeypatch.setattr(runtimes, "_FRAMES_A_TURN", 1)
    cores = os.sched_getaffinity(0)
    try:
        runtimes.main(["--model", str(bundle_path), "--batches", "1", "2"])
    finally:
        os.sched_setaffinity(0, cores)
    _, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(runtimes._variants())
    assert all(float(row.removesuffix(" |").split(" | ")[-1]) < 1e-5 for row in rows)
