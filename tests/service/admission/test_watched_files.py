"""Files are read again when they change, and what cannot be used changes nothing."""

from __future__ import annotations

import logging
import threading

import pytest

from steerstream_service.admission import watched_files
from steerstream_service.admission.watched_files import WatchedFiles
from steerstream_service.config import read_file
from steerstream_service.errors import ConfigError


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setattr(watched_files, "_LOOK_AGAIN_S", 0.0)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("1")
    return first, second


def pair(paths):
    """The number in both files, which must be the same."""
    first, second = (read_file(path).decode() for path in paths)
    if first != second:
        raise ConfigError(f"{first} is not {second}")
    return int(first)


def watched(paths):
    return WatchedFiles("pair", paths, lambda: pair(paths), lambda number: {"number": number})


def events(caplog):
    return [record.message for record in caplog.records]


def test_a_change_is_seen_without_a_restart(paths, caplog):
    caplog.set_level(logging.INFO)
    files = watched(paths)
    assert files.content == 1
    for path in paths:
        path.write_text("22")
    assert files.content == 22
    assert events(caplog) == ["pair_read"]


def test_files_that_do_not_fit_together_change_nothing_and_are_logged_once(paths, caplog):
    caplog.set_level(logging.INFO)
    files = watched(paths)
    for half in ("2", "22", "222"):
        paths[0].write_text(half)
        assert files.content == files.content == 1
    paths[0].unlink()
    assert files.content == 1
    assert events(caplog) == ["pair_not_read"]
    for path in paths:
        path.write_text("3")
    assert files.content == 3
    assert events(caplog) == ["pair_not_read", "pair_read"]


def test_files_that_cannot_be_used_at_the_start_are_refused(paths):
    paths[0].write_text("2")
    with pytest.raises(ConfigError, match="2 is not 1"):
        watched(paths)


def test_between_two_looks_the_files_are_not_touched(paths, monkeypatch):
    monkeypatch.setattr(watched_files, "_LOOK_AGAIN_S", 3600.0)
    files = watched(paths)
    for path in paths:
        path.write_text("2")
    assert files.content == 1


def test_threads_that_ask_at_once_read_a_change_once(paths):
    reads = []

    def read():
        reads.append(threading.get_ident())
        return len(reads)

    files = WatchedFiles("count", paths, read, lambda count: {"count": count})
    paths[0].write_text("22")
    threads = [threading.Thread(target=lambda: files.content) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 2
