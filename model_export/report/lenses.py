"""How other cameras than the network's drive: lenses of other angles, and such as bend lines.

The world draws what each lens shows, it is described to the server, and its pictures are mapped to
the network's camera.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from model_export.report import autonomy
from steerstream import LensModel
from steerstream_simulation.camera import CameraConfig

DELAY_MS = 50.0


def _lens(
    fov_deg: float,
    width_px: int,
    lens: LensModel = LensModel.PINHOLE,
    distortion: tuple[float, ...] = (),
) -> CameraConfig:
    return CameraConfig(
        width_px=width_px,
        height_px=width_px * 3 // 4,
        field_of_view_rad=math.radians(fov_deg),
        lens=lens,
        distortion=distortion,
    )


LENSES = (
    CameraConfig(),
    _lens(30.0, 640),
    _lens(60.0, 640),
    _lens(90.0, 640),
    _lens(60.0, 640, LensModel.BROWN_CONRADY, (-0.3, 0.1, 0.0, 0.0)),
    _lens(100.0, 960, LensModel.FISHEYE, (0.05, -0.01, 0.003, -0.001)),
)
"""The network's own, wider ones, and one of each model that bends lines."""


def measure(bundle: Path, roads: int, seconds: float) -> list[dict[str, Any]]:
    """Drive every road with every lens, a command 50 ms after its picture; return all figures.

    Args:
        bundle: the ONNX file.
        roads: how many, seeds counted from 0.
        seconds: length of each drive.

    Raises:
        BundleError: the file is no bundle.
        DriveError: no server starts with this bundle, or a drive ended before it was over.
    """
    return [
        _figures(camera, autonomy.measure(bundle, [DELAY_MS], roads, seconds, camera))
        for camera in LENSES
    ]


def _figures(camera: CameraConfig, drives: list[dict[str, Any]]) -> dict[str, Any]:
    def all_of(key: str) -> list[float]:
        return [drive[key] for drive in drives]

    return {
        "fov_deg": round(math.degrees(camera.field_of_view_rad), 3),
        "lens": camera.lens.name.lower(),
        "distortion": list(camera.distortion),
        "image_size_px": [camera.width_px, camera.height_px],
        "drives": len(drives),
        "simulated_s": round(sum(all_of("simulated_s")), 3),
        "autonomy_percent": round(statistics.mean(all_of("autonomy_percent")), 3),
        "autonomy_least_percent": min(all_of("autonomy_percent")),
        "interventions": sum(all_of("interventions")),
        "lateral_error_mean_m": round(statistics.mean(all_of("lateral_error_mean_m")), 4),
        "lateral_error_max_m": max(all_of("lateral_error_max_m")),
    }
