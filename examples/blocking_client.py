# ruff: noqa: INP001
"""In lock-step, without async: `python examples/blocking_client.py localhost:50051 *.jpg`."""

import sys
from pathlib import Path

import steerstream.blocking


def main(target: str, names: list[str]) -> None:
    """Send each picture when the one before is answered."""
    with (
        steerstream.blocking.connect(target) as client,
        client.open_session(
            vehicle_id="example", frame_policy=steerstream.FramePolicy.EVERY
        ) as session,
    ):
        for name in names:
            answer = session.request(Path(name).read_bytes())
            print(answer.sequence_number, f"{answer.round_trip_ms:.1f} ms", session.safe_command())


main(sys.argv[1], sys.argv[2:])
