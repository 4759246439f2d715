"""HTTP/2 by hand: a whole call is understood by a real server, and parts of one take nothing."""

from __future__ import annotations

import asyncio

from benchmark.attacks import raw_http2
from benchmark.attacks.attacks import opening
from benchmark.attacks.raw_http2 import RawConnection
from benchmark.attacks.witnesses import room
from benchmark.loadgen.drive_rpc import DriveTransport

SLOTS = 4


def test_a_frame_is_its_length_type_flags_and_stream():
    assert raw_http2.frame(0x1, 0x4, 3, b"ab") == b"\x00\x00\x02\x01\x04\x00\x00\x00\x03ab"


def test_a_message_can_lie_about_its_length():
    assert raw_http2.message(b"ab") == b"\x00\x00\x00\x00\x02ab"
    assert raw_http2.message(b"ab", 9) == b"\x00\x00\x00\x00\x09ab"


async def until_it_leaves(slots, transport):
    async with asyncio.timeout(30.0):
        while await room(transport, rate_hz=1.0, budget_ms=5_000.0, most=SLOTS) != slots:
            pass


async def test_a_call_by_hand_holds_a_slot_until_its_connection_ends(server, pictures):
    transport = DriveTransport(server.address, pictures)

    await until_it_leaves(SLOTS, transport)
    async with RawConnection(server.address) as connection:
        await connection.send_headers(raw_http2.call_headers(server.address))
        await connection.send_data(raw_http2.message(opening("by-hand")))
        await until_it_leaves(SLOTS - 1, transport)
    await until_it_leaves(SLOTS, transport)


async def test_flow_control_is_kept_and_grants_are_used(server, pictures):
    transport = DriveTransport(server.address, pictures)
    size = 1_000_000
    async with RawConnection(server.address) as connection, asyncio.timeout(30.0):
        await connection.send_headers(raw_http2.call_headers(server.address))
        # More than the first window: it ends only when the server has granted the rest.
        await connection.send_data(raw_http2.message(bytes(size - 1), size))
        assert await room(transport, rate_hz=1.0, budget_ms=5_000.0, most=SLOTS) == SLOTS
