from __future__ import annotations

from benchmark.loadgen.flood import Flood, run
from benchmark.loadgen.picture_set import PictureSet
from tests.benchmark.loadgen.fake_transport import FakeTransport

PICTURES = PictureSet(pictures=(b"a",))


def test_a_flood_gets_answers_and_an_end(server, generators, pictures):
    (tally,) = generators.run_all(server.address, [Flood(seconds=0.3, pictures=pictures)])
    assert tally.frames > 0
    assert tally.commands > 0


async def test_a_flood_that_is_held_back_ends_in_time():
    server = FakeTransport(takes=5)
    tally = await run(server, Flood(seconds=0.1, pictures=PICTURES))
    assert (tally.frames, tally.commands) == (6, 5)
    assert server.terms[0].every
    assert server.streams[0].end == "aborted"


async def test_a_flood_that_the_server_ends_is_counted():
    tally = await run(FakeTransport(ends_after=4), Flood(seconds=30.0, pictures=PICTURES))
    assert tally.ended == {"SHED": 1}
    assert tally.commands == 3
