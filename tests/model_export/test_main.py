"""The command line: one clear line and exit code 2 for what is wrong, 1 for a failed check."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from model_export.__main__ import main
from model_export.run import RunFolder

COMMANDS = {
    "no data": (["train", "--config", "{config}", "--data", "{none}", "--out", "{out}"], "none"),
    "no config": (["train", "--config", "{none}", "--out", "{out}"], "No such file"),
    "bad key": (["train", "--config", "{bad}", "--out", "{out}"], "unknown key 'speed'"),
    "no run": (["export", "{none}", "--out", "{out}"], "no training run"),
    "no bundle": (["evaluate", "{none}", "--labels", "{labels}"], "No such file"),
    "broken bundle": (["evaluate", "{broken}", "--labels", "{labels}"], "not an ONNX model"),
    "health of no run": (["health", "{none}"], "no training run"),
    "verify broken": (["verify", "{broken}", "--run", "{run}"], "not an ONNX model"),
    "no labels": (["evaluate", "{bundle}", "--labels", "{none}"], "cannot be read"),
    "no image": (["evaluate", "{bundle}", "--labels", "{labels}"], "a.jpg: No such file"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_input_is_one_line_and_exit_code_2(
    name: str,
    tmp_path: Path,
    tiny_config: Path,
    tiny_run: RunFolder,
    capsys: pytest.CaptureFixture[str],
):
    bundle = tiny_run.path / "tiny.onnx"
    if not bundle.exists():
        assert main(["export", str(tiny_run.path), "--out", str(bundle)]) == 0
    bad, broken, labels = tmp_path / "bad.toml", tmp_path / "broken.onnx", tmp_path / "labels.csv"
    bad.write_text("speed = 1\n" + tiny_config.read_text())
    broken.write_bytes(b"no model")
    labels.write_text("frame_id,filename,speed_mps\n1,a.jpg,2\n")
    paths = {
        "config": tiny_config, "bad": bad, "none": tmp_path / "none", "out": tmp_path / "out",
        "labels": labels, "broken": broken, "bundle": bundle, "run": tiny_run.path,
    }  # fmt: skip
    arguments, message = COMMANDS[name]
    capsys.readouterr()
    assert main([argument.format(**paths) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("model_export: ")
    assert error.count("\n") == 1
    assert message in error


def test_verify_prints_the_worst_difference_of_every_tensor(
    tiny_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bundle = tmp_path / "b.onnx"
    assert main(["export", str(tiny_run.path), "--out", str(bundle)]) == 0
    torch.set_num_threads(2)
    assert main(["verify", str(bundle), "--run", str(tiny_run.path)]) == 0
    assert torch.get_num_threads() == 1
    output = capsys.readouterr().out
    assert "500 frames of carried state" in output
    assert "steering_wheel_angle" in output


@pytest.mark.parametrize(
    ("command", "does", "said"),
    [
        (
            ["train", "--config", "c.toml", "--out", "run"],
            "model_export.training.hardware.device_named",
            "stopped; the same command goes on from here",
        ),
        (
            ["verify", "b.onnx", "--run", "run"],
            "model_export.export.verify.verify",
            "stopped",
        ),
    ],
)
def test_a_command_that_is_stopped_says_that_it_goes_on_only_where_it_does(
    command: list[str],
    does: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(does, interrupted)
    monkeypatch.setattr("model_export.config.load", lambda _: SimpleNamespace(stage=[]))
    assert main(command) == 130
    assert capsys.readouterr().err == f"model_export: {said}\n"
