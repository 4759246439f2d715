"""How often a bundle must be put back into its lane, on roads that no training saw.

A command acts when its answer came, or a stated time after its picture: then the figures depend on
the network alone and not on how busy this machine is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from model_export.errors import DriveError
from model_export.evaluation.bundle_runner import BundleRunner
from steerstream import SteerstreamError
from steerstream.testing.server_process import ServerFailedError, serve
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import DriverStoppedError
from steerstream_simulation.road_drive import DriveOptions, drive

BUDGET_MS = 50.0
LONG_BUDGET_MS = 10_000.0
"""With a stated delay no frame is skipped because this machine was slow."""


def measure(
    bundle: Path,
    delays_ms: Sequence[float | None],
    roads: int,
    seconds: float,
    camera: CameraConfig,
) -> list[dict[str, Any]]:
    """Drive every road with every delay, print a table for each delay, return all reports.

    Args:
        bundle: the ONNX file.
        delays_ms: from a picture to when its command acts; None is what answers really take.
        roads: how many, seeds counted from 0.
        seconds: length of each drive.
        camera: of the world.

    Raises:
        BundleError: the file is no bundle.
        DriveError: no server starts with this bundle, or a drive ended before it was over.
    """
    # The world shares the machine with the server; OpenCV's own threads would take its cores.
    cv2.setNumThreads(1)
    drives = []
    try:
        # This bundle, and not one beside it that is quicker.
        precision = BundleRunner(bundle).contract.provenance.precision_setting
        with serve(bundle, options=["--precision", precision]) as server:
            for delay_ms in delays_ms:
                print(_heading(bundle, delay_ms), flush=True)
                for seed in range(roads):
                    drives.append(_drive(server.address, seed, seconds, delay_ms, camera))
                    print(_row(drives[-1]), flush=True)
    except (ServerFailedError, SteerstreamError, DriverStoppedError) as error:
        raise DriveError(str(error)) from error
    return drives


def _drive(
    target: str, seed: int, seconds: float, delay_ms: float | None, camera: CameraConfig
) -> dict[str, Any]:
    return drive(
        DriveOptions(
            targets=[target],
            seed=seed,
            seconds=seconds,
            camera=camera,
            delay_ms=delay_ms,
            budget_ms=BUDGET_MS if delay_ms is None else LONG_BUDGET_MS,
        )
    )


def _heading(bundle: Path, delay_ms: float | None) -> str:
    acts = "when its answer came" if delay_ms is None else f"{delay_ms:g} ms after its picture"
    return (
        f"\n{bundle.stem}: a command acts {acts}\n\n"
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
