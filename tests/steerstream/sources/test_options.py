from __future__ import annotations

import pytest

from steerstream import MediaError
from steerstream.sources.options import BadRows, ReadOptions


def test_the_first_bad_row_is_refused():
    with pytest.raises(MediaError, match=r"data\.txt:7: no number: 'x'"):
        BadRows().found("data.txt:7", "no number", "'x'")
    with pytest.raises(MediaError, match=r"data\.txt:7: no record$"):
        BadRows().found("data.txt:7", "no record")


def test_skipped_rows_are_counted_by_kind_and_the_first_is_named():
    rows = BadRows(skip=True)
    assert rows.summary() == ()
    rows.found("a:1", "no record")
    rows.found("a:2", "no such picture", "x.jpg")
    rows.found("a:3", "no such picture", "y.jpg")
    assert rows.summary() == (
        "skipped 2 rows: no such picture (first a:2)",
        "skipped 1 rows: no record (first a:1)",
    )


def test_steering_becomes_an_angle_where_the_greatest_is_known():
    assert ReadOptions().normalised(0.5) is None
    assert ReadOptions(max_angle_rad=4.0).normalised(0.5) == 2.0
    assert ReadOptions(max_angle_rad=4.0, flip_steering=True).normalised(0.5) == -2.0
    assert ReadOptions(flip_steering=True).wheel_rad(0.5) == -0.5
    assert ReadOptions(max_angle_rad=4.0).unit_unknown == ()
