#!/usr/bin/env python3
"""Sends what the guard says as CAN frames: `python examples/can_commands.py HOST:50051 *.jpg`.

The bus is python-can's virtual one, and what came over it is printed. `--interface socketcan
--channel can0` sends over a real one; then set up the actuators' own limits first.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from pathlib import Path

import can
import cantools

import steerstream
from steerstream import Action, SafeCommand

DATABASE = Path(__file__).with_name("steerstream.dbc")
PERIOD_S = 0.01
PICTURES_HZ = 20.0
UNSET_DEG = -1600.0
"""The angle whose raw value is 0. It is no angle that anybody may steer to, so every signal is
stated in every frame."""


class CanCommands:
    """Sends safe commands as frames of a database, with a counter and a checksum each.

    When the guard lets go, one frame of each kind says so, and then nothing is sent: actuators that
    miss the frames let go as well.
    """

    def __init__(self, bus: can.BusABC, database: Path = DATABASE) -> None:
        self._bus = bus
        frames = cantools.database.load_file(database)
        self._steering = frames.get_message_by_name("SteeringRequest")
        self._speed = frames.get_message_by_name("SpeedRequest")
        self._counter = 0
        self._is_active = False

    def send(self, safe: SafeCommand) -> None:
        """Send what the vehicle does now; call it every 10 ms."""
        follows = safe.action is not Action.RELEASE
        if not follows and not self._is_active:
            return
        self._is_active = follows
        holds = safe.action is Action.HOLD
        angle_rad = safe.steering_wheel_angle_rad
        angle_deg = UNSET_DEG if angle_rad is None else math.degrees(angle_rad)
        has_angle, has_speed = angle_rad is not None, safe.speed_mps is not None
        self._put(
            self._steering,
            SteeringActive=follows and has_angle,
            SteeringHolds=holds,
            SteeringWheelAngle=angle_deg,
            SteeringTorque=safe.steering_torque_nm or 0.0,
        )
        self._put(
            self._speed,
            SpeedActive=follows and has_speed,
            SpeedHolds=holds,
            SpeedWanted=3.6 * (safe.speed_mps or 0.0),
        )
        # AUTOSAR's profile 1 counts to 14: 15 says that the sender has a fault.
        self._counter = (self._counter + 1) % 15

    def _put(self, message: cantools.database.Message, **values: float) -> None:
        checksum, counter = (signal.name for signal in message.signals[:2])
        signals = {counter: self._counter, checksum: 0}
        for signal in message.signals[2:]:
            # cantools takes a float32 of NumPy for a name, and refuses what is out of range.
            wanted = float(values[signal.name])
            signals[signal.name] = min(max(wanted, signal.minimum), signal.maximum)
        data = bytearray(message.encode(signals))
        data[0] = crc8(bytes([message.frame_id & 0xFF, *data[1:]]))
        self._bus.send(
            can.Message(arbitration_id=message.frame_id, data=data, is_extended_id=False)
        )


def crc8(data: bytes) -> int:
    """Return the CRC-8 of SAE J1850, as AUTOSAR's end-to-end protection takes it."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


async def main(target: str, pictures: list[bytes], bus: can.BusABC) -> None:
    """Drive pictures, and send frames as long as that lasts."""
    async with (
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="can-example") as session,
        asyncio.TaskGroup() as tasks,
    ):
        acting = tasks.create_task(act(session, CanCommands(bus)))
        for picture in pictures:
            await session.send_frame(picture)
            await asyncio.sleep(1 / PICTURES_HZ)
        acting.cancel()


async def act(session: steerstream.Session, commands: CanCommands) -> None:
    """Ask the guard as often as the actuators want a frame."""
    try:
        while True:
            commands.send(session.safe_command())
            await asyncio.sleep(PERIOD_S)
    finally:
        commands.send(RELEASED)


RELEASED = SafeCommand(Action.RELEASE, None, None, None, math.inf, ())

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Send the commands of a drive as CAN frames.", allow_abbrev=False
    )
    parser.add_argument("target", help="HOST:PORT of the server")
    parser.add_argument("pictures", type=Path, nargs="+", help="JPEG files")
    parser.add_argument("--interface", default="virtual", help="of python-can")
    parser.add_argument("--channel", default="steerstream", help="of the interface")
    options = parser.parse_args()
    place = {"interface": options.interface, "channel": options.channel}
    with can.Bus(**place) as sender, can.Bus(**place) as listener:
        pictures = [path.read_bytes() for path in options.pictures]
        asyncio.run(main(options.target, pictures, sender))
        if options.interface == "virtual":
            while (frame := listener.recv(timeout=0)) is not None:
                print(frame)
