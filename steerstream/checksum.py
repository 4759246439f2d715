"""The checksum of a command: CRC-32 over the fields that a vehicle acts on.

After AUTOSAR's end-to-end protection, profile 4: a counter, a data id (here the session's id) and a
CRC over a fixed layout, so that a command that was mixed up, repeated or damaged between the
server's limits and the vehicle's actuators is found out. Server and client share this function.
"""

from __future__ import annotations

import functools
import math
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steerstream.v1 import command_pb2

_LAYOUT = struct.Struct("<QQHBI3d")
"""Little endian: sequence number, capture time in ns, alive counter, the lowest byte of the
validity, state epoch, and the limited steering wheel angle in rad, speed in m/s and torque in Nm,
NaN where absent."""

_STEP = "I3d"
"""Of each step: milliseconds after the frame, and the limited values as in the command."""

ALIVE_COUNTER_MODULUS = 1 << 16


def checksum_seed(session_id: str) -> int:
    """Return the number that stands for a session in the checksums of its commands."""
    return zlib.crc32(session_id.encode())


def command_checksum(session_id: str, command: command_pb2.Command) -> int:
    """Return the CRC-32 (IEEE 802.3) of a command's safety fields.

    Args:
        session_id: the id that the server gave when it opened the session.
        command: the command; its own `checksum` field is not read.

    Returns:
        An unsigned 32-bit number.
    """
    limited = command.limited
    return fields_checksum(
        checksum_seed(session_id),
        sequence_number=command.sequence_number,
        capture_time_ns=command.capture_time_ns,
        alive_counter=command.alive_counter,
        validity=command.validity,
        state_epoch=command.state_epoch,
        angle_rad=limited.steering_wheel_angle_rad
        if limited.HasField("steering_wheel_angle_rad")
        else None,
        speed_mps=limited.speed_mps if limited.HasField("speed_mps") else None,
        torque_nm=limited.steering_torque_nm if limited.HasField("steering_torque_nm") else None,
    )


def fields_checksum(
    seed: int,
    *,
    sequence_number: int,
    capture_time_ns: int,
    alive_counter: int,
    validity: int,
    state_epoch: int,
    angle_rad: float | None,
    speed_mps: float | None,
    torque_nm: float | None,
) -> int:
    """Return the CRC-32 of a command's safety fields, without a message to hold them.

    Args:
        seed: of the session, by `checksum_seed`.
        sequence_number: echo of the frame's number.
        capture_time_ns: echo of the frame's capture time, in nanoseconds.
        alive_counter: the session's count of answers, modulo 65,536.
        validity: how far the server trusts the command.
        state_epoch: resets of the recurrent state so far.
        angle_rad: the limited steering wheel angle; None where the head is absent.
        speed_mps: the limited speed; None where the head is absent.
        torque_nm: the limited steering torque; None where the head is absent.

    Returns:
        An unsigned 32-bit number.
    """
    fields = _LAYOUT.pack(
        sequence_number,
        capture_time_ns,
        alive_counter % ALIVE_COUNTER_MODULUS,
        validity & 0xFF,
        state_epoch,
        math.nan if angle_rad is None else angle_rad,
        math.nan if speed_mps is None else speed_mps,
        math.nan if torque_nm is None else torque_nm,
    )
    return zlib.crc32(fields, seed)


def horizon_checksum(of_command: int, fields: Sequence[float]) -> int:
    """Return the CRC-32 of a horizon, which goes on from its command's.

    So a horizon that belongs to another command is found out.

    Args:
        of_command: the command's checksum.
        fields: four numbers of each step: milliseconds after the frame, which are whole, and the
            limited angle in rad, speed in m/s and torque in Nm, NaN where a head is absent.
    """
    return zlib.crc32(_steps(len(fields) // 4).pack(*fields), of_command)


@functools.lru_cache(maxsize=64)
def _steps(count: int) -> struct.Struct:
    return struct.Struct("<" + count * _STEP)
