"""A shadow steps the frames of a session that it has time for, and compares each with the drive."""

from __future__ import annotations

import pytest

from steerstream_bundle import loading
from steerstream_service.domain import NotStepped, SkipReason, Stepped
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.engine.shadow import LATER_NS, Comparison, ShadowSession
from tests.service import bundles
from tests.service.records import submitted

PERIOD_NS = 50_000_000
LATE = NotStepped(SkipReason.LATE, "no time")


@pytest.fixture
def queue(tmp_path):
    return ModelQueue(loading.load(bundles.recurrent(tmp_path / "a.onnx")), sessions=8, max_batch=4)


class Fixture:
    """A shadow of a session of the same network, and what the engine was given."""

    def __init__(self, queue):
        self.queue = queue
        self.given = []
        self.comparison = Comparison("shadow", 1.0)
        contract = bundles.contract()
        self.shadow = ShadowSession(
            queue,
            queue.pool.allocate(),
            lambda to, record: self.given.append(record),
            self.comparison,
            (contract, contract),
        )

    def submit(self, number, *, reset=False):
        """Have the session submit its frame of this number, and return it."""
        record = submitted(self.queue, reset=reset, deadline_ns=1)
        record.sequence_number, record.capture_time_ns = number, number * PERIOD_NS
        self.shadow.submitted(record)
        return record

    def drive(self, record, *values):
        record.outcome = Stepped(values, 0, 1, 1) if values else LATE
        self.shadow.replied(record)

    def step(self, *values):
        """Have the engine step what it was given last."""
        record = self.given[-1]
        record.outcome = Stepped(values, 0, 1, 1) if values else LATE
        record.reply(record)


@pytest.fixture
def case(queue):
    return Fixture(queue)


def test_the_shadow_s_frame_is_the_session_s_with_a_later_deadline_and_its_own_slot(case):
    record = case.submit(3)
    (mine,) = case.given
    assert mine.pixels is record.pixels
    assert mine.deadline_ns == record.deadline_ns + LATER_NS
    assert mine.slot != record.slot
    assert mine.reset, "its own state has seen nothing yet"
    assert mine.interval_s == 1 / 20
    assert mine.act_in_s == 0.0, "its network is not told"


@pytest.mark.parametrize("shadow_first", [True, False])
def test_values_are_compared_once_both_are_there(case, shadow_first):
    record = case.submit(0)
    if shadow_first:
        case.step(0.5, 10.0, 1.0)
        case.drive(record, 0.25, 12.0, 1.0)
    else:
        case.drive(record, 0.25, 12.0, 1.0)
        case.step(0.5, 10.0, 1.0)
    assert (case.comparison.frames, case.comparison.dropped) == (1, 0)
    largest = {head: item.largest for head, item in case.comparison.differences.items()}
    assert largest == {"steering_wheel_angle": 0.25, "speed": 2.0, "steering_torque": 0.0}
    case.drive(case.submit(1), 0.0, 0.0, 0.0)
    case.step(0.0, 0.0, 0.0)
    assert case.comparison.rms("speed") == pytest.approx(2**0.5)


def test_a_frame_that_comes_while_one_waits_is_dropped_and_its_gap_is_told(case):
    first = case.submit(0)
    case.submit(1)
    assert (len(case.given), case.comparison.dropped) == (1, 1)
    case.drive(first, 0.0, 0.0, 0.0)
    case.step(0.0, 0.0, 0.0)
    case.submit(2)
    assert not case.given[-1].reset
    assert case.given[-1].interval_s == pytest.approx(2 * PERIOD_NS / 1e9)


def test_a_reset_that_fell_on_a_dropped_frame_comes_with_the_next(case):
    first = case.submit(0)
    case.submit(1, reset=True)
    case.drive(first, 0.0, 0.0, 0.0)
    case.step(0.0, 0.0, 0.0)
    case.submit(2)
    assert case.given[-1].reset


def test_a_reset_of_a_frame_that_was_not_stepped_comes_again(case):
    record = case.submit(0)
    case.drive(record, 0.0, 0.0, 0.0)
    case.step()
    assert (case.comparison.frames, case.comparison.dropped) == (0, 1)
    case.submit(1)
    assert case.given[-1].reset


def test_a_frame_that_the_drive_did_not_step_is_compared_with_nothing(case):
    record = case.submit(0)
    case.step(1.0, 1.0, 1.0)
    case.drive(record)
    assert (case.comparison.frames, case.comparison.dropped) == (0, 1)


def test_a_frame_that_the_session_took_back_does_not_stop_the_shadow(case):
    case.submit(0)
    case.step(1.0, 1.0, 1.0)
    second = case.submit(1)
    assert case.comparison.dropped == 1
    case.drive(second, 1.0, 1.0, 1.0)
    case.step(1.0, 1.0, 1.0)
    assert case.comparison.frames == 1


def test_it_takes_no_frames_after_the_comparison_s_end(case):
    case.comparison.has_ended = True
    case.submit(0)
    assert not case.given


def test_closing_it_takes_its_frame_back(case):
    case.shadow.close()
    case.submit(0)
    case.shadow.close()
    assert case.given[0].is_claimed


def test_a_comparison_without_frames_differs_by_nothing(case):
    assert case.comparison.rms("speed") == 0.0


def test_only_heads_of_both_are_compared(queue):
    comparison = Comparison("shadow", 1.0)
    angle_alone = bundles.contract(outputs=(bundles.ANGLE,))
    contracts = (bundles.contract(), angle_alone)
    ShadowSession(queue, queue.pool.allocate(), lambda *_: None, comparison, contracts)
    assert set(comparison.differences) == {"steering_wheel_angle"}
