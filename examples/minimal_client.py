# ruff: noqa: INP001
"""Drive at 20 Hz from pictures: `python examples/minimal_client.py localhost:50051 *.jpg`."""

import asyncio
import sys
from pathlib import Path

import steerstream


async def camera(pictures: list[bytes], session: steerstream.Session) -> None:
    """Send a picture every 50 ms, whatever the answers do."""
    for picture in pictures:
        await session.send_frame(picture)
        await asyncio.sleep(0.05)
    await session.finish()


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
                    print(answer.sequence_number, session.safe_command())
                case steerstream.Skipped(reason=reason, detail=detail):
                    print(answer.sequence_number, reason.name, detail)
                case notice:
                    print(notice)


asyncio.run(main(sys.argv[1], [Path(name).read_bytes() for name in sys.argv[2:]]))
