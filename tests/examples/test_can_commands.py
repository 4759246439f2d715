"""The frames of the CAN example, as any program with its database decodes them."""

from __future__ import annotations

import asyncio
import math
import runpy
import subprocess
import sys

import numpy as np
import pytest

from steerstream import Action, SafeCommand
from tests.conftest import ROOT
from tests.steerstream.command_lines import served

can = pytest.importorskip("can", reason="needs the extra can")
cantools = pytest.importorskip("cantools", reason="needs the extra can")

EXAMPLE = ROOT / "examples" / "can_commands.py"
NAMES = runpy.run_path(str(EXAMPLE))
DATABASE, RELEASED, UNSET_DEG = NAMES["DATABASE"], NAMES["RELEASED"], NAMES["UNSET_DEG"]
CanCommands, crc8 = NAMES["CanCommands"], NAMES["crc8"]
FRAMES = cantools.database.load_file(DATABASE)
STEERING = FRAMES.get_message_by_name("SteeringRequest").frame_id
SPEED = FRAMES.get_message_by_name("SpeedRequest").frame_id


def safe(action=Action.FOLLOW, angle_rad=0.5, speed_mps=10.0, torque_nm=-1.5):
    return SafeCommand(action, angle_rad, speed_mps, torque_nm, 5.0, ())


@pytest.fixture
def buses(request):
    place = {"interface": "virtual", "channel": request.node.name}
    with can.Bus(**place) as sender, can.Bus(**place) as listener:
        yield sender, listener


def taken(listener):
    """What came: identifier, signals and bytes of each frame."""
    found = []
    while (frame := listener.recv(timeout=0)) is not None:
        signals = FRAMES.decode_message(frame.arbitration_id, frame.data)
        found.append((frame.arbitration_id, signals, bytes(frame.data)))
    return found


def test_a_command_that_is_followed_is_two_frames(buses):
    sender, listener = buses
    CanCommands(sender).send(safe())
    (first, steering, _), (second, speed, _) = taken(listener)
    assert (first, second) == (STEERING, SPEED)
    assert (steering["SteeringActive"], steering["SteeringHolds"]) == (1, 0)
    assert steering["SteeringWheelAngle"] == pytest.approx(math.degrees(0.5), abs=0.05)
    assert steering["SteeringTorque"] == pytest.approx(-1.5)
    assert (speed["SpeedActive"], speed["SpeedWanted"]) == (1, pytest.approx(36.0))


def test_a_command_that_is_held_says_so_and_keeps_its_values(buses):
    sender, listener = buses
    CanCommands(sender).send(safe(Action.HOLD))
    (_, steering, _), (_, speed, _) = taken(listener)
    assert (steering["SteeringActive"], steering["SteeringHolds"]) == (1, 1)
    assert (speed["SpeedActive"], speed["SpeedHolds"]) == (1, 1)


def test_when_the_guard_lets_go_one_frame_says_so_and_nothing_follows(buses):
    sender, listener = buses
    commands = CanCommands(sender)
    commands.send(RELEASED)
    assert taken(listener) == []
    commands.send(safe())
    taken(listener)
    commands.send(RELEASED)
    (_, steering, _), (_, speed, _) = taken(listener)
    assert (steering["SteeringActive"], speed["SpeedActive"]) == (0, 0)
    assert steering["SteeringWheelAngle"] == UNSET_DEG
    for _ in range(3):
        commands.send(RELEASED)
    assert taken(listener) == []
    commands.send(safe())
    assert len(taken(listener)) == 2


def test_a_head_that_the_network_lacks_is_not_active(buses):
    sender, listener = buses
    CanCommands(sender).send(safe(angle_rad=None, speed_mps=None, torque_nm=None))
    (_, steering, _), (_, speed, _) = taken(listener)
    assert (steering["SteeringActive"], steering["SteeringWheelAngle"]) == (0, UNSET_DEG)
    assert (speed["SpeedActive"], speed["SpeedWanted"]) == (0, 0)


def test_no_value_leaves_the_range_of_its_signal(buses):
    sender, listener = buses
    commands = CanCommands(sender)
    commands.send(safe(angle_rad=1000.0, speed_mps=1000.0, torque_nm=-1000.0))
    commands.send(safe(angle_rad=-1000.0, speed_mps=-1000.0))
    (_, high, _), (_, fast, _), (_, low, _), (_, slow, _) = taken(listener)
    assert (high["SteeringWheelAngle"], low["SteeringWheelAngle"]) == (1600, -1600)
    assert high["SteeringTorque"] == -5
    assert (fast["SpeedWanted"], slow["SpeedWanted"]) == (250, 0)


def test_numbers_of_numpy_are_numbers(buses):
    sender, listener = buses
    values = (np.float32(0.5), np.float64(10.0), np.float32(-1.5))
    CanCommands(sender).send(safe(Action.FOLLOW, *values))
    assert taken(listener)[0][1]["SteeringTorque"] == pytest.approx(-1.5)


def test_the_counter_goes_round_without_the_value_that_means_a_fault(buses):
    sender, listener = buses
    commands = CanCommands(sender)
    for _ in range(17):
        commands.send(safe())
    counters = [
        signals["SteeringCounter"] for name, signals, _ in taken(listener) if name == STEERING
    ]
    assert counters == [*range(15), 0, 1]


def test_the_checksum_notices_every_bit_that_is_turned_and_the_wrong_frame(buses):
    sender, listener = buses
    CanCommands(sender).send(safe())
    (name, _, data), (other, _, _) = taken(listener)
    assert data[0] == crc8(bytes([name & 0xFF, *data[1:]]))
    assert data[0] != crc8(bytes([other & 0xFF, *data[1:]]))
    for bit in range(8, 64):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        assert data[0] != crc8(bytes([name & 0xFF, *turned[1:]]))


def test_the_checksum_is_that_of_the_standard():
    # The check value that catalogues of CRCs give for CRC-8/SAE-J1850.
    assert crc8(b"123456789") == 0x4B


class GoneBus:
    def send(self, message):
        raise can.CanOperationError("the bus is gone")


def test_a_bus_that_is_gone_ends_the_drive_while_pictures_still_come():
    async def drive(target):
        async with asyncio.timeout(60):
            await NAMES["main"](target, 3_000 * [b"\xff\xd8 a picture"], GoneBus())

    with served() as target, pytest.raises(ExceptionGroup) as caught:
        asyncio.run(drive(target))
    assert caught.group_contains(can.CanOperationError)


def test_the_example_drives_a_folder_and_lets_go_in_the_end(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8 a picture")
    with served() as target:
        done = subprocess.run(
            [sys.executable, EXAMPLE, target, path, path, path],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={"PYTHONPATH": str(ROOT)},
        )
    lines = done.stdout.splitlines()
    assert f"ID: {STEERING:8x}".replace("ID: ", "").strip() in lines[0]
    data = bytes.fromhex("".join(lines[-2].split("DL:")[1].split()[1:9]))
    assert FRAMES.decode_message(STEERING, data)["SteeringActive"] == 0
