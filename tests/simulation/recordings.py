"""A small recording on a straight road, drawn by the simulation's camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from steerstream_simulation.camera import Camera, CameraConfig
from steerstream_simulation.road import road_from_curvature

SMALL = CameraConfig(width_px=128, height_px=96)
PERIOD_NS = 50_000_000


def write_recording(
    folder: Path,
    angles: list[float],
    *,
    breaks: tuple[int, ...] = (),
    extra: str = "",
    blocks: Sequence[str] = (),
) -> Path:
    """Write pictures and a labels file; return the latter.

    Args:
        folder: where to.
        angles: of the frames; the pictures are of a straight road whatever they are.
        breaks: frames before which a second is missing.
        extra: another column, `NAME=VALUE`, the same in all rows.
        blocks: the block of each frame; none by default.
    """
    camera = Camera(road_from_curvature(np.zeros(2000), seed=3), SMALL)
    name, _, value = extra.partition("=")
    header = "frame_id,filename,steering_angle_rad" + (f",{name}" if name else "")
    lines = [header + (",block" if blocks else "")]
    time_ns = 10**18
    for index, angle in enumerate(angles):
        place = 10.0 + 0.75 * index
        picture = camera.render(camera.road.pose_at(place), place)
        file = f"{index}.png"
        assert cv2.imwrite(str(folder / file), picture[..., ::-1])
        time_ns += PERIOD_NS + (10**9 if index in breaks else 0)
        row = f"{time_ns},{file},{angle}" + (f",{value}" if name else "")
        lines.append(row + (f",{blocks[index]}" if blocks else ""))
    labels = folder / "labels.csv"
    labels.write_text("\n".join(lines) + "\n")
    return labels
