"""The pace that a full server asks for, against a model of a server and its vehicles."""

from __future__ import annotations

import pytest

from steerstream_service.admission.pace import Pace
from steerstream_service.admission.rate_meter import FrameCounts

REVIEWS_S = 0.5


def counts(frames, missed):
    return [FrameCounts(within=round(frames), surplus=0, late=round(missed))]


def driven(pace, *, asked_hz, capacity_hz, reviews):
    """Commands a second by review, of a server whose dropped frames cost a seventh of others."""
    commands, before = [], pace.share
    for _ in range(reviews):
        # Vehicles learn of a change in the middle of the time to the next review.
        sent_hz = asked_hz * (before + pace.share) / 2
        before = pace.share
        done_hz = sent_hz
        if sent_hz > capacity_hz:
            done_hz = max(0.0, (capacity_hz - sent_hz / 7) / (1 - 1 / 7))
        pace.review(counts(REVIEWS_S * sent_hz, REVIEWS_S * (sent_hz - done_hz)))
        commands.append(done_hz)
    return commands


def test_a_server_that_does_all_asks_for_nothing():
    pace = Pace()
    for _ in range(100):
        pace.review(counts(450, 9))
    assert pace.share == 1.0


def test_one_stall_is_no_load():
    pace = Pace()
    for missed in (0, 300, 0, 0, 300, 0):
        pace.review(counts(450, missed))
    assert pace.share == 1.0
    for missed in (300, 300):
        pace.review(counts(450, missed))
    assert pace.share == pytest.approx(1 / 3)


def test_a_pace_with_few_misses_is_kept():
    pace = Pace()
    for missed in (200, 200, 200, 10, 10, 10, 10):
        pace.review(counts(450, missed))
    assert pace.share == pytest.approx(1 - 200 / 450)


def test_frames_that_come_in_bunches_count_with_their_misses():
    pace = Pace()
    for _ in range(2):
        pace.review([FrameCounts(within=6, surplus=4, late=5)] * 100)
    assert pace.share < 1.0


def test_a_flood_slows_nobody_down():
    pace = Pace()
    flood = FrameCounts(within=10, surplus=5000, late=4000)
    for _ in range(10):
        pace.review([*counts(450, 0), flood])
    assert pace.share == 1.0


def test_a_server_without_frames_asks_for_nothing():
    pace = Pace()
    pace.review([])
    assert pace.share == 1.0


@pytest.mark.parametrize("times", [1.2, 2, 3, 4, 6])
def test_beyond_capacity_commands_stay_near_what_the_server_can_do(times):
    pace = Pace()
    commands = driven(pace, asked_hz=900 * times, capacity_hz=900, reviews=60)
    assert sum(commands[10:]) / 50 >= 0.9 * 900
    assert min(commands[10:]) >= 0.75 * 900


def test_vehicles_send_as_they_stated_when_the_load_is_gone():
    pace = Pace()
    driven(pace, asked_hz=3600, capacity_hz=900, reviews=20)
    assert pace.share < 0.35
    driven(pace, asked_hz=800, capacity_hz=900, reviews=300)
    assert pace.share == 1.0
