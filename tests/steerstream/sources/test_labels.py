from __future__ import annotations

import pytest

from steerstream import ControlValues, MediaError
from steerstream.sources.labels import Label, is_break, read_labels

AT, LATER = 1_000_000_000, 1_050_000_000
HEADER = "frame_id,t_s,filename,steering_angle_rad,block,split\n"


def write(folder, text: str):
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_rows_are_read_in_order_and_absent_heads_are_not_labelled(tmp_path):
    path = write(
        tmp_path,
        HEADER + f"{AT},0.0,frames/5.jpg,-0.1,0,train\n{LATER},0.1,frames/6.jpg,,0,train\n",
    )
    assert read_labels(path).rows == [
        Label(AT, "frames/5.jpg", ControlValues(steering_wheel_angle_rad=-0.1), "0", "train"),
        Label(LATER, "frames/6.jpg", ControlValues(), "0", "train"),
    ]


def test_all_three_heads_are_read(tmp_path):
    path = write(
        tmp_path,
        "frame_id,filename,steering_angle_rad,steering_torque_nm,speed_mps\n1,a.jpg,0.1,0.2,3.0\n",
    )
    assert read_labels(path).rows[0].truth == ControlValues(0.1, 3.0, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, r"labels\.csv:1: needs at least one row"),
        ("", r"labels\.csv:1: needs a column frame_id; its columns are: none"),
        ("frame_id,speed_mps,speed_mps\n5,1,2\n", r"labels\.csv:1: has two columns speed_mps"),
        (HEADER + '5,0,"a.jpg,1,0,train\n', r"labels\.csv:2: cannot be read as a CSV file"),
        ("frame_id;filename\n5;a.jpg\n", "needs a column frame_id; its columns are: frame_id;f"),
        (HEADER + "x,0,a.jpg,0,0,train\n", r"labels\.csv:2: frame_id 'x' is no integer"),
        (HEADER + "1.5e18,0,a.jpg,0,0,train\n", r":2: frame_id '1\.5e18' is no integer"),
        (HEADER + "-5,0,a.jpg,0,0,train\n", ":2: frame_id -5 is no time in nanoseconds"),
        (HEADER + f"{2**63},0,a.jpg,0,0,train\n", ":2: .* from 0 to 2.63 - 1"),
        (HEADER + "5,0,a.jpg,left,0,train\n", ":2: steering_angle_rad 'left' is no number"),
        (HEADER + "5,0,a.jpg,nan,0,train\n", ":2: steering_angle_rad is nan; leave the field"),
        (HEADER + "5,0,a.jpg,-inf,0,train\n", ":2: steering_angle_rad is -inf; leave"),
        (HEADER + "5,0,,1,0,train\n", ":2: filename is empty"),
        (HEADER + "5,0,a.jpg,1,0\n", ":2: needs 6 fields, as the header has"),
        (HEADER + "5,0,a.jpg,1,0,train,7\n", ":2: needs 6 fields, as the header has"),
        (HEADER + "\n5,0,a.jpg,1,0,train\n5,0,b.jpg,1,0,train\n", ":4: frame_id 5 stands in"),
        ("frame_id\n1000\n51000\n", r"labels\.csv:3: .* 50000 ns after .* in nanoseconds"),
        (
            "frame_id\n0\n9000000000\n9000000001\n9000000002\n",
            r"labels\.csv:4: .* 1 ns after the row before",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(MediaError, match=message):
        read_labels(write(tmp_path, text))


def test_a_split_keeps_its_rows(tmp_path):
    path = write(tmp_path, HEADER + f"{AT},0,a.jpg,0,0,train\n{LATER},0,b.jpg,0,1,validation\n")
    assert [label.frame_id for label in read_labels(path).of_split("validation").rows] == [LATER]


def test_blocks_keep_their_rows(tmp_path):
    rows = "".join(f"{AT + at * 50_000_000},0,{at}.jpg,0,{at},train\n" for at in range(4))
    labels = read_labels(write(tmp_path, HEADER + rows))
    assert [label.block for label in labels.of_blocks(["3", "1"]).rows] == ["1", "3"]
    with pytest.raises(MediaError, match="no row of block '4'; there are: 0, 1, 2, 3"):
        labels.of_blocks(["1", "4"])


def test_a_split_without_rows_and_a_file_that_is_not_there_are_refused(tmp_path):
    labels = read_labels(write(tmp_path, HEADER + "5,0,a.jpg,0,0,train\n"))
    with pytest.raises(MediaError, match="no row of split 'test'; the labels file has: train"):
        labels.of_split("test")
    with pytest.raises(MediaError, match="cannot be read: No such file"):
        read_labels(tmp_path / "nosuch.csv")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = write(tmp_path, "\ufeffframe_id,speed_mps\r\n5,3.0\r\n")
    assert read_labels(path).rows == [Label(5, "", ControlValues(speed_mps=3.0))]


@pytest.mark.parametrize(("encoding", "line"), [("utf-16", 1), ("latin-1", 2)])
def test_another_encoding_is_named_with_the_line(tmp_path, encoding, line):
    path = tmp_path / "labels.csv"
    path.write_bytes("frame_id,filename\n5,Straße.jpg\n".encode(encoding))
    with pytest.raises(MediaError, match=rf"labels\.csv:{line}: is not UTF-8"):
        read_labels(path)


@pytest.mark.parametrize(
    ("step_ms", "period_ms", "broken"),
    [(50, 50, False), (100, 50, False), (101, 50, True), (0, 50, True), (-50, 50, True),
     (200, 100, False), (201, 100, True), (400, 200, False)],
)  # fmt: skip
def test_a_break_is_over_100_ms_and_over_two_periods_or_time_that_does_not_go_on(
    step_ms, period_ms, broken
):
    assert is_break(step_ms * 1_000_000, period_ms * 1e6) is broken
