"""What a frame costs: medians of samples that were worth taking."""

from __future__ import annotations

import os
import time

import pytest

from service.usage import FrameCost, Reading, available_cores

MS, S = 1_000_000, 1_000_000_000
GUESS_NS = 3.3 * MS


class Process:
    """A process whose clocks are moved by hand."""

    def __init__(self, cores=1.0):
        self.cost = FrameCost(cores, step_ns=1 * MS)
        self.reading = Reading(0, 0, 0, 0, 0, 0)
        self.cost.update(self.reading)

    def run(self, *, frames, cpu_ms=1.0, loop_ms=0.5, openings=0, seconds=0.5, stolen=0.0):
        was = self.reading
        self.reading = Reading(
            was.at_ns + round(seconds * S),
            was.cpu_ns + round(frames * cpu_ms * MS),
            was.loop_ns + round(frames * loop_ms * MS),
            was.frames + frames,
            was.openings + openings,
            was.stolen_ns + round(stolen * seconds * S * os.cpu_count()),
        )
        self.cost.update(self.reading)


def test_a_server_that_has_measured_nothing_guesses():
    cost = FrameCost(1.0, step_ns=1 * MS)
    assert cost.cpu_ns == GUESS_NS
    assert cost.loop_ns == 0.8 * MS


def test_costs_are_what_many_frames_took():
    process = Process()
    for _ in range(3):
        process.run(frames=300, cpu_ms=1.5, loop_ms=0.4)
    assert process.cost.cpu_ns == pytest.approx(1.5 * MS)
    assert process.cost.loop_ns == pytest.approx(0.4 * MS)
    assert process.cost.in_use == pytest.approx(0.9)


def test_few_frames_are_gathered_until_they_are_many():
    process = Process()
    for _ in range(4):
        process.run(frames=24, cpu_ms=5)
    assert process.cost.cpu_ns == GUESS_NS
    process.run(frames=24, cpu_ms=5)
    assert process.cost.cpu_ns == 5 * MS


def test_a_spoilt_sample_changes_nothing_and_a_lasting_change_is_known():
    process = Process()
    for cpu_ms in (1, 1, 1, 1, 9, 1, 1):
        process.run(frames=400, cpu_ms=cpu_ms)
    assert process.cost.cpu_ns == 1 * MS
    for _ in range(4):
        process.run(frames=200, cpu_ms=3)
    assert process.cost.cpu_ns == 3 * MS


def test_a_server_at_rest_says_little_of_a_busy_one():
    process = Process()
    for _ in range(3):
        process.run(frames=300, cpu_ms=1)
    for _ in range(40):
        process.run(frames=20, cpu_ms=3)
    assert process.cost.cpu_ns == 1 * MS


def test_a_guess_that_was_too_high_is_known_on_a_server_at_rest():
    process = Process(cores=16.0)
    for _ in range(3):
        process.run(frames=60, cpu_ms=0.3, loop_ms=0.1)
    assert process.cost.cpu_ns == pytest.approx(0.3 * MS)
    assert process.cost.loop_ns == pytest.approx(0.1 * MS)


def test_what_the_host_gives_to_others_is_not_there():
    process = Process(cores=2.0)
    assert process.cost.cores == 2.0
    for stolen in (0.0, 0.5, 0.0, 0.0):
        process.run(frames=10, stolen=stolen)
    assert process.cost.cores == 2.0, "a moment is no shortage"
    for _ in range(7):
        process.run(frames=10, stolen=0.25)
    assert process.cost.cores == pytest.approx(1.5)


def test_refusing_a_crowd_costs_no_frame_anything():
    process = Process()
    process.run(frames=300, cpu_ms=1)
    for _ in range(20):
        process.run(frames=300, cpu_ms=3, openings=1000)
    assert process.cost.cpu_ns == 1 * MS
    for _ in range(7):
        process.run(frames=300, cpu_ms=1.2, openings=100)
    assert process.cost.cpu_ns == pytest.approx(1 * MS)


def test_either_the_cpu_or_the_event_loop_is_what_is_in_use():
    process = Process(cores=4.0)
    process.run(frames=400, cpu_ms=1, loop_ms=1)
    assert process.cost.in_use == pytest.approx(0.8)


def test_clocks_of_this_process_go_on():
    before = Reading.now(1, 2)
    while time.thread_time_ns() == before.loop_ns:
        pass
    after = Reading.now(3, 4)
    assert after.stolen_ns >= before.stolen_ns >= 0
    assert after.at_ns > before.at_ns
    assert after.cpu_ns > before.cpu_ns
    assert (after.frames, after.openings) == (3, 4)


def test_there_is_a_core():
    assert available_cores() > 0
