"""The reference model: it takes a good history, and finds each fault that is planted."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark.failover.model import Sent, violations
from steerstream import (
    Command,
    ControlValues,
    DriveState,
    SessionChange,
    Skipped,
    SkipReason,
    Validity,
)
from tests.steerstream import values

FRAMES = 6
WARM_UP_STEPS = 2


def command(number, **changes):
    fields = {
        "sequence_number": number,
        "capture_time_ns": number,
        "alive_counter": number + 1,
        "step_count": number + 1,
        "raw": ControlValues(steering_wheel_angle_rad=0.1 * number, speed_mps=10.0),
    }
    return dataclasses.replace(values.COMMAND, **{**fields, **changes})


UNBROKEN = {number: command(number) for number in range(FRAMES)}


def change(state, *, with_state=True):
    return SessionChange(state, "a", "", with_state)


def good():
    """A server is lost after the third frame, and another one goes on."""
    history: list = [change(DriveState.DRIVING)]
    for number in range(FRAMES):
        history.append(Sent(number))
        if number == 3:
            history += [change(DriveState.RESUMING), change(DriveState.DRIVING)]
        history.append(command(number))
    return [*history, change(DriveState.CLOSED)]


def test_a_good_history_breaks_no_rule():
    assert violations(good(), UNBROKEN, WARM_UP_STEPS) == []


def answer_at(history, number):
    return next(
        at
        for at, event in enumerate(history)
        if isinstance(event, Command) and event.sequence_number == number
    )


def replaced(**changes):
    def plant(history):
        at = answer_at(history, 4)
        history[at] = dataclasses.replace(history[at], **changes)

    return plant


def lost(history):
    del history[answer_at(history, 5)]


def twice(history):
    at = answer_at(history, 4)
    history.insert(at, history[at])


def swapped(history):
    one, other = answer_at(history, 1), answer_at(history, 2)
    history[one], history[other] = history[other], history[one]


def skipped(history):
    history[answer_at(history, 4)] = Skipped(4, 4, SkipReason.LATE, "", None, 0, 0)


def never_lost(history):
    del history[-1]


def drives_without_a_server(history):
    history.insert(1, change(DriveState.CONNECTING))


def fresh_but_valid(history):
    at = history.index(change(DriveState.RESUMING)) + 1
    history[at] = change(DriveState.DRIVING, with_state=False)
    for number in (3, 4, 5):
        place = answer_at(history, number)
        history[place] = dataclasses.replace(history[place], step_count=number - 2)


@pytest.mark.parametrize(
    ("plant", "broken"),
    [
        (lost, "frame 5 has no answer"),
        (twice, "frame 4 was answered out of turn"),
        (swapped, "frame 2 was answered out of turn"),
        (skipped, "frame 4 was skipped: LATE"),
        (never_lost, "the session ends driving"),
        (drives_without_a_server, "driving was followed by connecting"),
        (fresh_but_valid, "a state that has seen 1 frames is VALID"),
        (replaced(step_count=4), "step_count is 4, unbroken 5"),
        (replaced(state_epoch=1), "state_epoch is 1, unbroken 0"),
        (replaced(alive_counter=9), "the alive counter went on by 5"),
        (replaced(checksum_ok=False), "its command is damaged"),
        (replaced(capture_time_ns=9), "capture_time_ns is 9, unbroken 4"),
        (replaced(raw=ControlValues(0.4011, 10.0)), "raw differs"),
        (replaced(limited=ControlValues(None, 10.0, 0.0)), "limited differs"),
    ],
)
def test_a_planted_fault_is_found(plant, broken):
    history = good()
    plant(history)
    assert any(broken in line for line in violations(history, UNBROKEN, WARM_UP_STEPS))


def test_a_fresh_state_that_warms_up_is_no_fault():
    history = good()
    fresh_but_valid(history)
    for number in (3, 4):
        at = answer_at(history, number)
        history[at] = dataclasses.replace(history[at], validity=Validity.WARMING_UP)
    assert violations(history, UNBROKEN, WARM_UP_STEPS) == []


def test_what_rounding_changes_is_no_fault():
    history = good()
    replaced(raw=ControlValues(0.400001, 10.00001))(history)
    assert violations(history, UNBROKEN, WARM_UP_STEPS) == []
