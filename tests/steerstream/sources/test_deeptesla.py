from __future__ import annotations

import math

import numpy as np
import pytest

from steerstream import MediaError
from steerstream.sources.formats import open_recording
from steerstream.sources.options import BadRows, ReadOptions
from tests.steerstream.sources.made import angles, intervals_ns

av = pytest.importorskip("av")

FIRST_US = 1_464_305_394_391_807


def write_epoch(folder, number, rows, pictures=3):
    with av.open(str(folder / f"epoch{number:02}_front.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30, width=64, height=48, pix_fmt="yuv420p")
        for index in range(pictures):
            shade = np.full((48, 64, 3), 40 + 60 * (index % 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode(None))
    lines = ["ts_micro,frame_index,wheel", *rows]
    (folder / f"epoch{number:02}_steering.csv").write_text("\n".join(lines) + "\n")


def rows(*wheels, first=0):
    return [
        f"{FIRST_US + index * 33_333},{first + index},{wheel}" for index, wheel in enumerate(wheels)
    ]


@pytest.mark.parametrize("first", [0, 1])
def test_pictures_have_the_times_and_angles_of_their_rows(tmp_path, first):
    write_epoch(tmp_path, 1, rows(-2.5, 0.0, 90.0, first=first))
    for path in (tmp_path, tmp_path / "epoch01_front.mkv", tmp_path / "epoch01_steering.csv"):
        recording = open_recording(path, ReadOptions())
        assert recording.count == 3
        frames = list(recording.frames())
        assert frames[0].capture_time_ns == FIRST_US * 1_000
        assert intervals_ns(frames) == [33_333_000] * 2
        assert angles(frames) == pytest.approx([math.radians(2.5), 0.0, -math.pi / 2])
    shades = [np.asarray(frame.load()).mean() for frame in recording.frames()]
    assert shades == pytest.approx([40, 100, 160], abs=8)


def test_pictures_without_a_row_are_left_out_and_a_gap_is_a_break(tmp_path):
    write_epoch(tmp_path, 1, [*rows(1.0, 1.0), f"{FIRST_US + 10**6},5,1.0"], pictures=6)
    frames = list(open_recording(tmp_path, ReadOptions()).frames())
    assert [frame.starts_anew for frame in frames] == [False, False, True]


def test_several_epochs_need_a_name(tmp_path):
    write_epoch(tmp_path, 1, rows(0.0))
    write_epoch(tmp_path, 10, rows(0.0, 0.0))
    with pytest.raises(MediaError, match="give one epoch as --camera; it has: epoch01, epoch10"):
        open_recording(tmp_path, ReadOptions())
    assert open_recording(tmp_path, ReadOptions(camera="epoch10")).count == 2


def test_a_bad_row_is_refused_or_skipped(tmp_path):
    write_epoch(tmp_path, 1, [*rows(0.0), f"{FIRST_US + 33_333},1,left"])
    with pytest.raises(MediaError, match=r"steering\.csv:3: a value is wrong: wheel 'left' is no"):
        open_recording(tmp_path, ReadOptions())
    assert open_recording(tmp_path, ReadOptions(bad_rows=BadRows(skip=True))).count == 1
    write_epoch(tmp_path, 1, [f"{FIRST_US},first,1.0"])
    with pytest.raises(MediaError, match=r"steering\.csv: has no row"):
        open_recording(tmp_path, ReadOptions(bad_rows=BadRows(skip=True)))
