"""The transition table: where it leads, and what it forbids."""

from __future__ import annotations

import numpy as np
import pytest

from steerstream_service.domain import FramePolicy
from steerstream_service.session.frame_stages import TRANSITIONS, Event, Stage
from tests.service.shell import Shell


def test_the_table_leads_every_frame_to_one_answer():
    reachable = {Stage.WAITING}
    for _ in Stage:
        reachable |= {after for (before, _), after in TRANSITIONS.items() if before in reachable}
    assert reachable == set(Stage)
    assert all(
        after is Stage.ANSWERED
        for (before, _), after in TRANSITIONS.items()
        if before is Stage.ANSWERED
    )


def test_an_impossible_event_is_a_fault():
    shell = Shell().frame(0, 0)
    with pytest.raises(KeyError):
        shell.decoding.move(Event.STEP)


def test_a_refused_frame_that_waits_for_its_answer_holds_no_picture():
    """Under EVERY the answers keep their order, and 64 pictures may be 256 MiB."""
    shell = Shell(FramePolicy.EVERY, max_waiting=2)
    for number in range(8):
        shell.frame(number, 50 * number)
    waiting = list(shell.session._order)
    assert len(waiting) == 8
    holds = [record.image is not None for record in waiting]
    assert holds == [True] * 3 + [False] * 5, "one with the decoder, two that wait"


def test_a_frame_given_up_while_it_is_decoded_holds_no_picture():
    shell = Shell(FramePolicy.EVERY).frame(0, 0)
    record = shell.decoding
    shell.wait(60).tick()
    assert record.image is None
    record.pixels = np.zeros((8, 16, 3), np.uint8)
    shell.decode()
    assert record.pixels.size == 0
