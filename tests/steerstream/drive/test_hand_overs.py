from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from steerstream import DriveSession, DriveState, Validity
from steerstream.drive.hand_overs import HandOvers
from steerstream.hand_over import SessionChange
from tests.steerstream.values import command, skipped


class Driven:
    """A session whose server the test changes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.session = SimpleNamespace(info=object(), change=None)
        self.hand_overs = HandOvers(cast("DriveSession", self.session), self.lines.append)

    def goes_to(self, target: str, *, with_state: bool = True) -> None:
        self.session.info = object()
        self.session.change = SessionChange(DriveState.DRIVING, target, "x", with_state)

    def answered(self, number: int, at_ms: float, **changes) -> None:
        self.hand_overs.answered(command(number, 0, received_ms=at_ms, **changes))


def test_each_hand_over_is_a_line_and_the_longest_gap_is_reported():
    drive = Driven()
    drive.answered(0, 100)
    drive.goes_to("b:1")
    drive.hand_overs.answered(skipped(1, 0))
    drive.answered(2, 200, validity=Validity.HELD)
    drive.answered(3, 350)
    drive.goes_to("a:1", with_state=False)
    drive.answered(4, 400)
    assert drive.lines == [
        "b:1 drives now, with the state; its first command came 250 ms after the last one (x)",
        "a:1 drives now, with a fresh state; its first command came 50 ms after the last one (x)",
    ]
    assert drive.hand_overs.line() == "hand-overs         2  longest gap 250 ms, 1 of 2 with state"
    assert drive.hand_overs.summary() == {
        "count": 2,
        "with_state": 1,
        "longest_gap_ms": pytest.approx(250.0),
    }


def test_a_drive_at_one_server_has_no_hand_over():
    drive = Driven()
    drive.answered(0, 100)
    drive.answered(1, 150)
    assert not drive.lines
    assert drive.hand_overs.line() == "hand-overs         0"
    assert drive.hand_overs.summary()["longest_gap_ms"] is None


def test_a_server_that_was_lost_before_its_first_command_left_no_gap_to_measure():
    drive = Driven()
    drive.goes_to("b:1")
    drive.answered(0, 100)
    assert drive.hand_overs.summary() == {"count": 1, "with_state": 1, "longest_gap_ms": 0.0}
