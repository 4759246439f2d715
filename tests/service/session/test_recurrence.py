"""What begins an epoch, and which frames count in it."""

import math

from steerstream_service.domain import FramePolicy, SkipReason, Validity
from tests.service.shell import Shell


def test_a_gap_begins_a_new_epoch():
    shell = Shell()
    assert shell.drive(0, 0).state_epoch == 0
    within, beyond = shell.drive(1, 300), shell.drive(2, 601)
    assert (within.state_epoch, within.step_count) == (0, 2)
    assert (beyond.state_epoch, beyond.step_count) == (1, 1)


def test_the_gap_is_between_frames_that_the_network_saw():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 200).decode_fails()
    assert shell.drive(2, 400).state_epoch == 1


def test_the_interval_is_since_the_last_frame_that_the_network_saw():
    shell = Shell()
    shell.drive(0, 1000)
    shell.drive(1, 1040)
    shell.frame(2, 1090).decode_fails()
    shell.frame(3, 1140).decode().step_fails()
    shell.drive(4, 1190)
    assert [record.interval_s for record in shell.stepped] == [0.05, 0.04, 0.15]


def test_a_frame_whose_output_cannot_be_used_was_seen_all_the_same():
    shell = Shell()
    shell.drive(0, 0)
    held = shell.frame(1, 50).decode().step(outputs=(math.nan, 10.0, 0.2)).answers[-1]
    assert (held.validity, held.step_count) == (Validity.HELD, 2)
    assert shell.drive(2, 100).step_count == 3


def test_an_epochs_first_frame_is_one_period_after_nothing():
    shell = Shell(rate_hz=10.0)
    shell.drive(0, 70)
    shell.drive(1, 1000)
    shell.session.reset()
    shell.drive(2, 1020)
    assert [record.interval_s for record in shell.stepped] == [0.1, 0.1, 0.1]
    assert shell.drive(3, 1050).state_epoch == 2
    assert shell.stepped[-1].interval_s == 0.03


def test_a_reset_divides_the_frames_before_it_from_those_after():
    shell = Shell(FramePolicy.EVERY)
    shell.frame(0, 0).frame(1, 50)
    shell.session.reset()
    shell.frame(2, 100)
    while shell.decoding or shell.submitted:
        if shell.decoding:
            shell.decode()
        shell.step()
    assert [(a.state_epoch, a.step_count) for a in shell.answers] == [(0, 1), (0, 2), (1, 1)]


def test_a_reset_outlives_the_frame_after_it():
    shell = Shell()
    shell.drive(0, 0)
    shell.session.reset()
    shell.frame(1, 50).decode().step_fails()
    assert shell.drive(2, 100).state_epoch == 1


def test_each_reset_counts():
    shell = Shell()
    shell.session.reset()
    shell.session.reset()
    assert shell.drive(0, 0).state_epoch == 2


def test_a_failed_step_leaves_the_state_as_it_was():
    shell = Shell()
    shell.drive(0, 0)
    shell.frame(1, 50).decode().step_fails()
    assert shell.answers[-1].reason is SkipReason.FAILED
    assert shell.drive(2, 100).step_count == 2
