from __future__ import annotations

import pytest

from steerstream import MediaError
from steerstream.recording import FlightRecorder, topics
from steerstream.recording.reader import Recording, recordings
from steerstream.recording.segment import Segment
from tests.steerstream.recording.drives import drive, driving
from tests.steerstream.sources.test_mcap_records import write


async def record(path, count=3, **options):
    async with FlightRecorder(path, **options) as recorder, driving(recorder) as session:
        await drive(session, count)


async def test_a_folder_holds_recordings_each_with_its_files_in_order(tmp_path):
    for name in ("b", "a"):
        await record(tmp_path / f"{name}.mcap")
    await record(tmp_path / "ring" / "of" / "car")
    found = recordings([tmp_path])
    names = [path.name for recording in found for path in recording.files]
    assert names == ["a.mcap", "b.mcap", "00000001-drive.mcap"]
    assert found[0].name.endswith("a.mcap")
    assert Recording([tmp_path, tmp_path]).name == f"{tmp_path} and 1 more"


def test_parts_are_in_order_whatever_their_files_are_called(tmp_path):
    for name, part in (("a", 10), ("b", 9), ("c", 0)):
        Segment(tmp_path / f"{name}.mcap", stream="s", part=part).close()
    [found] = recordings([tmp_path])
    assert [path.stem for path in found.files] == ["c", "b", "a"]


async def test_what_is_not_ours_in_a_file_is_passed_over(tmp_path, monkeypatch):
    await record(tmp_path / "a.mcap")
    monkeypatch.setattr(topics, "TYPES", {topics.FRAME: topics.TYPES[topics.FRAME]})
    [found] = recordings([tmp_path / "a.mcap"])
    assert {each.topic for each in found.messages()} == {topics.FRAME}


async def test_a_message_that_is_none_is_named(tmp_path):
    segment = Segment(tmp_path / "a.mcap", stream="s", part=0)
    segment.write(topics.FRAME, b"\xff\xff", 1)
    segment.close()
    [found] = recordings([tmp_path])
    with pytest.raises(MediaError, match="a message of /frame is damaged"):
        list(found.messages())


async def test_a_file_that_lost_its_writer_is_named(tmp_path):
    await record(tmp_path / "a.mcap")
    whole = (tmp_path / "a.mcap").read_bytes()
    (tmp_path / "a.mcap").write_bytes(whole[: len(whole) // 2])
    [found] = recordings([tmp_path])
    list(found.messages())
    list(found.messages())
    assert found.cut_off == [tmp_path / "a.mcap"]


def test_a_file_of_somebody_else_is_refused(tmp_path):
    with pytest.raises(MediaError, match="is no flight recording of steerstream"):
        recordings([write(tmp_path / "a.mcap")])


def test_a_folder_without_a_recording_is_refused(tmp_path):
    with pytest.raises(MediaError, match="no recording is in"):
        recordings([tmp_path])
