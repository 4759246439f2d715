from __future__ import annotations

import pytest

from steerstream import MediaError
from steerstream.sources.tables import find_picture, header, number, read_fields, read_rows


def write(folder, content):
    path = folder / "table.csv"
    path.write_bytes(content)
    return path


def test_rows_know_their_lines(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n3,4\r\n")
    assert list(read_rows(path, ("a",))) == [(2, {"a": "1", "b": "2"}), (4, {"a": "3", "b": "4"})]
    assert next(iter(read_fields(path))) == (1, ["a", "b"])
    assert header(path) == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_what_is_no_text_has_no_header(tmp_path, content):
    assert header(write(tmp_path, content)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2,3\n", r"table\.csv:2: needs 2 fields, as the header has"),
        (b"a,b\n", r"table\.csv:1: needs at least one row"),
        (b"a,a\n1,2\n", r"table\.csv:1: has two columns a"),
        (b"b\n1\n", r"table\.csv:1: needs a column a; its columns are: b"),
        (b"a\n\xff\n", r"table\.csv:2: is not UTF-8"),
        (b'a\n"1\n', r"table\.csv:2: cannot be read as a CSV file"),
    ],
)
def test_a_bad_table_is_refused_by_its_line(tmp_path, content, message):
    with pytest.raises(MediaError, match=message):
        list(read_rows(write(tmp_path, content), ("a",)))


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "0,5"])
def test_what_is_no_finite_number_is_named(text):
    with pytest.raises(ValueError, match=f"speed '{text}' is no number"):
        number(text, "speed")
    assert number(" -1.5e1 ", "speed") == -15.0


def test_pictures_are_found_by_their_path_or_its_last_part(tmp_path):
    (tmp_path / "IMG").mkdir()
    (tmp_path / "IMG" / "a.jpg").write_bytes(b"")
    found = tmp_path / "IMG" / "a.jpg"
    folders = (tmp_path, tmp_path / "IMG")
    for name in ("IMG/a.jpg", " /home/me/a.jpg", r"C:\Users\Me\IMG\a.jpg", "a.jpg"):
        assert find_picture(folders, name) == found
    assert find_picture(folders, "b.jpg") is None
