"""Small data folders in the sources' own formats, and one tiny training run."""

from __future__ import annotations

import fcntl
import functools
import math
import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

if find_spec("torch") is None:
    # Without the train extra these modules cannot even be imported.
    collect_ignore_glob = ["*"]
else:
    import torch

    from model_export import config as configs
    from model_export.export.exporter import contract, export, write
    from model_export.networks import DrivingNetwork
    from model_export.run import Result, RunFolder
    from model_export.training.trainer import train
    from tests.model_export.builders import CASES, configured, warmed

    Exported = tuple[Path, configs.Config, DrivingNetwork]

HERE = Path(__file__).parent
FRAME_NS = 50_000_000
SPLITS = ["train"] * 60 + ["validation"] * 20

TINY = """
name = "tiny"
seed = 3

[network]
kind = "pilotnet_lstm"
settings = { features = 8, hidden = 6 }

[heads]
steering_wheel_angle = { mean = 0, scale = 0.3, robust = 0.2, weight = 1, minimum = -8, maximum = 8}
speed = { mean = 10, scale = 5, robust = 4, weight = 0.2, minimum = -1, maximum = 60 }
steering_torque = { mean = 0, scale = 1, robust = 1, weight = 0.2, minimum = -20, maximum = 20 }

[training]
warm_up = 2
evaluate_every = 2

[[stage]]
name = "frames"
steps = 4
window = 1
pass_frames = 1
batch_factor = 2
learning_rate = 1e-3

[[stage]]
name = "sequences"
steps = 5
window = 4
pass_frames = 12
learning_rate = 1e-3
freeze_statistics = true

[[source]]
kind = "udacity_ch2"
batch_size = 2
monitor = 1
[source.augment]
flip = 0.5
shift_m = 0.3
noise = 4
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.train)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


def _write_jpeg(path: Path, width: int = 64, height: int = 48, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), cv2.blur(picture, (9, 9)))


@pytest.fixture
def write_jpeg() -> Callable[..., None]:
    """Write a small picture: path, width, height, seed."""
    return _write_jpeg


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real drive of 80 frames in the layout of the driving data."""
    data = tmp_path_factory.mktemp("data")
    folder = data / "udacity_ch2_hmb3"
    lines = ["frame_id,t_s,filename,steering_angle_rad,block,split"]
    for index, split in enumerate(SPLITS):
        frame_id = 10**18 + index * FRAME_NS
        name = f"frames/{frame_id}.jpg"
        _write_jpeg(folder / name, seed=index)
        angle = 0.3 * math.sin(index / 5)
        lines.append(f"{frame_id},{index / 20},{name},{angle},{index // 20},{split}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return data


@pytest.fixture
def tiny_config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> RunFolder:
    """A finished run of the tiny configuration."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY)
    run = RunFolder(folder / "run")
    train(folder / "tiny.toml", run, small_data, folder / "cache")
    return run


@pytest.fixture
def tiny(tiny_config: Path) -> configs.Config:
    return configs.load(tiny_config)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of exported networks that all processes of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)
    return folder


def _once(path: Path, make: Callable[[Path], object]) -> Path:
    """Let the process that comes first make a file, since that takes seconds."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


@pytest.fixture(scope="module")
def bundle(exports: Path, tiny_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as a bundle, in a folder where a module may leave others beside it."""
    # Each process has the very same run.
    made = _once(exports / "tiny.onnx", lambda path: export(tiny_run, path))
    return Path(shutil.copy(made, tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="session")
def exported(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Export a network by its name in `CASES`, once for all tests."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny.toml").write_text(TINY)
    tiny = configs.load(folder / "tiny.toml")
    result = Result(weights={}, sources=(), scores=(), training_mean=(0.0, 0.0, 0.0))

    @functools.cache
    def made(name: str) -> Exported:
        (config,) = (configured(tiny, kind, given) for case, kind, given in CASES if case == name)
        network, about = warmed(config), functools.partial(contract, config=config, result=result)
        path = _once(
            exports / f"{name}.onnx", lambda path: write(network, about(network, name=name), path)
        )
        return path, config, network

    return made
