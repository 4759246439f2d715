from __future__ import annotations

import math
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream.checksum import command_checksum, horizon_checksum
from steerstream.v1 import command_pb2


def test_the_layout_is_that_of_the_protocol_page():
    """As docs/protocol.md tells a reader in another language to compute it."""
    command = command_pb2.Command(
        sequence_number=7,
        capture_time_ns=1_000_000,
        limited=command_pb2.ControlValues(steering_wheel_angle_rad=0.25, speed_mps=12.0),
        validity=command_pb2.VALIDITY_VALID,
        alive_counter=513,
        state_epoch=2,
    )
    layout = (
        b"session-1"
        + (7).to_bytes(8, "little")
        + (1_000_000).to_bytes(8, "little")
        + (513).to_bytes(2, "little")
        + (1).to_bytes(1, "little")
        + (2).to_bytes(4, "little")
        + struct.pack("<dd", 0.25, 12.0)
        + bytes.fromhex("000000000000f87f")
    )
    assert command_checksum("session-1", command) == zlib.crc32(layout)


@pytest.mark.parametrize(
    ("head", "place"),
    [("steering_wheel_angle_rad", 0), ("speed_mps", 1), ("steering_torque_nm", 2)],
)
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_each_head_has_its_place_and_zero_is_not_absent(head, place, value):
    command = command_pb2.Command(limited=command_pb2.ControlValues(**{head: value}))
    heads = [bytes.fromhex("000000000000f87f")] * 3
    heads[place] = struct.pack("<d", value)
    assert command_checksum("", command) == zlib.crc32(bytes(8 + 8 + 2 + 1 + 4) + b"".join(heads))


def test_a_horizon_goes_on_from_its_command_s_checksum():
    layout = b"".join(
        [
            (50).to_bytes(4, "little"),
            struct.pack("<3d", 0.25, 12.0, -1.0),
            (100).to_bytes(4, "little"),
            struct.pack("<d", 0.5) + 2 * bytes.fromhex("000000000000f87f"),
        ]
    )
    fields = [50, 0.25, 12.0, -1.0, 100, 0.5, math.nan, math.nan]
    assert horizon_checksum(0xDEADBEEF, fields) == zlib.crc32(layout, 0xDEADBEEF)
    assert horizon_checksum(7, []) == zlib.crc32(b"", 7)


@given(
    command=st.builds(
        command_pb2.Command,
        sequence_number=st.integers(0, 2**64 - 1),
        capture_time_ns=st.integers(0, 2**64 - 1),
        validity=st.integers(-(2**31), 2**31 - 1),
        alive_counter=st.integers(0, 2**32 - 1),
        state_epoch=st.integers(0, 2**32 - 1),
        limited=st.builds(command_pb2.ControlValues, speed_mps=st.none() | st.floats()),
    ),
)
def test_whatever_the_wire_carries_has_a_checksum(command):
    assert 0 <= command_checksum("s", command) < 2**32


def test_the_checksum_does_not_read_itself():
    command = command_pb2.Command(sequence_number=7)
    before = command_checksum("s", command)
    command.checksum = 12345
    assert command_checksum("s", command) == before


def test_the_alive_counter_has_two_bytes():
    wrapped, counted = (command_pb2.Command(alive_counter=count) for count in (65_536 + 5, 5))
    assert command_checksum("", wrapped) == command_checksum("", counted)
