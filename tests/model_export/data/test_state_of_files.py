"""What tells the files of a source from others."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from model_export.data.state_of_files import state_of_files
from model_export.errors import DataError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "frames").mkdir(parents=True)
    (folder / "labels.csv").write_text("1")
    (folder / "frames/1.jpg").write_text("picture")
    return folder


def test_any_change_of_a_file_changes_the_state(source: Path, tmp_path: Path):
    states = [state_of_files(source, tmp_path)]
    (source / "frames/2.jpg").write_text("picture")
    states.append(state_of_files(source, tmp_path))
    (source / "frames/2.jpg").rename(source / "frames/3.jpg")
    states.append(state_of_files(source, tmp_path))
    (source / "frames/3.jpg").write_text("another picture")
    states.append(state_of_files(source, tmp_path))
    os.utime(source / "labels.csv", ns=(0, 1))
    states.append(state_of_files(source, tmp_path))
    assert len(set(states)) == len(states)
    assert state_of_files(source, tmp_path) == states[-1]


def test_a_copy_that_keeps_the_times_has_the_same_state(source: Path, tmp_path: Path):
    copy = shutil.copytree(source, tmp_path / "copy")
    assert state_of_files(copy, tmp_path) == state_of_files(source, tmp_path)


def test_the_pictures_beside_a_labels_file_count(source: Path, tmp_path: Path):
    before = state_of_files(source / "labels.csv", tmp_path)
    (source / "frames/1.jpg").write_text("another picture")
    assert state_of_files(source / "labels.csv", tmp_path) != before


def test_runs_and_their_cache_beside_the_data_are_none_of_it(source: Path):
    cache = source / "runs/cache"
    before = state_of_files(source, cache)
    cache.mkdir(parents=True)
    (cache / "frames.u8").write_text("prepared")
    (source / "runs/metrics.jsonl").write_text("{}")
    assert state_of_files(source, cache) == before


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none: No such file"):
        state_of_files(tmp_path / "none", tmp_path)
