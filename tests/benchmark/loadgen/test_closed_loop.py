from __future__ import annotations

import dataclasses

import pytest

from benchmark.loadgen.closed_loop import ClosedLoop, run
from benchmark.loadgen.picture_set import PictureSet
from benchmark.loadgen.transport import SessionEndedError
from tests.benchmark.loadgen.fake_transport import FakeTransport

PICTURES = PictureSet(pictures=(b"a",))


LOAD = ClosedLoop(sessions=2, seconds=0.1, pictures=PICTURES, warm_up_s=0.1)


def test_a_closed_loop_has_one_frame_under_way_each(server, generators, pictures):
    job = ClosedLoop(sessions=2, seconds=0.3, pictures=pictures, warm_up_s=0.1)
    (tally,) = generators.run_all(server.address, [job])
    assert tally.opened == 2
    assert tally.commands == tally.frames > 2


async def test_the_warm_up_is_not_counted():
    server = FakeTransport()
    tally = await run(server, dataclasses.replace(LOAD, declared_rate_hz=250.0))
    assert tally.opened == 2
    assert 0 < tally.frames == tally.commands < sum(len(each.sent) for each in server.streams)
    assert {(terms.rate_hz, terms.every) for terms in server.terms} == {(250.0, True)}


async def test_a_session_that_is_refused_ends_the_load():
    with pytest.raises(SessionEndedError, match="TOO_MANY_SESSIONS"):
        await run(FakeTransport(refusals=1), LOAD)
