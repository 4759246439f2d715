from __future__ import annotations

import pytest

from steerstream import BadRequest, CamerasApart
from steerstream.skew import check_skew

MS = 1_000_000


def test_pictures_up_to_10_ms_apart_have_the_time_of_the_oldest():
    assert check_skew({"left": 15 * MS, "front": 5 * MS, "right": 9 * MS}) == 5 * MS
    assert check_skew({"front": 7}) == 7


def test_pictures_further_apart_are_refused_by_the_names_of_their_cameras():
    with pytest.raises(CamerasApart, match=r"of left was taken 10\.5 ms after that of front"):
        check_skew({"left": 15_500_000, "front": 5 * MS, "right": 9 * MS})
    assert check_skew({"left": 15_500_000, "front": 5 * MS}, max_skew_ms=20) == 5 * MS
    with pytest.raises(BadRequest, match="at least one camera"):
        check_skew({})
