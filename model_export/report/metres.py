"""What delay, jitter, loss and speed cost in metres: both closed loops, over links that are stated.

Each drive goes through a real server in simulated time. The answers arrive as a latency trace says,
the client's guard bridges what is late or lost, and a network that takes it is told the delay that
the client measures. So a figure depends on the network, the link's seed and nothing else.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from model_export.data.udacity_ch2 import LABELS
from model_export.errors import DriveError
from model_export.evaluation.bundle_runner import BundleRunner
from model_export.evaluation.unseen import SPLIT
from model_export.report.autonomy import LONG_BUDGET_MS
from steerstream import SteerstreamError
from steerstream.testing.server_process import ServerFailedError, serve
from steerstream_simulation import picture_drive, road_drive
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.latency import Latency, StatedLatency, read_trace

ROADS, PICTURES = "rendered roads", "real pictures"
"""The worlds, by their names in the results."""

_USUAL_MS = 50.0
_PICTURES_MPS = 13.0
"""Assumed of the recording, which has no speed: at this one its sharpest bend stays within the
lateral acceleration that the server lets through, so that what is measured is the network."""

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One link, and one speed.

    Attributes:
        name: the column.
        latency: of the link.
        speed_mps: the vehicle's, on roads that are built for it; None for the network's own.
    """

    name: str
    latency: Latency
    speed_mps: float | None = None


def cases(trace: Path | None = None) -> list[Case]:
    """Return the links and speeds that are measured.

    Args:
        trace: a recorded link, to be measured as well.

    Raises:
        MediaError: the trace cannot be read.
    """
    usual = StatedLatency(delay_ms=_USUAL_MS)
    found = [Case(f"{ms:g} ms", StatedLatency(delay_ms=ms)) for ms in (0.0, 50.0, 150.0, 250.0)]
    found += [
        Case("50 ± 30 ms", StatedLatency(delay_ms=_USUAL_MS, jitter_ms=30.0)),
        Case("5 % lost", StatedLatency(delay_ms=_USUAL_MS, loss=0.05)),
        Case("5 % lost, 300 ms", StatedLatency(delay_ms=_USUAL_MS, loss=0.05, burst_ms=300.0)),
    ]
    if trace is not None:
        recorded = read_trace(trace)
        found.append(Case(f"`{recorded.name}`", recorded))
    return found + [Case(f"{mps:g} m/s", usual, mps) for mps in (10.0, 15.0, 20.0, 25.0)]


def measure(
    bundle: Path, data: Path, *, roads: int, seconds: float, trace: Path | None = None
) -> list[dict[str, Any]]:
    """Drive both worlds over every link, and the roads at every speed; return all scores.

    On real pictures only links are measured: their bends were driven at the recording's speed.

    Args:
        bundle: the ONNX file.
        data: folder of the driving data.
        roads: how many, seeds counted from 0.
        seconds: length of each drive on them.
        trace: a recorded link, to be measured as well.

    Raises:
        BundleError: the file is no bundle.
        DriveError: no server starts with this bundle, a drive ended before it was over, or the
            recording or the trace cannot be read.
    """
    # The world shares the machine with the server; OpenCV's own threads would take its cores.
    cv2.setNumThreads(1)
    precision = BundleRunner(bundle).contract.provenance.precision_setting
    try:
        with serve(bundle, options=["--precision", precision]) as server:
            found = []
            print(f"{bundle.stem}: lateral error, mean and largest; put back", flush=True)
            for figures in _driven(cases(trace), server.address, data, range(roads), seconds):
                print(_line(figures), flush=True)
                found.append(figures)
            return found
    except (ServerFailedError, SteerstreamError) as error:
        raise DriveError(str(error)) from error


def _driven(
    links: Sequence[Case], target: str, data: Path, roads: range, seconds: float
) -> Iterator[dict[str, Any]]:
    for case in links:
        yield _on_roads(case, target, roads, seconds)
        if case.speed_mps is None:
            yield _on_pictures(case, target, data / LABELS)


def _line(figures: Report) -> str:
    return (
        "{case:18} {world:15} {lateral_error_mean_m:.2f} {lateral_error_max_m:.2f} m"
        "  {interventions}".format(**figures)
    )


def _on_roads(case: Case, target: str, roads: range, seconds: float) -> dict[str, Any]:
    reports = [
        road_drive.drive(
            road_drive.DriveOptions(
                targets=[target],
                seed=seed,
                seconds=seconds,
                camera=CameraConfig(),
                speed_mps=case.speed_mps,
                latency=case.latency,
                budget_ms=LONG_BUDGET_MS,
            )
        )
        for seed in roads
    ]
    return _summary(case, ROADS, reports)


def _on_pictures(case: Case, target: str, labels: Path) -> dict[str, Any]:
    options = picture_drive.PictureDriveOptions(
        targets=[target],
        labels=labels,
        split=SPLIT,
        speed_mps=_PICTURES_MPS,
        starts_m=[0.0],
        latency=case.latency,
        budget_ms=LONG_BUDGET_MS,
    )
    return _summary(case, PICTURES, [picture_drive.drive(options)])


def _summary(case: Case, world: str, reports: Sequence[Report]) -> dict[str, Any]:
    """Return the figures of one case; drives of one world are of one length."""

    def all_of(key: str) -> list[float]:
        return [report[key] for report in reports]

    return {
        "case": case.name,
        "world": world,
        "latency": case.latency.summary(),
        "speed_mps": case.speed_mps,
        "drives": len(reports) if world == ROADS else reports[0]["drives"],
        "simulated_s": round(sum(all_of("simulated_s")), 3),
        "lateral_error_mean_m": round(statistics.mean(all_of("lateral_error_mean_m")), 4),
        "lateral_error_max_m": max(all_of("lateral_error_max_m")),
        "lane_departures": sum(all_of("lane_departures")),
        "interventions": sum(all_of("interventions")),
        "autonomy_percent": round(statistics.mean(all_of("autonomy_percent")), 3),
        "guard": {
            name: round(sum(report["guard"][name] for report in reports), 3)
            for name in reports[0]["guard"]
        },
    }
