from __future__ import annotations

from pathlib import Path

import pytest

from steerstream.sources.file_names import natural, time_ns, times_ns

TIME_NS = 1_479_425_441_182_877_835


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("1479425441182877835", TIME_NS),
        ("1479425441182877", 1_479_425_441_182_877_000),
        ("1479425441182", 1_479_425_441_182_000_000),
        ("1479425441.182", 1_479_425_441_182_000_000),
        ("1479425441.182877835", TIME_NS),
        ("center_2016_12_01_13_30_48_287", 1_480_599_048_287_000_000),
        ("center_2016_13_01_13_30_48_287", None),
        ("frame_1479425441182877835", None),
        ("1479425441", None),
        ("17", None),
    ],
)
def test_a_name_may_be_a_time(name, found):
    assert time_ns(name) == found


def test_names_are_times_where_all_are_and_go_forward():
    later = TIME_NS + 1
    assert times_ns([Path(f"{TIME_NS}.jpg"), Path(f"{later}.jpg")]) == [TIME_NS, later]
    assert times_ns([Path(f"{TIME_NS}.jpg"), Path("cover.jpg")]) is None
    assert times_ns([Path(f"{TIME_NS}.jpg"), Path(f"{TIME_NS}.png")]) is None


def test_numbers_within_names_count_as_numbers():
    names = ["10.jpg", "9.jpg", "a10b2.jpg", "a10b1.jpg", "a9.jpg"]
    assert sorted(names, key=natural) == ["9.jpg", "10.jpg", "a9.jpg", "a10b1.jpg", "a10b2.jpg"]
