"""The checksum of a command: CRC-32 over the fields that a vehicle acts on.

After AUTOSAR's end-to-end protection, profile 4: a counter, a data id (here the session's id) and a
CRC over a fixed layout, so that a command that was mixed up, repeated or damaged between the
server's limits and the vehicle's actuators is found out. Server and client share this function.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steerstream.v1 import command_pb2

_LAYOUT = struct.Struct("<QQHBI3d")
"""Little endian: sequence number, capture time in ns, alive counter, validity, state epoch, and the
limited steering wheel angle in rad, speed in m/s and torque in Nm, NaN where absent."""

ALIVE_COUNTER_MODULUS = 1 << 16


def command_checksum(session_id: str, command: command_pb2.Command) -> int:
    """Return the CRC-32 (IEEE 802.3) of a command's safety fields.

    Args:
        session_id: the id that the server gave when it opened the session.
        command: the command; its own ``checksum`` field is not read.

    Returns:
        An unsigned 32-bit number.
    """
    limited = command.limited
    fields = _LAYOUT.pack(
        command.sequence_number,
        command.capture_time_ns,
        command.alive_counter % ALIVE_COUNTER_MODULUS,
        command.validity,
        command.state_epoch,
        limited.steering_wheel_angle_rad
        if limited.HasField("steering_wheel_angle_rad")
        else math.nan,
        limited.speed_mps if limited.HasField("speed_mps") else math.nan,
        limited.steering_torque_nm if limited.HasField("steering_torque_nm") else math.nan,
    )
    return zlib.crc32(fields, zlib.crc32(session_id.encode()))
