from __future__ import annotations

import pytest

from steerstream import ControlValues, MediaError
from steerstream.drive.labels import Label, read_labels

HEADER = "frame_id,t_s,filename,steering_angle_rad,block,split\n"


def write(folder, text: str):
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_rows_are_read_in_order_and_absent_heads_are_not_labelled(tmp_path):
    path = write(
        tmp_path, HEADER + "5,0.0,frames/5.jpg,-0.1,0,train\n6,0.1,frames/6.jpg,,0,train\n"
    )
    assert read_labels(path) == [
        Label(5, "frames/5.jpg", ControlValues(steering_wheel_angle_rad=-0.1)),
        Label(6, "frames/6.jpg", ControlValues()),
    ]


def test_all_three_heads_are_read(tmp_path):
    path = write(
        tmp_path,
        "frame_id,filename,steering_angle_rad,steering_torque_nm,speed_mps\n1,a.jpg,0.1,0.2,3.0\n",
    )
    assert read_labels(path)[0].truth == ControlValues(0.1, 3.0, 0.2)


def test_a_split_keeps_its_rows(tmp_path):
    path = write(tmp_path, HEADER + "5,0,a.jpg,0,0,train\n6,0,b.jpg,0,1,validation\n")
    assert [label.frame_id for label in read_labels(path, split="validation")] == [6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no rows"),
        ("", "no rows"),
        ("frame_id,t_s\n5,0\n", "no column 'filename'"),
        (HEADER + "x,0,a.jpg,0,0,train\n", "no number"),
        (HEADER + "5,0,a.jpg,left,0,train\n", "no number"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(MediaError, match=message):
        read_labels(write(tmp_path, text))


def test_a_split_without_rows_and_a_file_that_is_not_there_are_refused(tmp_path):
    path = write(tmp_path, HEADER + "5,0,a.jpg,0,0,train\n")
    with pytest.raises(MediaError, match="no rows whose split is 'test'"):
        read_labels(path, split="test")
    with pytest.raises(MediaError, match="cannot read the labels file"):
        read_labels(tmp_path / "nosuch.csv")
