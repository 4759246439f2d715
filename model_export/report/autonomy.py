"""Drive the ten unseen roads and print how it went: `python -m model_export measure autonomy`.

A command acts when its answer came, or, with `--delay-ms`, a stated time after its picture: then
the figures depend on the network alone and not on how busy this machine is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from reports import machine
from steerstream import SteerstreamError, whole_file
from steerstream.command_line import Parser, count, not_negative, positive
from steerstream.testing.server_process import ServerFailedError, serve
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import DriverStoppedError
from steerstream_simulation.commands import DriveOptions, drive

ROOT = Path(__file__).resolve().parents[2]
ROADS = 10
"""Their seeds are 0 to 9: the world keeps 0 to 99 out of all training."""

BUDGET_MS = 50.0
LONG_BUDGET_MS = 10_000.0
"""With a stated delay no frame is skipped because this machine was slow."""

_EXIT_FAILED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Drive all roads through one server; return 1 where the vehicle left its lane."""
    options = _parser().parse_args(arguments)
    try:
        # Before the drives: what is driven is what lies there now.
        digest = machine.digest(options.model)
        drives = run(options.model, options.delay_ms or [None], options.roads, options.seconds)
    except (ServerFailedError, SteerstreamError, DriverStoppedError, OSError) as error:
        print(f"autonomy: {error}", file=sys.stderr)
        return _EXIT_FAILED
    if options.json:
        report = {
            "benchmark": "autonomy",
            "command": _command(options),
            "bundle_sha256": digest,
            "machine": machine.describe(),
            "results": drives,
        }
        whole_file.write_json(options.json, report)
    return int(any(drive["interventions"] for drive in drives))


def run(
    model: Path, delays_ms: Sequence[float | None], roads: int, seconds: float
) -> list[dict[str, Any]]:
    """Drive every road with every delay, print a table for each delay, return all reports.

    Args:
        model: the bundle.
        delays_ms: from a picture to when its command acts; None is what answers really take.
        roads: how many, seeds counted from 0.
        seconds: length of each drive.

    Raises:
        ServerFailedError: no server starts with this bundle.
        SteerstreamError: the server refuses or fails.
        DriverStoppedError: the server ended a session before its drive was over.
    """
    # The world shares the machine with the server; OpenCV's own threads would take its cores.
    cv2.setNumThreads(1)
    drives = []
    with serve(model) as server:
        for delay_ms in delays_ms:
            print(_heading(model, delay_ms), flush=True)
            for seed in range(roads):
                drives.append(_drive(server.address, seed, seconds, delay_ms))
                print(_row(drives[-1]), flush=True)
    return drives


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m model_export measure autonomy", description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "pilotnet_lstm.onnx")
    parser.add_argument(
        "--delay-ms",
        type=not_negative,
        nargs="+",
        metavar="MS",
        help="from a picture to when its command acts; several are driven one after the other "
        "(default: what answers really take)",
    )
    parser.add_argument("--roads", type=count, default=ROADS, metavar="N", help="default: all ten")
    parser.add_argument(
        "--seconds", type=positive, default=60.0, help="of each drive (default: 60)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    return parser


def _command(options: argparse.Namespace) -> str:
    """Return the command line as anybody can repeat it from the checkout."""
    delays = "".join(f" {delay:g}" for delay in options.delay_ms or ())
    return (
        f"python -m model_export measure autonomy --model models/{options.model.name}"
        f"{delays and ' --delay-ms'}{delays} --roads {options.roads} --seconds {options.seconds:g}"
    )


def _drive(target: str, seed: int, seconds: float, delay_ms: float | None) -> dict[str, Any]:
    return drive(
        DriveOptions(
            target=target,
            seed=seed,
            seconds=seconds,
            camera=CameraConfig(),
            delay_ms=delay_ms,
            budget_ms=BUDGET_MS if delay_ms is None else LONG_BUDGET_MS,
        )
    )


def _heading(model: Path, delay_ms: float | None) -> str:
    acts = "when its answer came" if delay_ms is None else f"{delay_ms:g} ms after its picture"
    return (
        f"\n{model.stem}: a command acts {acts}\n\n"
        "| road | autonomy | lateral error, mean | largest | lane departures |\n"
        "|---:|---:|---:|---:|---:|"
    )


def _row(drive: dict[str, Any]) -> str:
    cells = [
        str(drive["seed"]),
        f"{drive['autonomy_percent']:.0f} %",
        f"{drive['lateral_error_mean_m']:.2f} m",
        f"{drive['lateral_error_max_m']:.2f} m",
        str(drive["lane_departures"]),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
