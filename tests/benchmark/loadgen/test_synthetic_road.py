from __future__ import annotations

from benchmark.loadgen import synthetic_road


def test_pictures_differ_and_repeat_with_their_seed():
    first = synthetic_road.road_pictures(2, width_px=64, height_px=48)
    again = synthetic_road.road_pictures(2, width_px=64, height_px=48)
    assert (first[0] != first[1]).any()
    assert (first[0] == again[0]).all()
    assert synthetic_road.jpegs(first)[0].startswith(b"\xff\xd8")


def test_a_jpeg_has_a_cameras_size():
    (data,) = synthetic_road.jpegs(synthetic_road.road_pictures(1, width_px=640, height_px=480))
    assert 40_000 < len(data) < 80_000
