from __future__ import annotations

import numpy as np
import pytest

from steerstream import ControlValues, MediaError
from steerstream.sources.formats import open_recording
from steerstream.sources.labels_folder import LabelsFolder
from steerstream.sources.options import ReadOptions
from steerstream.sources.pictures import decode
from steerstream.sources.recording import RecordedFrame
from tests.steerstream.sources.made import picture, truths

JPEG = b"\xff\xd8 a picture"


def written(folder, *frames):
    with LabelsFolder(folder) as writer:
        for frame in frames:
            writer.add(frame)
    return list(open_recording(folder, ReadOptions()).frames())


def test_what_is_written_is_read_again(tmp_path):
    truth = ControlValues(0.1 + 0.2, speed_mps=1e-9)
    frames = [
        RecordedFrame(lambda: JPEG, 5, truth, block="a", split="train"),
        RecordedFrame(lambda: JPEG, 9_000_000, None),
    ]
    found = written(tmp_path / "out", *frames)
    assert truths(found) == [truth, ControlValues()]
    assert [frame.capture_time_ns for frame in found] == [5, 9_000_000]
    assert [(frame.block, frame.split) for frame in found] == [("a", "train"), ("", "")]
    assert found[0].load() == JPEG


def test_pixels_become_jpeg_files_that_look_the_same(tmp_path):
    (frame,) = written(tmp_path / "out", RecordedFrame(picture, 5))
    assert np.abs(decode(frame.load()).astype(int) - picture()).mean() < 2


def test_two_drives_may_have_a_picture_at_the_same_time(tmp_path):
    frames = [RecordedFrame(lambda: JPEG, time_ns) for time_ns in (5_000_000, 10**9, 5_000_000)]
    found = written(tmp_path / "out", *frames)
    assert len({frame.place for frame in found}) == 3
    names = sorted(path.name for path in (tmp_path / "out" / "frames").iterdir())
    assert names == ["1000000000.jpg", "5000000-2.jpg", "5000000.jpg"]


def test_a_picture_with_a_name_that_no_file_can_have_is_refused(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "labels.csv").write_text(f"frame_id,filename\n1000000000,{'x' * 5000}\n")
    with pytest.raises(MediaError, match="has no picture xxx"):
        open_recording(tmp_path, ReadOptions())
