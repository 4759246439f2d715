from __future__ import annotations

import pytest
from mcap.reader import make_reader

from steerstream.recording import topics
from steerstream.recording.segment import Segment
from steerstream.v1 import session_pb2
from tests.steerstream.recording.drives import records

RESET = session_pb2.Reset().SerializeToString()


@pytest.fixture
def segment(tmp_path):
    return Segment(tmp_path / "a.mcap", stream="s", part=2)


def test_a_file_that_was_closed_is_read_by_those_that_seek(segment):
    for time_ns in range(5):
        segment.write(topics.RESET, RESET, time_ns)
    segment.close()
    with segment.path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        found = [
            (channel.topic, message.log_time, message.sequence)
            for _, channel, message in reader.iter_messages()
        ]
        assert reader.get_header().profile == "steerstream"
    assert found == [(topics.RESET, time_ns, time_ns + 1) for time_ns in range(5)]


def test_what_was_flushed_is_in_the_file_and_nothing_of_what_was_not(segment):
    segment.write(topics.RESET, RESET, 1)
    assert records(segment.path) == ([], True)
    segment.flush()
    segment.write(topics.RESET, RESET, 2)
    found, is_cut_off = records(segment.path)
    assert is_cut_off
    assert [record.message.log_time for record in found] == [1]
    segment.abandon()
    segment.abandon()
    assert len(records(segment.path)[0]) == 1


@pytest.mark.parametrize("flush_every", [1, 7, 1000])
@pytest.mark.parametrize("size", [0, 100, 70_000])
def test_the_size_that_is_told_is_never_less_than_that_of_the_file(segment, size, flush_every):
    for number in range(60):
        segment.write(topics.NOTICE, bytes(size), number)
        if number % flush_every == 0:
            segment.flush()
    told = segment.size_bytes
    segment.close()
    real = segment.path.stat().st_size
    assert real <= told <= real + 60_000 + 60 * 1100


def test_a_file_that_cannot_be_written_raises_and_is_closed(tmp_path):
    with pytest.raises(FileNotFoundError):
        Segment(tmp_path / "missing" / "a.mcap", stream="s", part=0)


def test_a_full_disk_raises_and_leaves_what_was_written(segment, full_disk):
    segment.write(topics.NOTICE, bytes(100), 1)
    segment.write(topics.NOTICE, bytes(30_000), 2)
    with full_disk, pytest.raises(OSError, match="File too large"):
        segment.flush()
    segment.abandon()
    found, is_cut_off = records(segment.path)
    assert is_cut_off
    assert found == []
