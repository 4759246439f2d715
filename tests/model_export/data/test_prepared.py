"""Runs that share a cache: one prepares, the others wait for it, and nobody sees a half."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from model_export.data.prepared import prepared


def test_two_at_once_make_it_once(tmp_path: Path):
    begun, go_on = threading.Event(), threading.Event()
    made: list[Path] = []

    def make(work: Path) -> None:
        made.append(work)
        begun.set()
        assert go_on.wait(10)
        (work / "file").write_text("whole")

    runs = [threading.Thread(target=prepared, args=(tmp_path / "shared", make)) for _ in range(2)]
    runs[0].start()
    assert begun.wait(10)
    runs[1].start()
    runs[1].join(0.2)
    assert runs[1].is_alive()
    assert not (tmp_path / "shared").exists()
    go_on.set()
    for run in runs:
        run.join(10)
    assert len(made) == 1
    assert (tmp_path / "shared" / "file").read_text() == "whole"


def test_files_of_a_killed_run_are_removed(tmp_path: Path):
    def fail(work: Path) -> None:
        (work / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path / "deep" / "shared", fail)
    folder = prepared(tmp_path / "deep" / "shared", lambda work: (work / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_a_folder_that_exists_is_not_made_again(tmp_path: Path):
    prepared(tmp_path / "shared", lambda work: (work / "first").touch())
    folder = prepared(tmp_path / "shared", lambda work: (work / "second").touch())
    assert [path.name for path in folder.iterdir()] == ["first"]
