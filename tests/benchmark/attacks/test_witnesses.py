"""What others feel is told as it is."""

from __future__ import annotations

import socket

from benchmark.attacks import witnesses
from benchmark.loadgen import probes
from benchmark.loadgen.drive_rpc import DriveTransport
from steerstream.drive.histogram import Histogram

SLOTS = 4


async def test_a_server_at_peace_answers_probes_and_lets_vehicles_in(server, pictures):
    found = await witnesses.watch(DriveTransport(server.address, pictures), seconds=0.5)
    assert found["health_failed"] == {}
    assert Histogram.from_json(found["health"]).count >= 1
    assert found["newcomers"] >= 1
    assert found["shut_out"] == {}


async def test_vehicles_that_find_no_slot_are_counted_by_reason(server, pictures):
    transport, held = DriveTransport(server.address, pictures), probes.Held()
    await held.hold(transport, sessions=SLOTS)
    found = await witnesses.watch(transport, seconds=0.2)
    assert found["shut_out"] == {"TOO_MANY_SESSIONS": found["newcomers"]}
    assert await witnesses.room(transport, rate_hz=1.0, budget_ms=5_000.0, most=SLOTS) == 0
    await held.release()
    assert await probes.reopen(transport, sessions=SLOTS, limit_s=30.0) is not None
    assert await witnesses.room(transport, rate_hz=1.0, budget_ms=5_000.0, most=SLOTS) == SLOTS


async def test_a_server_that_is_gone_fails_every_probe_and_vehicle(pictures):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = await witnesses.watch(DriveTransport(address, pictures), seconds=0.2)
    probed = Histogram.from_json(found["health"]).count
    assert found["health_failed"] == {"UNAVAILABLE": probed}
    assert found["shut_out"] == {"NO_CONNECTION": found["newcomers"]}
