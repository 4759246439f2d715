"""A contact sheet of the worst moments, with the paths of truth and prediction on the road.

The paths are those that the two angles would steer a vehicle along, as the recordings' camera sees
them (`CameraConfig`). The sheet shows real frames, which are not ours to
publish: it belongs in the run's folder and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from model_export.config import HEADS
from model_export.training.health.examination import Examination
from model_export.training.health.moments import Moment
from steerstream_bundle.contract import SPEED, FrameInput
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.vehicle import VehicleParameters

FloatArray = npt.NDArray[np.float64]

_COLUMNS = 4
_TILE_IN = 4.0
_CAPTION_IN = 0.42
_NEAREST_M, _FARTHEST_M = 5.0, 80.0
_SAMPLES = 60
_TRUTH, _PREDICTION = "#38caf0", "#fb923c"


def draw_sheet(examination: Examination, path: Path) -> None:
    """Draw the worst moments of a drive, from left to right, into a PNG file."""
    moments, frame = examination.moments, examination.config.frame.contract()
    columns = min(_COLUMNS, len(moments))
    rows = -(-len(moments) // columns)
    tile_in = _TILE_IN * _height_to_width(frame) + _CAPTION_IN
    figure = Figure(figsize=(columns * _TILE_IN, 0.7 + rows * tile_in), layout="constrained")
    tiles = figure.subplots(rows, columns, squeeze=False).ravel()
    for rank, (axes, moment) in enumerate(zip(tiles, moments, strict=False), 1):
        _draw_tile(axes, examination, moment, rank)
    for axes in tiles:
        axes.set_axis_off()
    figure.suptitle(
        f"{examination.name}: the {len(moments)} worst moments of {examination.source}; "
        f"RMSE {examination.rmse_rad:.3f} rad",
        x=0.01,
        ha="left",
    )
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=len(handles[0]), frameon=False)
    figure.savefig(path, dpi=100)


def steered_path(angle_rad: float, speed_mps: float, frame: FrameInput) -> FloatArray:
    """Return where a vehicle would go, in pixels of the network's picture, [N, 2]: column, row.

    Args:
        angle_rad: steering wheel angle, held; left is positive.
        speed_mps: a fast vehicle bends its path less at the same angle.
        frame: the network's picture.
    """
    camera, crop = CameraConfig(), frame.crop
    ahead_m = np.geomspace(_NEAREST_M, _FARTHEST_M, _SAMPLES)
    curvature = VehicleParameters().curvature_per_m(angle_rad, speed_mps)
    left_m = 0.5 * curvature * (ahead_m + camera.forward_m) ** 2
    column = 0.5 - camera.focal_px * left_m / ahead_m / camera.width_px
    row = camera.horizon + camera.focal_px * camera.mount_height_m / ahead_m / camera.height_px
    return np.stack(
        [
            (column - crop.left) / (crop.right - crop.left) * frame.width_px,
            (row - crop.top) / (crop.bottom - crop.top) * frame.height_px,
        ],
        axis=1,
    )


def _draw_tile(axes: Axes, examination: Examination, moment: Moment, rank: int) -> None:
    frame = examination.config.frame.contract()
    extent = (0, frame.width_px, frame.height_px, 0)
    picture = examination.judged.recording.frames[moment.frame]
    axes.imshow(picture, extent=extent, aspect=_pixel_aspect(frame), interpolation="bilinear")
    speed_mps = _speed_mps(examination, moment)

    def path(angle_rad: float) -> FloatArray:
        return steered_path(angle_rad, speed_mps, frame)

    low, high = (path(moment.predicted_rad + sign * moment.stddev_rad) for sign in (-1, 1))
    sector = np.concatenate((low, high[::-1]))
    _draw_path(axes, path(moment.truth_rad), _TRUTH, "truth")
    _draw_path(axes, path(moment.predicted_rad), _PREDICTION, "prediction")
    axes.fill(*sector.T, color=_PREDICTION, alpha=0.2, linewidth=0, label="± standard deviation")
    axes.set(xlim=(0, frame.width_px), ylim=(frame.height_px, 0))
    axes.set_title(
        f"{rank}. predicted {moment.predicted_rad:+.3f} ± {moment.stddev_rad:.3f}, "
        f"truth {moment.truth_rad:+.3f} rad, frame {moment.frame}",
        fontsize=9,
    )


def _draw_path(axes: Axes, path: FloatArray, colour: str, label: str) -> None:
    outline = [Stroke(linewidth=4, foreground="black", alpha=0.6), Normal()]
    axes.plot(*path.T, color=colour, linewidth=2, label=label, path_effects=outline)


def _speed_mps(examination: Examination, moment: Moment) -> float:
    """Return the labelled speed, or the middle of all where the drive has none."""
    speed = float(examination.judged.recording.labels[moment.frame, HEADS.index(SPEED)])
    return speed if np.isfinite(speed) else examination.config.heads.speed.mean


def _height_to_width(frame: FrameInput) -> float:
    """Return the shape of what the camera saw, whatever the network's picture squeezed it to."""
    camera, crop = CameraConfig(), frame.crop
    return (
        (crop.bottom - crop.top) * camera.height_px / ((crop.right - crop.left) * camera.width_px)
    )


def _pixel_aspect(frame: FrameInput) -> float:
    return _height_to_width(frame) * frame.width_px / frame.height_px
