"""A file is there whole, or as it was before."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys

import pytest

from steerstream import whole_file


def test_a_file_takes_the_old_ones_place(tmp_path):
    path = tmp_path / "new folder" / "file"
    for text in ("first", "second"):
        whole_file.write_text(path, text)
        assert path.read_text() == text
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_after_an_error_the_old_file_is_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with contextlib.suppress(ZeroDivisionError), whole_file.replacing(path) as part:
        part.write_text("half")
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("target")
    whole_file.write_bytes(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"content"


def test_a_device_is_written_directly(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        whole_file.write_text(tmp_path / "pipe", "content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)


def test_a_pipe_behind_dev_stdout_is_written_directly():
    script = (
        "from pathlib import Path; from steerstream import whole_file;"
        "path = Path('/dev/stdout');"
        "whole_file.check_writable(path); whole_file.write_text(path, 'content')"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert done.stdout == b"content"


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        whole_file.write_text(tmp_path / "file" / "below", "text")


def test_json_has_no_number_that_json_lacks(tmp_path):
    path = tmp_path / "file.json"
    whole_file.write_json(path, {"a": [1.5, math.nan, (-math.inf, True)], "b": None})
    assert json.loads(path.read_text()) == {"a": [1.5, None, [None, True]], "b": None}


def test_the_longest_name_that_a_folder_takes_is_written(tmp_path):
    path = tmp_path / ("x" * 255)
    whole_file.check_writable(path)
    whole_file.write_text(path, "text")
    assert path.read_text() == "text"


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(tmp_path, full_disk):
    path = tmp_path / "file"
    path.write_text("old")
    with full_disk, pytest.raises(OSError, match=rf"'{path}'"):
        whole_file.write_text(path, "x" * 10_000_000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_checked_without_a_trace(tmp_path):
    (tmp_path / "file").write_text("old")
    for path in (tmp_path / "file", tmp_path / "new", tmp_path / "new folder" / "new"):
        whole_file.check_writable(path)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("name", ["", "file/below", "x" * 256])
def test_a_file_that_could_not_be_written_is_found_out_before(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=rf"'{tmp_path / name}'"):
        whole_file.check_writable(tmp_path / name)
    with pytest.raises(OSError, match=r"file|directory"):
        whole_file.write_text(tmp_path / name, "text")
