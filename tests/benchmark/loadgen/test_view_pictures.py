"""The view that a real server declares, as its vehicles send it."""

from __future__ import annotations

import pytest

from benchmark.loadgen import synthetic_road, view_pictures
from benchmark.loadgen.drive_rpc import image_fields
from benchmark.loadgen.picture_set import PictureSet
from steerstream.v1 import frame_pb2


@pytest.mark.parametrize("encoding", ["jpeg", "rgb8"])
def test_each_picture_becomes_a_frame_of_the_view_and_keeps_so_through_a_file(
    server, tmp_path, encoding
):
    whole = synthetic_road.picture_set(encoding, 640, 480)
    seen = view_pictures.seen(server.address, whole)
    assert len(seen.pictures) == len(whole.pictures)
    assert not seen.is_jpeg
    frame = frame_pb2.Frame.FromString(image_fields(seen)[0])
    assert (frame.view_applied.source_width_px, frame.view_applied.source_height_px) == (640, 480)
    assert sum(map(len, seen.pictures)) < sum(map(len, whole.pictures))
    seen.save(tmp_path / "seen.npz")
    assert PictureSet.load(tmp_path / "seen.npz") == seen
