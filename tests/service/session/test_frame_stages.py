"""The transition table: where it leads, and what it forbids."""

from __future__ import annotations

import pytest

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
