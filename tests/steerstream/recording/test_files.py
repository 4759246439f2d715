from __future__ import annotations

import contextlib
import os
import shutil
import stat

import pytest

from steerstream import MediaError
from steerstream.recording import topics
from steerstream.recording.files import OneFile, Ring

LEAST = 8 * (1 << 18)


def fill(ring, count, size=150_000):
    for number in range(count):
        segment = ring.begin("car/7 ü", stream="s", part=number)
        segment.write(topics.NOTICE, bytes(size), number)
        segment.close()
        ring.ended(segment)


def total(folder):
    return sum(path.stat().st_size for path in folder.glob("*.mcap") if path.is_file())


def test_a_ring_keeps_its_bound_and_the_newest_files(tmp_path):
    ring = Ring(tmp_path, LEAST)
    for _ in range(30):
        fill(ring, 1)
        assert total(tmp_path) <= LEAST
    names = sorted(path.name for path in tmp_path.glob("*.mcap"))
    assert names[-1] == "00000030-car_7__.mcap"
    assert 4 <= len(names) < 12


def test_a_ring_goes_on_from_the_files_that_lie_there_and_leaves_others_alone(tmp_path):
    (tmp_path / "holiday.mcap").write_bytes(bytes(LEAST))
    ring = Ring(tmp_path, LEAST)
    fill(ring, 3)
    ring.close()
    again = Ring(tmp_path, LEAST)
    fill(again, 20)
    assert (tmp_path / "holiday.mcap").exists()
    names = sorted(path.name for path in tmp_path.glob("0*.mcap"))
    assert names[-1].startswith("00000023-")
    assert "00000001-car_7__.mcap" not in names


def test_a_ring_has_room_for_all_that_may_be_open(tmp_path):
    ring = Ring(tmp_path, 4 * LEAST, most_open=4)
    opened = []
    for _ in range(8):
        for number in range(4):
            segment = ring.begin("car", stream=str(number), part=0)
            segment.write(topics.NOTICE, bytes(ring.segment_bytes - 70_000), 1)
            opened.append(segment)
        with pytest.raises(OSError, match="4 files are open already"):
            ring.begin("car", stream="5", part=0)
        assert total(tmp_path) <= 4 * LEAST
        while opened:
            segment = opened.pop()
            segment.close()
            ring.ended(segment)
        assert total(tmp_path) <= 4 * LEAST


def test_a_file_that_somebody_deleted_is_no_loss(tmp_path):
    ring = Ring(tmp_path, LEAST)
    fill(ring, 5)
    for path in tmp_path.glob("*.mcap"):
        path.unlink()
    fill(ring, 10)
    assert total(tmp_path) <= LEAST


def test_a_folder_with_the_name_of_a_file_does_not_stop_a_ring(tmp_path):
    (tmp_path / "00000001-car.mcap").mkdir()
    ring = Ring(tmp_path, LEAST)
    fill(ring, 20)
    assert total(tmp_path) <= LEAST


def test_a_file_that_cannot_be_looked_at_any_more_is_no_loss(tmp_path):
    ring = Ring(tmp_path / "ring", LEAST)
    segment = ring.begin("car", stream="1", part=0)
    (tmp_path / "ring").rename(tmp_path / "away")
    (tmp_path / "ring").write_text("a file")
    segment.close()
    ring.ended(segment)


def test_a_ring_whose_folder_was_removed_is_made_again_and_keeps_others_out(tmp_path):
    folder = tmp_path / "ring"
    ring = Ring(folder, 2 * LEAST, most_open=2)
    fill(ring, 3)
    open_before = ring.begin("car/7 ü", stream="s", part=0)
    shutil.rmtree(folder)
    fill(ring, 1)
    with pytest.raises(MediaError, match="another recorder"):
        Ring(folder, LEAST)
    open_before.abandon()
    ring.ended(open_before)
    assert [path.name for path in folder.glob("*.mcap")] == ["00000005-car_7__.mcap"]
    ring.close()
    Ring(folder, LEAST).close()


def test_a_ring_does_not_write_into_a_folder_that_another_recorder_made_again(tmp_path):
    ring = Ring(tmp_path / "ring", LEAST)
    shutil.rmtree(tmp_path / "ring")
    other = Ring(tmp_path / "ring", LEAST)
    with pytest.raises(OSError, match="another recorder"):
        fill(ring, 1)
    other.close()
    fill(ring, 1)


def test_a_file_that_could_not_be_begun_is_removed(tmp_path, monkeypatch):
    ring = Ring(tmp_path, LEAST)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            fill(ring, 1)
    assert list(tmp_path.glob("*.mcap")) == []
    fill(ring, 1)


def test_a_bound_that_holds_no_files_is_refused(tmp_path):
    with pytest.raises(MediaError, match="needs at least 2,097,152 bytes"):
        Ring(tmp_path, LEAST - 8)


def test_two_recorders_do_not_share_a_folder_or_a_file(tmp_path):
    ring = Ring(tmp_path / "ring", LEAST)
    with pytest.raises(MediaError, match="another recorder writes to"):
        Ring(tmp_path / "ring", LEAST)
    ring.close()
    Ring(tmp_path / "ring", LEAST).close()
    one = OneFile(tmp_path / "a.mcap")
    with pytest.raises(MediaError, match="another recorder writes to"):
        OneFile(tmp_path / "a.mcap")
    one.close()
    OneFile(tmp_path / "a.mcap").close()


@contextlib.contextmanager
def _nobody():
    """Root writes everywhere, so be somebody else."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(
    "kind", [lambda path: OneFile(path / "a.mcap"), lambda path: Ring(path, LEAST)]
)
def test_a_folder_that_may_not_be_written_is_refused(tmp_path, kind):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with _nobody(), pytest.raises(MediaError, match=r"cannot record to .*: Permission denied"):
        kind(tmp_path)


@pytest.mark.parametrize(
    "kind", [lambda path: OneFile(path / "a.mcap"), lambda path: Ring(path / "ring", LEAST)]
)
def test_what_lies_in_the_way_is_named(tmp_path, kind):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match=r"cannot record to .*: (Not a directory|File exists)"):
        kind(tmp_path / "file")


def test_missing_folders_are_made_and_an_older_file_is_kept_until_the_first_frame(tmp_path):
    path = tmp_path / "a" / "b.mcap"
    path.parent.mkdir()
    path.write_bytes(b"older")
    files = OneFile(path)
    assert path.read_bytes() == b"older"
    files.begin("car", stream="s", part=0).close()
    assert path.read_bytes().startswith(b"\x89MCAP0")
