# ruff: noqa: INP001
"""Drive at 20 Hz from pictures: `python examples/minimal_client.py localhost:50051 *.jpg`."""

import asyncio
import sys
from pathlib import Path

import steerstream
from steerstream import Action


async def camera(pictures: list[bytes], session: steerstream.Session) -> None:
    """Send a picture every 50 ms, without waiting for the answers."""
    for picture in pictures:
        await session.send_frame(picture)
        await asyncio.sleep(0.05)
    await session.finish()


def act(safe: steerstream.SafeCommand) -> None:
    """Do what the guard says; a vehicle calls this as often as its actuators want a value."""
    match safe.action:
        case Action.FOLLOW:
            print(f"steer {safe.steering_wheel_angle_rad} rad, drive {safe.speed_mps} m/s")
        case Action.HOLD:
            print("keep steering and speed, and expect to take over:", *safe.reasons)
        case Action.RELEASE:
            print("hand over to the driver:", *safe.reasons)


async def main(target: str, pictures: list[bytes]) -> None:
    """Send pictures and print what the vehicle may do."""
    async with (
        steerstream.connect(target) as client,
        client.open_session(vehicle_id="example", budget_ms=50) as session,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(camera(pictures, session))
        async for answer in session:
            match answer:
                case steerstream.Command():
                    act(session.safe_command())
                case steerstream.Skipped(reason=reason, detail=detail):
                    print(answer.sequence_number, reason.name, detail)
                    act(session.safe_command())
                case notice:
                    print(notice)


asyncio.run(main(sys.argv[1], [Path(name).read_bytes() for name in sys.argv[2:]]))
