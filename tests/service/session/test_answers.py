"""What a command says, and what holds where there is none."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from steerstream.checksum import ALIVE_COUNTER_MODULUS
from steerstream_service.domain import (
    Command,
    FramePolicy,
    SkipReason,
    Stddevs,
    Stepped,
    Validity,
)
from steerstream_service.session.answers import REMEMBERED_ANSWERS, Answers
from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.session.recurrence import Recurrence
from steerstream_service.session.vehicle_limits import PROFILES
from tests.service import bundles
from tests.service.shell import MS, Shell


def test_a_frame_gets_its_command():
    shell = Shell()
    shell.frame(7, 1000).wait(2).decode().wait(3)
    command = shell.step((0.1, 10.0, 0.2)).answers[0]
    assert isinstance(command, Command)
    assert (command.sequence_number, command.capture_time_ns) == (7, 1000 * MS)
    assert command.raw == command.limited
    assert command.age_ms == 5.0
    assert (command.state_epoch, command.step_count, command.alive_counter) == (0, 1, 1)


def test_a_duplicate_is_answered_from_memory_and_steps_nothing():
    shell = Shell()
    first = shell.drive(0, 0, (0.3, 10.0, 0.0))
    shell.drive(1, 50, (0.2, 10.0, 0.0))
    shell.wait(7).frame(0, 0)
    skip = shell.answers[-1]
    assert (skip.reason, skip.held.sequence_number) == (SkipReason.DUPLICATE, 0)
    assert skip.held.limited == first.limited
    assert skip.held.validity is first.validity
    assert skip.held.age_ms == 7.0
    assert shell.session.step_count == 2


@pytest.mark.parametrize("kind", [{}, {"outputs": bundles.timed_contract().outputs}])
def test_a_duplicate_says_again_all_that_the_first_answer_said_but_when(kind):
    shell = Shell(**kind)
    shell.drive(0, 0, (0.3, 10.0, 0.0, 0.01, 0.3)[: 5 if kind else 3])
    first = shell.drive(1, 50, (-6.0, 30.0, -2.0, 0.02, 0.4)[: 5 if kind else 3])
    assert len(first.active_limits) > 2
    shell.wait(7).frame(1, 50)
    again = shell.answers[-1].held
    said = {"age_ms": 7.0, "alive_counter": 3, "timings": again.timings}
    assert again == replace(first, **said)


def test_what_is_remembered_is_nothing_that_a_collection_looks_at():
    shell = Shell()
    for number in range(REMEMBERED_ANSWERS):
        shell.drive(number, 50 * number)
    gc.collect()
    remembered = shell.session._answers._memory.values()
    assert len(remembered) == REMEMBERED_ANSWERS
    assert not any(map(gc.is_tracked, remembered))


def test_numbers_older_than_the_memory_are_out_of_order():
    shell = Shell()
    for number in range(REMEMBERED_ANSWERS + 1):
        shell.drive(number, 50 * number)
    shell.frame(1, 50)
    assert shell.answers[-1].reason is SkipReason.DUPLICATE
    shell.frame(0, 0)
    assert shell.answers[-1].reason is SkipReason.OUT_OF_ORDER


def test_unusable_outputs_fall_back_or_hold():
    shell = Shell()
    bad = (float("nan"), 10.0, 0.0)
    first = shell.drive(0, 0, bad)
    assert (first.validity, first.limited.steering_wheel_angle_rad) == (Validity.FALLBACK, None)
    good = shell.drive(1, 50)
    held = shell.wait(50).drive(2, 100, (9.0, 10.0, 0.0))
    assert (held.validity, held.limited, held.age_ms) == (Validity.HELD, good.limited, 50.0)
    assert held.step_count == 3
    assert held.raw.steering_wheel_angle_rad == 9.0


STDDEVS = {"outputs": bundles.timed_contract().outputs}
"""Of angle and torque; their columns follow those of the three heads."""


def test_raw_values_carry_standard_deviations_and_limited_ones_none():
    command = Shell(**STDDEVS).drive(0, 0, (0.1, 10.0, 0.2, 0.01, 0.3))
    assert command.raw == command.limited
    assert command.stddevs == Stddevs(0.01, None, 0.3)


def test_a_network_without_standard_deviations_says_none():
    assert Shell().drive(0, 0).stddevs is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0, -0.01])
def test_a_standard_deviation_that_cannot_be_one_makes_the_values_unusable(bad):
    shell = Shell(**STDDEVS)
    good = shell.drive(0, 0, (0.1, 10.0, 0.2, 0.01, 0.3))
    for number, stddevs in enumerate([(bad, 0.3), (0.01, bad)], 1):
        held = shell.drive(number, 50 * number, (0.4, 11.0, 0.2, *stddevs))
        assert (held.validity, held.limited) == (Validity.HELD, good.limited)
        assert held.raw.steering_wheel_angle_rad == 0.4


def test_the_rate_is_limited_from_the_last_good_command():
    shell = Shell()
    shell.drive(0, 0, (0.0, 10.0, 0.0))
    one = shell.drive(1, 50, (1.0, 10.0, 0.0))
    shell.drive(2, 100, (float("nan"), 10.0, 0.0))
    three = shell.drive(3, 150, (1.0, 10.0, 0.0))
    step = one.limited.steering_wheel_angle_rad
    assert three.limited.steering_wheel_angle_rad == pytest.approx(3 * step, rel=0.01)


RATE_RADPS = PROFILES["passenger_car"].max_steering_rate_radps
SLOW = {"speed": 2.0}
"""Slow enough that the steering rate limits, and no acceleration."""


def turn(shell, number, capture_ms):
    """The limited angle of a frame for which the network asks for all that it can get."""
    return shell.drive(number, capture_ms, (6.0, 2.0, 0.0), **SLOW).limited.steering_wheel_angle_rad


def test_the_first_command_of_a_session_has_no_rate():
    assert turn(Shell(), 0, 0) == 6.0


@pytest.mark.parametrize("policy", list(FramePolicy))
def test_a_reset_leaves_the_rate_limited(policy):
    shell = Shell(policy)
    shell.drive(0, 0, (0.0, 2.0, 0.0), **SLOW)
    shell.wait(50).session.reset()
    assert turn(shell, 1, 50) == pytest.approx(0.05 * RATE_RADPS)


@pytest.mark.parametrize("policy", list(FramePolicy))
def test_a_gap_allows_a_change_of_half_a_second_at_most(policy):
    shell = Shell(policy)
    shell.drive(0, 0, (0.0, 2.0, 0.0), **SLOW)
    command = turn(shell.wait(5000), 1, 5000)
    assert command == pytest.approx(0.5 * RATE_RADPS)


def test_gaps_that_a_vehicle_only_claims_allow_no_more_than_the_time_that_passed():
    """Under LATEST, where frames come as time passes; half a second may have been held up."""
    shell = Shell(FramePolicy.LATEST)
    shell.drive(0, 0, (-6.0, 2.0, 0.0), **SLOW)
    angles = [turn(shell.wait(50), number, 1001 * number) for number in range(1, 40)]
    assert angles[0] == pytest.approx(-6.0 + 0.5 * RATE_RADPS)
    steps = np.diff(angles)
    assert max(steps) <= 1.01 * 0.05 * RATE_RADPS + 1e-9


def test_frames_that_a_network_delivers_at_once_are_limited_by_their_captures():
    shell = Shell(FramePolicy.LATEST)
    shell.drive(0, 0, (-6.0, 2.0, 0.0), **SLOW)
    angles = [turn(shell.wait(wait_ms), n, 50 * n) for n, wait_ms in enumerate([200, 0, 0, 0], 1)]
    np.testing.assert_allclose(np.diff(angles), 0.05 * RATE_RADPS)


def test_a_replay_under_every_is_limited_by_its_own_time():
    shell = Shell(FramePolicy.EVERY)
    shell.drive(0, 0, (-6.0, 2.0, 0.0), **SLOW)
    angles = [turn(shell, number, 50 * number) for number in range(1, 40)]
    np.testing.assert_allclose(np.diff(angles), 0.05 * RATE_RADPS)


def test_the_first_frames_of_an_epoch_are_warming_up():
    shell = Shell()
    kinds = [shell.drive(n, 1000 + 50 * n).validity for n in range(4)]
    assert kinds == [Validity.WARMING_UP] * 2 + [Validity.VALID] * 2
    shell.session.reset()
    assert shell.drive(4, 1200).validity is Validity.WARMING_UP


def test_an_undecodable_frame_holds_the_last_command():
    shell = Shell()
    good = shell.drive(0, 0)
    skip = shell.frame(1, 50).wait(3).decode_fails().answers[-1]
    assert (skip.reason, skip.detail) == (SkipReason.UNDECODABLE, "broken")
    assert skip.held.limited == good.limited
    assert (skip.held.sequence_number, skip.held.age_ms) == (0, 3.0)


@pytest.mark.parametrize("decode_ns", [0, 600_000])
@pytest.mark.parametrize("policy", FramePolicy)
def test_a_late_frame_says_whether_its_picture_took_a_decoder_s_time(policy, decode_ns):
    shell = Shell(policy).frame(0, 0)
    shell.decoding.decode_ns = decode_ns
    (skip,) = shell.wait(50).tick().decode().answers
    assert (skip.reason, skip.was_decoded) == (SkipReason.LATE, decode_ns > 0)
    assert not skip.is_overdue, "no newer frame superseded it"


def test_the_alive_counter_wraps():
    contract = bundles.contract()
    answers = Answers(
        contract, PROFILES["passenger_car"], Recurrence(0, 0.05), is_live=True, with_horizon=True
    )
    record = FrameRecord(0, 0, None, None, 0)
    for _ in range(ALIVE_COUNTER_MODULUS - 2):
        answers.skip(record, SkipReason.LATE, "", 0)
    step = Stepped((0.1, 10.0, 0.2), 0, 0, 1)
    assert [answers.command(record, step, 0).alive_counter for _ in range(3)] == [65_535, 0, 1]
