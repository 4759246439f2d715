from __future__ import annotations

from pathlib import Path

from benchmark.peers import drive_pictures


def test_rendered_pictures_stand_in_for_a_drive(tmp_path: Path) -> None:
    pictures = drive_pictures.load(tmp_path)
    assert pictures.source.startswith("rendered")
    assert pictures.jpeg.is_jpeg
    assert 25_000 < sum(map(len, pictures.jpeg.pictures)) / drive_pictures.COUNT < 80_000
    assert len(pictures.rgb8.pictures[0]) == 3 * 200 * 66
