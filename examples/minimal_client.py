# ruff: noqa: INP001
"""Drive at 20 Hz from pictures: `python examples/minimal_client.py localhost:50051 *.jpg`."""

import argparse
import asyncio
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
            angle_rad, speed_mps = shown(safe.steering_wheel_angle_rad), shown(safe.speed_mps)
            print(f"steer {angle_rad} rad, drive {speed_mps} m/s")
        case Action.HOLD:
            print("keep steering and speed, and expect to take over:", *why(safe))
        case Action.RELEASE:
            print("hand over to the driver:", *why(safe))


def shown(value: float | None) -> str:
    """Return a value for the terminal; models lack some of them."""
    return "-" if value is None else f"{value:.3f}"


def why(safe: steerstream.SafeCommand) -> list[str]:
    """Return what is to be said of a command that is not just followed."""
    return [reason.value for reason in safe.reasons]


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
                case steerstream.TicketIssued():
                    pass  # To go on after a loss, which `drive_session` does by itself.
                case notice:
                    print(notice)


parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
parser.add_argument("target", help="HOST:PORT of the server")
parser.add_argument("pictures", type=Path, nargs="+", help="JPEG files")
options = parser.parse_args()
asyncio.run(main(options.target, [path.read_bytes() for path in options.pictures]))
