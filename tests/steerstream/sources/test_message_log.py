from __future__ import annotations

from types import SimpleNamespace

import pytest

from steerstream import MediaError
from steerstream.sources.message_log import open_log
from steerstream.sources.options import ReadOptions

JPEG = b"\xff\xd8 a picture"
MS = 1_000_000


class MadeLog:
    """A log of a camera, and of reports in two topics."""

    name = "log"

    def __init__(self, topics, *, camera_ms=(), report_stamp=1):
        self.topics = topics
        self._camera_ms, self._report_stamp = camera_ms, report_stamp

    def read(self, topics):
        for time_ms in self._camera_ms:
            for name in topics:
                message = SimpleNamespace(
                    timestamp=SimpleNamespace(sec=0, nsec=time_ms * MS), data=JPEG
                )
                if self.topics[name].endswith("Report"):
                    message.timestamp.nsec *= self._report_stamp
                    message.steering_wheel_angle = 0.5
                yield name, (time_ms + 3) * MS, lambda message=message: message


CAMERA = {"/front": "foxglove.CompressedImage"}


def test_a_log_without_pictures_says_what_it_has():
    with pytest.raises(MediaError, match=r"log: has no topic of pictures; it has: /a \(B\)"):
        open_log(MadeLog({"/a": "B"}), ReadOptions())
    with pytest.raises(MediaError, match="it has: nothing"):
        open_log(MadeLog({}), ReadOptions())


def test_a_camera_without_a_message_is_refused():
    with pytest.raises(MediaError, match="log: has no message of /front"):
        open_log(MadeLog(CAMERA), ReadOptions())


def test_several_reports_need_a_choice():
    topics = {**CAMERA, "/a": "x_msgs/SteeringReport", "/b": "x_msgs/SteeringReport"}
    with pytest.raises(MediaError, match="give one of these as --steering: /a, /b"):
        open_log(MadeLog(topics, camera_ms=[1]), ReadOptions())


def test_reports_without_stamps_put_all_on_the_clock_of_the_recording():
    topics = {**CAMERA, "/a": "x_msgs/SteeringReport"}
    for report_stamp, first_ns in ((1, 10 * MS), (0, 13 * MS)):
        log = MadeLog(topics, camera_ms=[10, 60], report_stamp=report_stamp)
        recording = open_log(log, ReadOptions())
        frames = list(recording.frames())
        assert frames[0].capture_time_ns == first_ns
        assert frames[0].truth.steering_wheel_angle_rad == 0.5
        assert bool(recording.assumed) is (report_stamp == 0)


def test_a_flight_recording_says_that_its_pictures_may_be_cut_already():
    topics = CAMERA | {"/session": "steerstream.v1.RecordedSession"}
    said = open_log(MadeLog(topics, camera_ms=[0, 50]), ReadOptions()).assumed
    assert any("`steerstream replay` steps them as they were" in line for line in said)
    assert not any("replay" in line for line in
        open_log(MadeLog(CAMERA, camera_ms=[0, 50]), ReadOptions()).assumed)  # fmt: skip
