"""Latency traces: stated ones have their figures, recorded ones are read as they were."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest

from steerstream import SkipReason
from steerstream.errors import BadRequest, MediaError
from steerstream.recording import FlightRecorder, topics
from steerstream.recording.files import OneFile
from steerstream.recording.track import Track
from steerstream.testing import FakeServer, Reply, Skip
from steerstream.v1 import frame_pb2, recording_pb2
from steerstream_simulation.latency import RecordedLatency, StatedLatency, read_trace
from tests.steerstream.recording.drives import drive, driving, messages

FRAMES, RATE_HZ = 20_000, 20.0


def drawn(**stated: float) -> list[float | None]:
    return StatedLatency(**stated).draw(FRAMES, RATE_HZ, [0, 1])


def answered(**stated: float) -> list[float]:
    return [delay for delay in drawn(**stated) if delay is not None]


def bursts(delays: list[float | None]) -> list[int]:
    groups = itertools.groupby(delays, key=lambda delay: delay is None)
    return [len(list(group)) for is_lost, group in groups if is_lost]


def test_a_constant_delay_is_that_of_every_picture():
    assert set(drawn(delay_ms=150.0)) == {150.0}


def test_jitter_is_spread_evenly_around_the_delay():
    delays = answered(delay_ms=50.0, jitter_ms=30.0)
    assert len(delays) == FRAMES
    assert 20.0 <= min(delays) < 21.0
    assert 79.0 < max(delays) <= 80.0
    assert statistics.mean(delays) == pytest.approx(50.0, abs=0.5)


def test_no_answer_comes_before_its_picture():
    assert min(answered(delay_ms=10.0, jitter_ms=30.0)) == 0.0


@pytest.mark.parametrize(("burst_ms", "frames"), [(0.0, 1 / 0.95), (300.0, 6.0)])
def test_the_share_that_is_lost_and_the_length_of_its_bursts_are_as_stated(burst_ms, frames):
    delays = drawn(delay_ms=50.0, loss=0.05, burst_ms=burst_ms)
    assert delays.count(None) / FRAMES == pytest.approx(0.05, abs=0.012)
    assert statistics.mean(bursts(delays)) == pytest.approx(frames, rel=0.15)


def test_a_seed_draws_the_same_again_and_another_one_draws_otherwise():
    latency = StatedLatency(delay_ms=50.0, jitter_ms=30.0, loss=0.05)
    once, again, other = (latency.draw(100, RATE_HZ, [0, seed]) for seed in (1, 1, 2))
    assert once == again != other


def test_a_table_is_read_with_its_losses(tmp_path):
    table = tmp_path / "link.csv"
    table.write_text("time_s,round_trip_ms\n0,12.5\n0.05,\n0.1,14\n0.15,40\n")
    trace = read_trace(table)
    assert trace == RecordedLatency(name="link.csv", delays=(12.5, None, 14.0, 40.0))
    assert trace.summary() == {
        "trace": "link.csv",
        "pictures": 4,
        "median_ms": 14.0,
        "p99_ms": 40.0,
        "loss": 0.25,
    }


async def test_a_flight_recording_is_read_with_its_round_trips_and_losses(tmp_path):
    path = tmp_path / "drive.mcap"
    fake = FakeServer(
        lambda frame: Skip(SkipReason.LATE) if frame.sequence_number == 1 else Reply()
    )
    async with FlightRecorder(path) as recorder, driving(recorder, fake) as session:
        await drive(session, 3)
    found = [each.message for each in messages(path) if each.topic == topics.VERDICT]
    assert [each.sequence_number for each in found] == [0, 1, 2]
    assert read_trace(path).delays == (found[0].round_trip_ms, None, found[2].round_trip_ms)


def test_a_recorded_trace_is_gone_round_from_a_place_that_the_seed_draws():
    trace = RecordedLatency(name="t", delays=(1.0, None, 3.0))
    delays = trace.draw(7, RATE_HZ, [0, 5])
    assert delays[:3] == delays[3:6]
    assert sorted(delays[:3], key=str) == [1.0, 3.0, None]
    assert {tuple(trace.draw(3, RATE_HZ, [0, seed])) for seed in range(20)} == {
        (1.0, None, 3.0),
        (None, 3.0, 1.0),
        (3.0, 1.0, None),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("delay\n5\n", "no column round_trip_ms"),
        ("round_trip_ms\n5\nsoon\n", "link.csv:3: round_trip_ms is milliseconds"),
        ("round_trip_ms\n-1\n", "link.csv:2: "),
        ("a,round_trip_ms\n1,\n", "has no round trip of an answered picture"),
        ("", "no column round_trip_ms"),
    ],
)
def test_a_table_that_is_no_trace_is_refused(tmp_path, text, problem):
    table = tmp_path / "link.csv"
    table.write_text(text)
    with pytest.raises(MediaError, match=problem):
        read_trace(table)


def test_a_table_of_a_spreadsheet_may_begin_with_its_mark(tmp_path):
    table = tmp_path / "link.csv"
    table.write_text("round_trip_ms\n5\n", encoding="utf-8-sig")
    assert read_trace(table).delays == (5.0,)


@pytest.mark.parametrize("round_trip_ms", [math.nan, -1.0, -math.inf])
def test_a_recording_with_an_impossible_round_trip_is_refused(tmp_path, round_trip_ms):
    with pytest.raises(MediaError, match="is damaged: a round trip of "):
        read_trace(recorded(tmp_path / "drive.mcap", 5.0, round_trip_ms))


def test_an_answer_that_no_drive_would_wait_for_counts_as_lost(tmp_path):
    path = recorded(tmp_path / "drive.mcap", 5.0, 60_000.5, math.inf)
    assert read_trace(path).delays == (5.0, None, None)


def recorded(path, *round_trips_ms):
    """A recording of pictures that were answered after these times."""
    files = OneFile(path)
    track = Track("drive", files)
    for number, round_trip_ms in enumerate(round_trips_ms):
        frame = frame_pb2.Frame(sequence_number=number)
        verdict = recording_pb2.RecordedVerdict(sequence_number=number, round_trip_ms=round_trip_ms)
        track.write([(topics.FRAME, frame), (topics.VERDICT, verdict)], number + 1)
    track.close()
    files.close()
    return path


@pytest.mark.parametrize(
    "stated",
    [
        {"delay_ms": 1e308},
        {"delay_ms": -1.0},
        {"jitter_ms": 1e308},
        {"jitter_ms": math.nan},
        {"loss": 1.0},
        {"loss": math.nan},
        {"loss": 0.1, "burst_ms": math.inf},
    ],
)
def test_a_latency_that_makes_no_sense_is_refused(stated):
    with pytest.raises(BadRequest):
        StatedLatency(**stated)


def test_a_trace_that_is_missing_is_one_error(tmp_path):
    with pytest.raises(MediaError, match=r"none\.csv"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(MediaError, match=r"none\.mcap"):
        read_trace(tmp_path / "none.mcap")
