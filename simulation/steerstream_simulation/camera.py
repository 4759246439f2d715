"""A forward camera drawn with OpenCV: ground strip, roadside curtains, panorama, and light.

It matches the camera of the Udacity Challenge 2 recordings: 1.3 m above the ground, 18 degrees
across, horizon at 0.45 of the height, so that the lane's lines meet the picture's sides near its
bottom corners. Same road, same pose, same picture, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream import LensModel
from steerstream_simulation import ground, scenery
from steerstream_simulation.appearance import draw_appearance
from steerstream_simulation.lens import Lens
from steerstream_simulation.noise import smooth_line
from steerstream_simulation.road import Pose, Road
from steerstream_simulation.view import View, look_ahead, road_coordinates, visible_columns

_COLUMN_STEP = 8
_FARTHEST_M = 280.0
_PITCH_PERIOD_M = 512
_PITCH_ROOM_PX = 12
# Vegetation on the inside of a bend is kept low, as road builders do for sight.
_SIGHT_CURVATURE_PER_M = 0.006
_SIGHT_HEIGHT = 0.1


@dataclass(frozen=True)
class CameraConfig:
    """Size and mounting of the camera.

    Attributes:
        width_px: columns.
        height_px: rows.
        field_of_view_rad: horizontal. The recordings come without a calibration;
            `python -m model_export measure focal-length` finds 17 degrees from the flow of the
            road in bends. A wider lens would make the same bend look straighter, and a network that
            learns from both would misread the real one.
        mount_height_m: above the ground.
        forward_m: ahead of the vehicle's centre of gravity.
        horizon: row of the horizon as a share of the height.
        pitch_px: standard deviation of the horizon's movement, in rows of 240.
        lens: how the lens bends straight lines; `bent_camera` draws what does.
        distortion: its coefficients, as OpenCV has them: radial ones alone for BROWN_CONRADY.
    """

    width_px: int = 320
    height_px: int = 240
    field_of_view_rad: float = math.radians(18.0)
    mount_height_m: float = 1.3
    forward_m: float = 0.5
    horizon: float = 0.45
    pitch_px: float = 0.8
    lens: LensModel = LensModel.PINHOLE
    distortion: tuple[float, ...] = ()

    @property
    def focal_px(self) -> float:
        """Focal length in pixels, the same along rows and columns."""
        off = 0.5 * self.field_of_view_rad
        if self.lens is LensModel.FISHEYE:
            radial = self.distortion
        else:
            # k1 and k2; after them stand those that bend to a side, and k3.
            off, radial = math.tan(off), (*self.distortion[:2], *self.distortion[4:])
        bent = off * (1.0 + sum(k * off ** (2 * at) for at, k in enumerate(radial, 1)))
        return 0.5 * self.width_px / bent


class Camera:
    """Renders what a vehicle on one road sees.

    Args:
        road: the road; its seed decides about everything that is not geometry.
        config: size and mounting.
    """

    def __init__(self, road: Road, config: CameraConfig | None = None) -> None:
        self.road = road
        self.config = config or CameraConfig()
        look = draw_appearance(road.seed)
        self._ground = ground.paint_ground(road.seed, road.lane_width_m, look)
        self._roadside = scenery.paint_roadside(road.seed, look)
        self._level_ends_m = np.array([level.to_distance_m for level in self._ground.levels])
        self._level_scales = np.stack([level.pixels_per_m for level in self._ground.levels])
        self._horizon_px = self.config.horizon * self.config.height_px
        panorama = scenery.paint_panorama(
            road.seed, look, self.config.focal_px, math.ceil(self._horizon_px) + _PITCH_ROOM_PX
        )
        # Four bytes a pixel, so that columns can be gathered as single numbers.
        self._panorama = cv2.cvtColor(panorama, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0]
        size = (self.config.height_px, self.config.width_px)
        self._lens = Lens(road.seed, look, self._ground.brightness, size)
        self._tangents = self._tangent_of(np.arange(self.config.width_px, dtype=np.float32))
        coarse = np.arange(-1, self.config.width_px // _COLUMN_STEP + 2, dtype=np.float32)
        self._coarse_tangents = self._tangent_of((coarse + 0.5) * _COLUMN_STEP - 0.5)
        bumps = smooth_line(np.random.default_rng([road.seed, 6]), _PITCH_PERIOD_M, 9.0)
        pitch_px = self.config.pitch_px * self.config.height_px / 240
        self._pitch_px = np.append(bumps, bumps[0]) * np.float32(pitch_px)

    def render(self, pose: Pose, arc_length_m: float) -> NDArray[np.uint8]:
        """Draw one picture.

        Args:
            pose: the vehicle's pose.
            arc_length_m: where along the road it is, as `Road.locate` says.

        Returns:
            uint8 RGB `[height, width, 3]`.
        """
        view = look_ahead(self.road, pose, arc_length_m, self.config.forward_m)
        horizon = self._horizon_at(arc_length_m)
        image = np.empty((self.config.height_px, self.config.width_px, 3), np.uint8)
        self._draw_panorama(image, pose.heading_rad, horizon)
        self._draw_ground(image, view, horizon)
        self._draw_roadside(image, view, horizon)
        return self._lens.expose(image, pose, arc_length_m)

    def _tangent_of(self, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        return (0.5 * (self.config.width_px - 1) - columns) / np.float32(self.config.focal_px)

    def _horizon_at(self, arc_length_m: float) -> float:
        # Linear between metres, so that the horizon moves smoothly.
        index, fraction = divmod(arc_length_m % _PITCH_PERIOD_M, 1.0)
        here, there = self._pitch_px[int(index) : int(index) + 2]
        return self._horizon_px + float(here + (there - here) * fraction)

    def _draw_panorama(self, image: NDArray[np.uint8], heading: float, horizon: float) -> None:
        rows = math.floor(horizon) + 1
        bearings = heading + np.arctan(self._tangents)
        columns = np.rint(bearings * self.config.focal_px).astype(np.int64)
        columns %= self._panorama.shape[1]
        top = self._panorama.shape[0] - rows
        seen = self._panorama[top:].take(columns, axis=1)
        image[:rows] = seen.view(np.uint8).reshape(rows, -1, 4)[..., :3]

    def _draw_ground(self, image: NDArray[np.uint8], view: View, horizon: float) -> None:
        first_row = math.floor(horizon) + 1
        below = np.arange(first_row, self.config.height_px, dtype=np.float32) - np.float32(horizon)
        x = self.config.focal_px * self.config.mount_height_m / below
        x = np.minimum(x, np.float32(_FARTHEST_M))
        along, offset = road_coordinates(view, x[:, None], x[:, None] * self._coarse_tangents)
        along += np.float32(view.arc_length_m % ground.PERIOD_M)
        across = ground.fold(offset) - ground.OFFSET_MIN_M
        level_of_row = np.searchsorted(self._level_ends_m, x)
        scale = self._level_scales[level_of_row][:, None]
        pixels = np.stack([across, along], axis=2) * scale - np.float32(0.5)
        # A row of the picture is a straight line on the ground, so linear interpolation between
        # coarse columns loses nothing but the road's own bend within a few centimetres.
        pixels = cv2.resize(pixels, (pixels.shape[1] * _COLUMN_STEP, len(x)))
        pixels = pixels[:, _COLUMN_STEP : _COLUMN_STEP + self.config.width_px]
        for index, level in enumerate(self._ground.levels):
            rows = np.flatnonzero(level_of_row == index)
            if len(rows):
                span = slice(rows[0], rows[-1] + 1)
                image[first_row:][span] = level.look_up(pixels[span])

    def _draw_roadside(self, image: NDArray[np.uint8], view: View, horizon: float) -> None:
        left, right = (self._curtain(view, side) for side in (1, -1))
        nearer = left[0] >= right[0]
        inverse, along, low = (
            np.asarray(np.where(nearer, *pair), np.float32)
            for pair in zip(left, right, strict=True)
        )
        rows = np.arange(self.config.height_px, dtype=np.float32)[:, None]
        base = horizon + self.config.focal_px * self.config.mount_height_m * float(inverse.max())
        rows = rows[: min(math.ceil(base) + 1, self.config.height_px)]
        distance = 1.0 / np.maximum(inverse, np.float32(1e-4))
        per_row = distance / np.float32(self.config.focal_px)
        height = np.float32(self.config.mount_height_m) - (rows - np.float32(horizon)) * per_row
        height[:, inverse == 0.0] = -1.0
        drawn = self._roadside.look_up(np.asarray(height / low, np.float32), along, nearer)
        _, mask = cv2.threshold(cv2.extractChannel(drawn, 3), 127, 255, cv2.THRESH_BINARY)
        cv2.copyTo(cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB), mask, image[: len(rows)])

    def _curtain(
        self, view: View, side: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        lane = self.road.lane_width_m * (1.5 if side > 0 else 0.5)
        metres = (view.arc_length_m + np.arange(len(view.x))) % scenery.PERIOD_M
        distance = lane + self._roadside.distance_m[0 if side > 0 else 1][metres.astype(np.int64)]
        inward = np.maximum(view.curvature * side, np.float32(1e-3))
        inverse, along = visible_columns(
            view, side * np.minimum(distance, 0.7 / inward), self._tangents
        )
        inside = view.curvature * side > _SIGHT_CURVATURE_PER_M
        bend = cv2.blur(inside.astype(np.float32)[:, None], (1, 31))[:, 0]
        low = 1.0 + (_SIGHT_HEIGHT - 1.0) * np.clip(2.0 * bend, 0.0, 1.0)
        low = np.interp(along, np.arange(len(low)), low).astype(np.float32)
        return inverse, along + np.float32(view.arc_length_m % scenery.PERIOD_M), low
