from __future__ import annotations

import numpy as np
import pytest

from steerstream import MediaError
from steerstream.drive.video import VideoFile
from steerstream.sources.formats import open_recording
from steerstream.sources.options import ReadOptions
from steerstream.sources.video import open_video
from tests.steerstream.drive.mp4 import set_durations
from tests.steerstream.sources.encoded import encoded
from tests.steerstream.sources.made import intervals_ns


def write_video(path, count, rate_hz=20.0):
    with VideoFile(path, rate_hz=rate_hz) as video:
        for index in range(count):
            video.write(np.full((48, 64, 3), 10 * index, np.uint8))


def test_a_video_is_read_by_the_times_of_its_container(tmp_path):
    write_video(tmp_path / "drive.mp4", 6)
    set_durations(tmp_path / "drive.mp4", [1, 2, 1, 1, 9, 1])
    video = open_video(tmp_path / "drive.mp4")
    assert video.count == 6
    for _ in range(2):
        frames = list(video.frames())
        assert intervals_ns(frames) == pytest.approx([5e7, 1e8, 5e7, 5e7, 4.5e8])
        assert [frame.starts_anew for frame in frames] == [False] * 5 + [True]


def test_what_is_no_video_is_refused(tmp_path, capfd):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match=r"cannot read the video .*text\.mp4"):
        open_video(tmp_path / "text.mp4")


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_raw_stream_goes_by_the_rate_that_is_stated_and_else_by_20_hz(tmp_path, codec):
    """OpenCV says 25 of each, whatever it states."""
    path = tmp_path / "video.hevc"
    path.write_bytes(b"".join(encoded(codec, 4)))
    video = open_recording(path, ReadOptions())
    assert video.assumed == ("the video tells no rate: 20 Hz",)
    frames = list(video.frames())
    assert intervals_ns(frames) == [50_000_000] * 3
    assert [np.asarray(frame.load()).mean() for frame in video.frames()] == pytest.approx(
        [20, 50, 80, 110], abs=6
    )
    faster = open_recording(path, ReadOptions(rate_hz=40.0))
    assert (faster.rate_hz, faster.assumed) == (40.0, ())
