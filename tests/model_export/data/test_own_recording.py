"""Training from a recording of one's own: a tub, and a folder with splits."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from model_export.config import Config, FrameConfig, SourceConfig
from model_export.data import own_recording
from model_export.data.sources import read_source
from model_export.errors import ConfigError, DataError
from tests.steerstream.sources.made import write_jpeg
from tests.steerstream.sources.test_donkeycar import record, write_tub

FRAME = FrameConfig().contract()


def options(**changes: object) -> dict[str, object]:
    return {**own_recording.OPTIONS, "path": "tub", **changes}


def test_the_last_tenth_of_a_tub_is_for_validation(tiny: Config, tmp_path: Path):
    write_tub(tmp_path / "tub", [record(index) for index in range(20)])
    chosen = {"path": "tub", "max_angle_deg": 180.0}
    config = SourceConfig(kind="recording", batch_size=1, options=chosen)
    source = read_source(config, tiny, tmp_path, tmp_path / "cache")
    angles = np.concatenate([source.train.labels, source.validation.labels])[:, 0]
    np.testing.assert_allclose(angles, -0.1 * np.arange(20) * math.pi, atol=1e-6)
    assert (len(source.train.labels), len(source.validation.labels)) == (18, 2)
    assert source.heads == ("steering_wheel_angle",)
    wrong = dataclasses.replace(config, options={"pth": "tub"})
    with pytest.raises(ConfigError, match="no option 'pth'"):
        read_source(wrong, tiny, tmp_path, tmp_path / "cache")


def test_splits_that_a_recording_names_are_kept(tmp_path: Path):
    rows = ["frame_id,filename,steering_angle_rad,split"]
    for index, split in enumerate(["validation", "train", "train", "test"]):
        write_jpeg(tmp_path / "tub" / f"{index}.jpg")
        rows.append(f"{50_000_000 * index},{index}.jpg,0.{index},{split}")
    (tmp_path / "tub" / "labels.csv").write_text("\n".join(rows))
    train = list(own_recording.read(tmp_path, "train", FRAME, options()))
    assert [float(sample.labels[0]) for sample in train] == pytest.approx([0.1, 0.2])
    validation = list(own_recording.read(tmp_path, "validation", FRAME, options()))
    assert [float(sample.labels[0]) for sample in validation] == [0.0]
    assert train[0].picture.shape == (24, 32, 3)


def test_what_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="needs an option path"):
        list(own_recording.read(tmp_path, "train", FRAME, options(path="")))
    with pytest.raises(DataError, match=r"there is no .*tub"):
        list(own_recording.read(tmp_path, "train", FRAME, options()))
    write_tub(tmp_path / "tub", [record(index) for index in range(2)])
    (tmp_path / "tub/images/0_cam_image_array_.jpg").write_bytes(b"\xff\xd8 damaged")
    with pytest.raises(DataError, match=r"catalog_0\.catalog:1: "):
        list(own_recording.read(tmp_path, "train", FRAME, options()))
