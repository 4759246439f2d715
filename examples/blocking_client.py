# ruff: noqa: INP001
"""In lock-step, without async: `python examples/blocking_client.py localhost:50051 *.jpg`."""

import sys
from pathlib import Path

import steerstream.blocking
from steerstream import Action, FramePolicy


def main(target: str, names: list[str]) -> None:
    """Send each picture when the one before is answered."""
    with (
        steerstream.blocking.connect(target) as client,
        client.open_session(vehicle_id="example", frame_policy=FramePolicy.EVERY) as session,
    ):
        for name in names:
            answer = session.request(Path(name).read_bytes())
            safe = session.safe_command()
            if safe.action is Action.FOLLOW:
                print(f"steer {safe.steering_wheel_angle_rad} rad, drive {safe.speed_mps} m/s")
            else:
                print(safe.action.name, *safe.reasons)
            print(f"frame {answer.sequence_number} took {answer.round_trip_ms:.1f} ms")


main(sys.argv[1], sys.argv[2:])
