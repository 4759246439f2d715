"""Small loads against a real server with four slots."""

from __future__ import annotations

import gc

from benchmark.loadgen import probes
from benchmark.loadgen.drive_rpc import DriveTransport

SLOTS = 4


async def test_sessions_are_answered_side_by_side(server, pictures):
    transport = DriveTransport(server.address, pictures)
    found = await probes.outputs(transport, sequences=[[0, 1, 0], [1, 0, 1]])
    assert [len(outputs) for outputs in found] == [3, 3]
    assert found[0] != found[1]
    assert await probes.outputs(transport, sequences=[[0, 1, 0]]) == found[:1]


async def test_held_sessions_keep_their_slots_until_their_connections_end(server, pictures):
    transport, held = DriveTransport(server.address, pictures), probes.Held()
    await held.hold(transport, sessions=SLOTS)
    gc.collect()
    assert await probes.reopen(transport, sessions=1, limit_s=0.3) is None
    await held.release()
    assert await probes.reopen(transport, sessions=SLOTS, limit_s=30.0) is not None
