from __future__ import annotations

import pytest

from steerstream import MediaError
from steerstream.sources.formats import FORMATS, open_recording
from steerstream.sources.options import ReadOptions
from tests.steerstream.sources.made import write_jpeg


def test_what_no_format_recognises_is_described(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("1.txt", "2.txt", "3.txt", "4.txt", "README"):
        (tmp_path / "a" / name).write_text("some words")
    with pytest.raises(MediaError) as raised:
        open_recording(tmp_path / "a", ReadOptions())
    assert str(raised.value) == (
        f"{tmp_path / 'a'}: no format recognises it; it holds 4 .txt (1.txt, 2.txt, 3.txt, ...);"
        " 1 folders (b); 1 no suffix (README); see --format"
    )
    with pytest.raises(MediaError, match="it begins with b'some words'; see --format"):
        open_recording(tmp_path / "a" / "1.txt", ReadOptions())
    with pytest.raises(MediaError, match=r"there is no .*nosuch"):
        open_recording(tmp_path / "nosuch", ReadOptions())


def test_a_labels_file_is_read_by_itself_and_by_its_folder(tmp_path):
    write_jpeg(tmp_path / "1.jpg")
    (tmp_path / "labels.csv").write_text("frame_id,filename\n5,1.jpg\n")
    for path in (tmp_path, tmp_path / "labels.csv"):
        (frame,) = open_recording(path, ReadOptions()).frames()
        assert frame.capture_time_ns == 5
    (frame,) = open_recording(tmp_path, ReadOptions(), "pictures").frames()
    assert frame.capture_time_ns != 5


@pytest.mark.parametrize("content", [b"", b"\x00", b"#ROSBA", b"\x89MCAP", b"SQLite"])
def test_no_format_takes_a_file_that_only_begins_like_one(tmp_path, content):
    path = tmp_path / "some.bin"
    path.write_bytes(content)
    assert not [name for name, one in FORMATS.items() if one.recognises(path)]


def test_one_picture_or_none_or_another_log_is_told_what_to_give(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.png").write_bytes(b"\x89PNG")
    log = tmp_path / "driving_log.csv"
    log.write_text("center,angle\na.jpg,0.1\n")
    columns = "driving_log.csv is without the columns left, right, steering"
    for path, said in (
        (tmp_path / "empty", "the folder holds no pictures"),
        (tmp_path / "one.png", f"is one picture; give the folder of the pictures, {tmp_path}"),
        (log, columns),
    ):
        with pytest.raises(MediaError) as raised:
            open_recording(path, ReadOptions())
        assert str(raised.value).startswith(f"{path}: {said}")
    (tmp_path / "one.png").unlink()
    with pytest.raises(MediaError, match=columns):
        open_recording(tmp_path, ReadOptions())
