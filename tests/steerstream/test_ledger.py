from __future__ import annotations

import pytest

from steerstream import BadRequest, ProtocolError
from steerstream.ledger import Ledger


def test_frames_are_numbered_from_zero_and_stamped_with_now():
    ledger = Ledger()
    assert ledger.enter(None, None, 100, None).sequence_number == 0
    frame = ledger.enter(None, None, 200, None)
    assert (frame.sequence_number, frame.capture_time_ns, frame.sent_ns) == (1, 200, 200)


def test_numbers_may_jump_ahead():
    ledger = Ledger()
    ledger.enter(10, 5, 100, None)
    assert ledger.enter(None, 6, 200, None).sequence_number == 11


@pytest.mark.parametrize("number", [9, 10, -1, 1 << 64])
def test_a_number_that_does_not_go_up_is_refused(number):
    ledger = Ledger()
    ledger.enter(10, None, 100, None)
    with pytest.raises(BadRequest, match="sequence_number must be 11"):
        ledger.enter(number, None, 200, None)
    assert len(ledger) == 1


@pytest.mark.parametrize("capture_time_ns", [100, 99, 1 << 64])
def test_a_capture_time_that_does_not_go_up_is_refused(capture_time_ns):
    ledger = Ledger()
    ledger.enter(None, 100, 100, None)
    with pytest.raises(BadRequest, match="capture_time_ns must be 101"):
        ledger.enter(None, capture_time_ns, 200, None)


def test_capture_times_go_up_where_the_clock_stands_still():
    ledger = Ledger()
    times = [ledger.enter(None, None, 100, None).capture_time_ns for _ in range(3)]
    assert times == [100, 101, 102]


def test_an_answer_belongs_to_one_frame_once():
    ledger = Ledger()
    frame = ledger.enter(None, None, 100, None)
    assert ledger.settle(0) is frame
    with pytest.raises(ProtocolError, match="frame 0"):
        ledger.settle(0)


def test_abandoned_frames_are_gone():
    ledger = Ledger()
    frames = [ledger.enter(None, None, 100, None) for _ in range(3)]
    assert ledger.abandon() == frames
    assert len(ledger) == 0
