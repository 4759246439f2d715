from __future__ import annotations

from pathlib import Path

from benchmark.loadgen.picture_set import PictureSet, unpack


def test_pictures_keep_their_bytes_and_size_through_a_file(tmp_path: Path) -> None:
    pictures = PictureSet(width_px=2, height_px=1, pictures=(b"abcdef", b"ghijkl"))
    pictures.save(tmp_path / "pictures.npz")
    again = PictureSet.load(tmp_path / "pictures.npz")
    assert again == pictures
    width, height, data = unpack(memoryview(again.packed()[1]))
    assert (width, height, bytes(data)) == (2, 1, b"ghijkl")
