"""A device that is not there is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_export.__main__ import main
from model_export.errors import ProcessError
from model_export.training.hardware import device_named


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Let torch see so many GPUs."""
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_without_a_gpu_the_processor_trains(gpus):
    gpus(0)
    assert device_named("auto") == device_named("cpu") == torch.device("cpu")


def test_a_gpu_that_is_asked_for_and_not_there_is_one_line(
    gpus, tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    gpus(0)
    command = ["train", "--config", str(tiny_config), "--out", str(tmp_path / "run")]
    assert main([*command, "--device", "cuda"]) == 2
    assert capsys.readouterr().err == (
        "model_export: torch sees no GPU: install its CUDA build, or train with --device cpu\n"
    )
    assert not (tmp_path / "run").exists()


def test_more_processes_than_gpus_are_refused_in_all(gpus, monkeypatch: pytest.MonkeyPatch):
    gpus(2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        with pytest.raises(ProcessError, match="at most 2 on this machine"):
            device_named("auto")
