"""Labels files: columns that may be absent, breaks, splits, and clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_export.config import HEADS
from model_export.data.labels import read_labels
from model_export.errors import DataError
from steerstream.drive.sources import open_source

FULL = """frame_id,filename,steering_angle_rad,steering_torque_nm,speed_mps,block,split
0,a.jpg,0.1,1.5,10,0,train
50000000,b.jpg,0.2,,11,0,validation
150000001,c.jpg,0.3,1.7,12,1,train
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_heads_come_in_their_order_and_a_missing_value_is_nan(tmp_path: Path):
    table = read_labels(write(tmp_path, FULL))
    np.testing.assert_allclose(table.labels[0], [0.1, 10, 1.5], rtol=1e-6)
    assert np.isnan(table.labels[1, 2])
    assert table.heads == HEADS
    assert table.blocks == ("0", "0", "1")


def test_a_jump_of_over_100_ms_is_a_break(tmp_path: Path):
    assert read_labels(write(tmp_path, FULL)).starts.tolist() == [True, False, True]
    exact = "frame_id\n0\n100000000\n"
    assert read_labels(write(tmp_path, exact)).starts.tolist() == [True, False]


def test_time_that_goes_back_is_a_break(tmp_path: Path):
    assert read_labels(write(tmp_path, "frame_id\n50\n40\n")).starts.tolist() == [True, True]


def test_rows_left_out_of_a_split_are_breaks(tmp_path: Path):
    table = read_labels(write(tmp_path, FULL)).of_split("train")
    assert table.starts.tolist() == [True, True]
    assert [path.name for path in table.images] == ["a.jpg", "c.jpg"]


def test_absent_columns_are_skipped(tmp_path: Path):
    table = read_labels(write(tmp_path, "frame_id,speed_mps\n1,2\n"))
    assert table.heads == ("speed",)
    assert table.images == ()


def test_images_may_lie_elsewhere(tmp_path: Path):
    table = read_labels(write(tmp_path, FULL), images=tmp_path / "else")
    assert table.images[0] == tmp_path / "else" / "a.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,angle\n1,2\n", "needs a column frame_id"),
        ("frame_id\n", "at least one row"),
        ("frame_id\nx\n", "labels.csv:2: frame_id 'x' is no integer"),
        ("frame_id,speed_mps\n1,2\n2,fast\n", "labels.csv:3: .*'fast'"),
    ],
)
def test_an_error_names_the_wrong_row_or_column(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_labels(write(tmp_path, text))


def test_a_missing_file_and_an_unknown_split_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.csv"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no row of split 'test'; the labels file has: train, val"):
        read_labels(write(tmp_path, FULL)).of_split("test")


def test_a_drive_and_an_evaluation_find_the_same_breaks(tmp_path: Path):
    rng = np.random.default_rng(0)
    for period_ms in (30, 50, 100, 250):
        steps_ms = period_ms * rng.choice([0.9, 1.0, 1.1, 1.9, 2.1, 4.0, -1.0], 60)
        times_ns = 10**18 + np.cumsum(steps_ms * 1e6).astype(int)
        splits = rng.choice(["train", "validation"], 60, p=[0.7, 0.3])
        rows = [f"{time},a.jpg,{split}" for time, split in zip(times_ns, splits, strict=True)]
        (tmp_path / "a.jpg").write_bytes(b"never decoded")
        path = write(tmp_path, "\n".join(["frame_id,filename,split", *rows]))
        table = read_labels(path).of_split("train")
        frames = list(open_source(str(tmp_path), labels=path, split="train").frames)
        assert [frame.starts_anew for frame in frames[1:]] == table.starts[1:].tolist()
        assert 0 < table.starts[1:].sum() < 50
