"""Random changes to a sequence that keep its labels true.

One `Augmentation` is drawn for a whole pass over a sequence, so that a mirrored or shifted
road stays so from frame to frame, as a recurrent network must see it; only the sensor's noise
differs from frame to frame.

A camera that is moved left by y and turned left by psi sees the driven path from elsewhere. The
label becomes the angle that leads back to the path over the recovery distance L (pure pursuit):
its curvature changes by `-2 (y + L psi) / L**2`. Speed stays as it was; the torque that a driver
would have felt is not known, so its label is dropped.

A sequence that wanders is seen from a smooth random path about the driven one, so that the motion
between its pictures is not the driver's alone. Its labels are those of `return_law`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from model_export.config import HEADS, AugmentConfig
from steerstream_bundle.contract import SPEED, STEERING_TORQUE, STEERING_WHEEL_ANGLE, FrameInput
from steerstream_bundle.preprocess import Picture
from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.reprojection import Optics, Reprojection
from steerstream_simulation.return_law import Deviation, return_angle_rad
from steerstream_simulation.vehicle import VehicleParameters

Labels = npt.NDArray[np.float32]

_ANGLE, _SPEED, _TORQUE = map(HEADS.index, (STEERING_WHEEL_ANGLE, SPEED, STEERING_TORQUE))
NOMINAL_SPEED_MPS = 15.0
"""Of a recording that does not know its own."""
_WAVES = 12
_BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)
"""Ways to fill what leaves a picture: a network must not learn one of them."""
_GREATEST_ERASED = 0.4
"""Of the picture's height and width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewpoint:
    """Where the camera is moved to: metres left, radians left, and in the picture's own pixels."""

    shift_m: float
    yaw_rad: float
    pitch_px: float
    zoom: float

    @property
    def is_moved(self) -> bool:
        """Whether the camera left the driven path."""
        return self.shift_m != 0 or self.yaw_rad != 0


class Wander:
    """A smooth random path about the driven one: a Gaussian process, as a sum of waves.

    Args:
        offset_m: standard deviation of the lateral offset.
        heading_rad: standard deviation of the heading error.
        rng: draws the waves.
    """

    def __init__(self, offset_m: float, heading_rad: float, rng: np.random.Generator) -> None:
        fastest = NOMINAL_SPEED_MPS * heading_rad / offset_m
        self._height_m = offset_m * math.sqrt(2 / _WAVES)
        self._radps = rng.normal(0.0, fastest, _WAVES)
        self._phase = rng.uniform(0.0, 2 * math.pi, _WAVES)

    def at(self, time_s: float) -> Deviation:
        """Return where the camera is at a time."""
        angle = self._radps * time_s + self._phase
        rate = self._height_m * float((-np.sin(angle) * self._radps).sum())
        return Deviation(self._height_m * float(np.cos(angle).sum()), rate / NOMINAL_SPEED_MPS)


class Augmentation:
    """One draw of random changes, for one pass over a sequence.

    Args:
        config: bounds of the changes.
        frame: the network's picture.
        seed: decides the draw, and with a frame's index also its noise.
        period_s: nominal time between frames.
    """

    def __init__(
        self, config: AugmentConfig, frame: FrameInput, seed: int, period_s: float = 0.05
    ) -> None:
        rng = np.random.default_rng(seed)
        self._seed = seed
        self.flip = bool(rng.random() < config.flip)
        self.viewpoint = Viewpoint(
            shift_m=rng.uniform(-1, 1) * config.shift_m,
            yaw_rad=rng.uniform(-1, 1) * config.yaw_rad,
            pitch_px=rng.uniform(-1, 1) * config.pitch_px,
            zoom=1 + rng.uniform(-1, 1) * config.zoom,
        )
        self._recovery_m = config.recovery_m
        self._warp = _warp(self.viewpoint, frame)
        self._tones = _tones(config, rng)
        self._shadow = _shadow(config, frame, rng)
        self._erased = _rectangle(config, frame, rng)
        self._blur = bool(rng.random() < config.blur)
        self._noise = rng.uniform(0, config.noise)
        self._period_s = period_s
        self._law = {"frequency_radps": config.return_radps, "damping": config.return_damping}
        self._wander = Wander(config.wander_m, config.wander_rad, rng) if config.wander_m else None
        if self._wander is not None:
            self._warp = None
            self._reprojection = Reprojection(optics(frame), int(rng.choice(_BORDERS)))

    def picture(self, picture: Picture, index: int) -> Picture:
        """Change one prepared picture; `index` is its place in the sequence."""
        lit = cv2.LUT(self._blurred(self._moved(picture, index)), self._tones)
        if self._shadow is not None:
            lit = cv2.multiply(lit, self._shadow, dtype=cv2.CV_8U)
        if self._noise:
            lit = cv2.add(lit, self._noise_of(lit.shape, index), dtype=cv2.CV_8U)
        if self._erased is not None:
            lit[self._erased] = 128
        return np.asarray(lit[:, ::-1] if self.flip else lit, np.uint8)

    def deviation(self, place: int) -> Deviation | None:
        """Return where a frame is seen from, if the sequence wanders; `place` as for `picture`."""
        return None if self._wander is None else self._wander.at(place * self._period_s)

    def labels(
        self,
        labels: Labels,
        places: Sequence[int] | npt.NDArray[np.int64] = (),
    ) -> Labels:
        """Change labels so that they are true for the changed pictures.

        Args:
            labels: [T, 3], or [T, K, 3] of some times after each frame. Later ones lead back from
                where the camera is at the frame: a vehicle whose commands act late lags behind
                what they ask for, and steered too little if told that it is half back by then.
            places: the T frames' places in the sequence, as `picture` takes them; needed where
                the sequence wanders.
        """
        changed = labels.copy()
        if self._wander is not None:
            changed[..., _ANGLE] += self._return_rad(labels[..., _SPEED], places)
            changed[..., _TORQUE] = np.nan
        elif self.viewpoint.is_moved:
            changed[..., _ANGLE] += recovery_angle_rad(self.viewpoint, self._recovery_m)
            changed[..., _TORQUE] = np.nan
        if self.flip:
            changed[..., _ANGLE] *= -1
            changed[..., _TORQUE] *= -1
        return changed

    def _return_rad(
        self,
        speeds_mps: Labels,
        places: Sequence[int] | npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        path = [self.deviation(place) for place in places]
        offset, heading = np.array(path, np.float64).T.reshape(2, -1, *(1,) * (speeds_mps.ndim - 1))
        speeds = np.where(np.isfinite(speeds_mps), speeds_mps, NOMINAL_SPEED_MPS)
        return return_angle_rad(Deviation(offset, heading), speeds, **self._law)

    def _moved(self, picture: Picture, index: int) -> Picture:
        if self._wander is not None:
            where, view = self._wander.at(index * self._period_s), self.viewpoint
            return self._reprojection.move(
                picture,
                float(where.offset_m),
                float(where.heading_rad),
                pitch_px=view.pitch_px,
                zoom=view.zoom,
            )
        if self._warp is None:
            return picture
        size = (picture.shape[1], picture.shape[0])
        mode = cv2.BORDER_REFLECT_101
        return np.asarray(cv2.warpAffine(picture, self._warp, size, borderMode=mode), np.uint8)

    def _blurred(self, picture: Picture) -> Picture:
        return np.asarray(cv2.blur(picture, (3, 3)), np.uint8) if self._blur else picture

    def _noise_of(self, shape: tuple[int, ...], index: int) -> npt.NDArray[np.float32]:
        rng = np.random.default_rng((self._seed, index))
        grey = rng.standard_normal(shape[:2], dtype=np.float32) * np.float32(self._noise)
        return np.asarray(cv2.merge([grey] * 3), np.float32)


def optics(frame: FrameInput) -> Optics:
    """Return the geometry of a network's picture, cut from those of the recordings' camera."""
    crop, size = frame.crop, (frame.height_px, frame.width_px)
    return Optics.of(CameraConfig(), size, (crop.top, crop.bottom, crop.left, crop.right))


def recovery_angle_rad(viewpoint: Viewpoint, recovery_m: float) -> float:
    """Return the change of the steering wheel angle that leads a moved camera back to the path."""
    vehicle = VehicleParameters()
    curvature = -2 * (viewpoint.shift_m + recovery_m * viewpoint.yaw_rad) / recovery_m**2
    return vehicle.steering_ratio * math.atan(vehicle.wheelbase_m * curvature)


def _warp(view: Viewpoint, frame: FrameInput) -> npt.NDArray[np.float64] | None:
    """Return the affine map of the picture's ground plane under a move of the camera, if any.

    A sideways move shears the ground about the horizon; a small turn moves the whole picture.
    """
    if not view.is_moved and view.pitch_px == 0 and view.zoom == 1:
        return None
    camera = CameraConfig()
    visible = frame.crop.bottom - frame.crop.top
    columns_per_pixel = frame.width_px / ((frame.crop.right - frame.crop.left) * camera.width_px)
    rows_per_pixel = frame.height_px / (visible * camera.height_px)
    horizon = (camera.horizon - frame.crop.top) / visible * frame.height_px
    shear = view.shift_m / camera.mount_height_m * columns_per_pixel / rows_per_pixel
    turn = math.tan(view.yaw_rad) * camera.focal_px * columns_per_pixel
    centre = frame.width_px / 2
    left = (1 - view.zoom) * centre + turn - shear * view.zoom * horizon
    top = (1 - view.zoom) * horizon + view.pitch_px
    return np.array([[view.zoom, shear * view.zoom, left], [0, view.zoom, top]])


def _tones(config: AugmentConfig, rng: np.random.Generator) -> Picture:
    """Return a table uint8 [256, 1, 3] of brightness, contrast and colour."""
    gain, gamma = rng.uniform(*config.gain), rng.uniform(*config.gamma)
    colour = 1 + rng.uniform(-config.colour, config.colour, 3)
    tones = 255 * gain * (np.arange(256) / 255) ** gamma
    return np.clip(tones[:, None, None] * colour, 0, 255).round().astype(np.uint8)


def _shadow(
    config: AugmentConfig, frame: FrameInput, rng: np.random.Generator
) -> npt.NDArray[np.float32] | None:
    """Return factors float32 [height, width, 3], darker or lighter on one side of a line."""
    if rng.random() >= config.shadow:
        return None
    top, bottom = rng.uniform(0, frame.width_px, 2)
    edge = np.linspace(top, bottom, frame.height_px)[:, None]
    inside = np.arange(frame.width_px) < edge
    factors = np.where(inside ^ (rng.random() < 0.5), rng.uniform(0.3, 1.6), 1).astype(np.float32)
    return np.asarray(cv2.merge([cv2.blur(factors, (3, 3))] * 3), np.float32)


def _rectangle(
    config: AugmentConfig, frame: FrameInput, rng: np.random.Generator
) -> tuple[slice, slice] | None:
    if rng.random() >= config.erase:
        return None
    height, width = rng.uniform(0.1, _GREATEST_ERASED, 2) * (frame.height_px, frame.width_px)
    top, left = rng.uniform(0, (frame.height_px - height, frame.width_px - width))
    return slice(int(top), int(top + height)), slice(int(left), int(left + width))
