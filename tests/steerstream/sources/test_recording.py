from __future__ import annotations

import dataclasses

import pytest

from steerstream import MediaError
from steerstream.sources.recording import RecordedFrame, of_frames

MS = 1_000_000


def recording(*times_ms, splits=None):
    splits = splits or [""] * len(times_ms)
    frames = [
        RecordedFrame(lambda: b"", time_ms * MS, split=split)
        for time_ms, split in zip(times_ms, splits, strict=True)
    ]
    return of_frames("log", frames)


def starts(recording):
    return [frame.starts_anew for frame in recording.frames()]


def test_gaps_and_times_that_go_back_are_breaks():
    assert starts(recording(0, 50, 100, 250, 300, 200)) == [False] * 3 + [True, False, True]


def test_a_recording_may_be_read_again():
    found = recording(0, 50, 300)
    assert starts(found) == starts(found) == [False, False, True]


def test_a_break_among_frames_of_another_split_counts_for_the_next_frame():
    found = recording(0, 50, 100, 150, splits=["a", "b", "a", "a"])
    another_drive = [
        dataclasses.replace(frame, starts_anew=index == 1)
        for index, frame in enumerate(found.read())
    ]
    chosen = of_frames("log", another_drive).of_split("a")
    assert starts(chosen) == [False, True, False]
    assert chosen.count == 3


def test_a_split_that_no_frame_has_is_refused():
    with pytest.raises(MediaError, match="log: no row of split 'c'; it has: a, b"):
        recording(0, 50, splits=["a", "b"]).of_split("c")
    with pytest.raises(MediaError, match="log: no row of split 'c'; it has: none"):
        recording(0, 50).of_split("c")


def test_no_frames_are_refused():
    with pytest.raises(MediaError, match="log: has no frame"):
        of_frames("log", [])


def test_the_rate_is_that_of_most_frames():
    assert recording(0, 50, 100, 10_000).rate_hz == 20.0
    assert recording(0).rate_hz == 20.0
