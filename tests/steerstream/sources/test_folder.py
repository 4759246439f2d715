from __future__ import annotations

import numpy as np
import pytest

from steerstream.sources.folder import open_folder
from steerstream.sources.pictures import decode
from tests.steerstream.sources.made import PERIOD_NS, ids, intervals_ns, write_pictures


def test_a_gap_of_exactly_100_ms_is_none(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 1, 3, 4)])
    assert not any(frame.starts_anew for frame in open_folder(tmp_path).frames())


def test_other_names_come_in_order_at_a_steady_rate(tmp_path):
    write_pictures(tmp_path, ["b.png", "a.png", "c.png"])
    (tmp_path / "notes.txt").write_text("no picture")
    frames = list(open_folder(tmp_path, rate_hz=25.0).frames())
    assert [np.asarray(frame.load())[0, 0, 0] for frame in frames] == [10, 0, 20]
    assert intervals_ns(frames) == [40_000_000, 40_000_000]


def test_numbered_names_come_in_the_order_of_their_numbers(tmp_path):
    names = ["frame_0.png", "frame_1.png", "frame_10.png", "frame_9.png", "frame_100.png"]
    write_pictures(tmp_path, names)
    source = open_folder(tmp_path)
    shades = [int(np.asarray(frame.load())[0, 0, 0]) for frame in source.frames()]
    assert [names[shade // 10] for shade in shades] == [
        "frame_0.png", "frame_1.png", "frame_9.png", "frame_10.png", "frame_100.png",
    ]  # fmt: skip
    assert source.assumed == ("the file names are no times: 20 pictures a second are assumed",)


@pytest.mark.parametrize(
    "names",
    [
        ["1479425441182.jpg", "1479425441232.jpg", "1479425441282.jpg"],
        ["1479425441182877.jpg", "1479425441232877.jpg", "1479425441282877.jpg"],
        ["1479425441.18.jpg", "1479425441.23.jpg", "1479425441.28.jpg"],
    ],
)
def test_names_may_be_times_in_other_units(tmp_path, names):
    write_pictures(tmp_path, names)
    source = open_folder(tmp_path)
    assert (source.rate_hz, source.assumed) == (20.0, ())
    assert intervals_ns(source.frames()) == [PERIOD_NS] * 2


def test_a_slow_recording_has_its_own_rate_and_no_breaks(tmp_path):
    write_pictures(tmp_path, [f"{number}.jpg" for number in ids(0, 4, 8, 12, 24)])
    source = open_folder(tmp_path)
    assert source.rate_hz == pytest.approx(5.0)
    assert [frame.starts_anew for frame in source.frames()] == [False] * 4 + [True]


def test_jpeg_files_are_passed_on_as_they_are(tmp_path):
    write_pictures(tmp_path, ["a.jpg"])
    (frame,) = open_folder(tmp_path).frames()
    assert frame.load() == (tmp_path / "a.jpg").read_bytes()
    assert decode(frame.load()).shape == (24, 32, 3)


def test_hidden_files_are_no_pictures(tmp_path):
    write_pictures(tmp_path, ["1.png", "._1.png", ".2.png"])
    assert open_folder(tmp_path).count == 1
