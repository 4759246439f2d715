"""A server that stands still, and the arithmetic of how soon it recovers."""

from __future__ import annotations

from benchmark.__main__ import main
from benchmark.commands import stall
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.transport import Answer
from steerstream.command_line import CANNOT_START
from tests.benchmark.test_main import FRAMES, run

PERIOD_NS = 50_000_000
END_NS = 1_000_000_007
WINDOWS = 20


def load(vehicles):
    return Load(
        vehicles=vehicles,
        rate_hz=20.0,
        seconds=1.0,
        budget_ms=50.0,
        pictures=PictureSet(pictures=(b"",)),
    )


def dues(*, vehicles=2, missed=()):
    """When frames were due that were in time: all but those of a vehicle in some windows."""
    return [
        END_NS + window * PERIOD_NS + vehicle * PERIOD_NS // vehicles
        for vehicle in range(vehicles)
        for window in range(-5, WINDOWS)
        if (vehicle, window) not in missed
    ]


def recovered_ms(in_time, vehicles=2):
    return stall.recovery(in_time, END_NS, load(vehicles), windows=WINDOWS)


def test_a_server_that_misses_nothing_after_the_stall_recovers_at_once():
    assert recovered_ms(dues()) == 0.0


def test_misses_before_the_stalls_end_are_not_counted():
    assert recovered_ms(dues(missed={(0, -1), (1, -2)})) == 0.0


def test_one_missed_frame_of_one_vehicle_makes_its_window_count():
    assert recovered_ms(dues(missed={(1, 0)})) == 50.0
    assert recovered_ms(dues(missed={(0, 0), (1, 3)})) == 200.0


def test_ten_windows_in_a_row_must_be_in_time():
    late = WINDOWS - stall.SETTLED_WINDOWS
    assert recovered_ms(dues(missed={(0, late - 1)})) == 50.0 * late
    assert recovered_ms(dues(missed={(0, late)})) == 0.0
    assert recovered_ms(dues(missed={(0, late - 1), (0, late)})) is None


def test_a_vehicle_whose_session_ended_keeps_the_server_from_having_recovered():
    assert recovered_ms(dues(vehicles=2), vehicles=3) is None


def test_median_and_largest_are_of_all_stalls():
    found = stall.summary([0.0, 100.0, 50.0])
    assert (found["median_ms"], found["largest_ms"], found["not_recovered"]) == (50.0, 100.0, 0)


def test_a_stall_without_recovery_is_the_largest():
    found = stall.summary([0.0, None, 50.0])
    assert (found["median_ms"], found["largest_ms"], found["not_recovered"]) == (50.0, None, 1)
    assert stall.summary([None, 0.0])["median_ms"] is None


def test_a_timeline_keeps_the_frames_that_were_in_time():
    timeline = stall.Timeline(budget_ms=50.0)
    timeline.add_answer(Answer(0, (0.0,)), 60_000_000, 10_000_000)
    timeline.add_answer(Answer(1, (0.0,)), 60_000_001, 10_000_000)
    timeline.add_answer(Answer(2, None, "SUPERSEDED"), 60_000_000, 59_000_000)
    assert timeline.in_time_due_ns == [10_000_000]
    assert (timeline.commands, timeline.over_budget, timeline.skipped.total()) == (2, 1, 1)


def test_a_real_server_is_stopped_and_goes_on(bundle_path, tmp_path):
    options = ["--capacity", "2", "--stalls", "2", "--seconds", "0.6", "--stall-ms", "200"]
    results = run(bundle_path, tmp_path, "stall", *options, *FRAMES)
    assert (results["vehicles"], results["stalls"]) == (2, 2)
    assert results["commands"] > 0
    # The frames of the stall wait for its end, or others take their place.
    superseded = results["misses"].get("SUPERSEDED", 0)
    assert superseded > 0 or results["latency_ms"]["round_trip"]["max"] > 100.0


def test_a_server_that_was_running_before_is_not_stopped(server, capsys):
    assert main(["stall", "--target", server.address, "--capacity", "1"]) == CANNOT_START
    assert "omit --target" in capsys.readouterr().err
