# ruff: noqa: INP001
"""In lock-step, without async: `python examples/blocking_client.py localhost:50051 *.jpg`."""

import argparse
from pathlib import Path

import steerstream.blocking
from steerstream import Action, FramePolicy


def main(target: str, pictures: list[Path]) -> None:
    """Send each picture when the one before is answered."""
    with (
        steerstream.blocking.connect(target) as client,
        client.open_session(vehicle_id="example", frame_policy=FramePolicy.EVERY) as session,
    ):
        for picture in pictures:
            answer = session.request(picture.read_bytes())
            safe = session.safe_command()
            if safe.action is Action.FOLLOW:
                print(f"steer {safe.steering_wheel_angle_rad} rad, drive {safe.speed_mps} m/s")
            else:
                print(safe.action.name, *(reason.value for reason in safe.reasons))
            print(f"frame {answer.sequence_number} took {answer.round_trip_ms:.1f} ms")


parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
parser.add_argument("target", help="HOST:PORT of the server")
parser.add_argument("pictures", type=Path, nargs="+", help="JPEG files")
options = parser.parse_args()
main(options.target, options.pictures)
