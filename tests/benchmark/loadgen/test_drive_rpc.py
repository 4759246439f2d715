"""The wire contract as the load generator speaks it."""

from __future__ import annotations

import pytest

from benchmark.loadgen.drive_rpc import DriveTransport, frame_request, image_fields
from benchmark.loadgen.transport import SessionEndedError, Terms
from steerstream.v1 import drive_service_pb2


def test_a_prepared_request_is_the_message_that_the_contract_means(pictures):
    request = drive_service_pb2.DriveRequest.FromString(
        frame_request(image_fields(pictures)[0], 300, 1 << 60)
    )
    assert (request.frame.sequence_number, request.frame.capture_time_ns) == (300, 1 << 60)
    assert (request.frame.rgb8.width_px, request.frame.rgb8.height_px) == (64, 48)
    assert len(request.frame.rgb8.pixels) == 3 * 64 * 48


async def test_notices_are_no_answers(server, pictures):
    async with DriveTransport(server.address, pictures).connect() as connection:
        stream = await connection.open("one", Terms(budget_ms=1_000.0, rate_hz=20.0))
        await stream.send(0, 0, 1)
        assert (await stream.receive()).number == 0
        await stream.close()
        with pytest.raises(SessionEndedError):
            await stream.receive()


async def test_a_refusal_tells_its_reason(server, pictures):
    async with DriveTransport(server.address, pictures).connect() as connection:
        with pytest.raises(SessionEndedError) as refused:
            await connection.open("one", Terms(budget_ms=-1.0, rate_hz=20.0))
    assert refused.value.reason == "INVALID_FIELD"
