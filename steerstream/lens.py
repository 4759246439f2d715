"""Where a network's pixels lie in the pictures of another camera: geometry, without pictures.

A network reads the road as its own camera showed it. For another forward camera each of its pixels
is looked up where that camera shows the same: the same place on a flat road for what lies below the
horizon, and the same direction for what is farther away. That takes the camera's lens, its height
and its horizon. Distortion is that of OpenCV's calibration, so that its numbers are used as they
are.

The network's camera has no distortion, and its image plane stands upright: the horizon runs through
its principal point.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_SAME_FOV, _SAME_HEIGHT, _SAME_ASPECT = 0.005, 0.02, 0.01
"""Relative differences from the network's camera up to which a camera is the same one."""
_SAME_HORIZON = 0.005
"""Of the height; a road's slope moves the horizon by more."""
_MOST_MISSING = 0.04
"""Share of the network's picture that a camera may lack; its outermost pixels fill that."""
_STEEPEST_RAD = math.radians(60)
"""Up or down, of a camera that looks ahead."""
_HALVINGS = 40
_WIDEST_DEG = 175.0
"""Of a lens without a fisheye's model, whose picture would not end at 180 degrees."""
_CHECKED_ROWS, _CHECKED_COLUMNS = 24, 48
"""Enough to see within a few percent what a camera lacks, in a fraction of a millisecond."""
_SAMPLES = 256


class LensModel(enum.IntEnum):
    """How a lens bends straight lines, with the coefficients that OpenCV's calibration gives."""

    PINHOLE = 0
    """Not at all."""
    BROWN_CONRADY = 1
    """k1, k2, p1, p2 and k3, of `cv2.calibrateCamera`."""
    FISHEYE = 2
    """k1 to k4, of `cv2.fisheye.calibrate` (Kannala and Brandt)."""


COEFFICIENTS = {
    LensModel.PINHOLE: (0,),
    LensModel.BROWN_CONRADY: (4, 5),
    LensModel.FISHEYE: (4,),
}
"""How many coefficients each model takes."""


class UnsuitableCameraError(ValueError):
    """The network's picture cannot be made from a camera's; the message says why, with numbers."""


class DescribedCamera(Protocol):
    """A vehicle's camera; 0 or None stands for what is not stated."""

    @property
    def width_px(self) -> int | None:
        """Columns of its pictures."""

    @property
    def height_px(self) -> int | None:
        """Rows of its pictures."""

    @property
    def horizontal_fov_deg(self) -> float | None:
        """Field of view across the picture."""

    @property
    def mount_height_m(self) -> float | None:
        """Height of the lens above the ground."""

    @property
    def horizon_fraction(self) -> float | None:
        """Row of the horizon on a level road, by the picture's height."""

    @property
    def lens(self) -> LensModel:
        """How its lens bends straight lines."""

    @property
    def distortion(self) -> Sequence[float]:
        """Coefficients of that."""

    @property
    def focal_x_px(self) -> float | None:
        """Focal length along rows."""

    @property
    def focal_y_px(self) -> float | None:
        """Focal length along columns."""

    @property
    def principal_x_px(self) -> float | None:
        """Column of the principal point."""

    @property
    def principal_y_px(self) -> float | None:
        """Row of the principal point."""


class NetworkCamera(Protocol):
    """The camera that a network was trained with, as a bundle's contract has it."""

    @property
    def horizontal_fov_deg(self) -> float:
        """Field of view across the whole picture; 0 where the bundle does not say."""

    @property
    def aspect_ratio(self) -> float:
        """The picture's width by its height."""

    @property
    def mount_height_m(self) -> float:
        """Height of the lens above the ground."""

    @property
    def horizon_fraction(self) -> float:
        """Row of the horizon on a level road, by the picture's height."""


class Part(Protocol):
    """The part of the whole picture that a network sees, as fractions of its height and width."""

    @property
    def top(self) -> float:
        """Upper edge."""

    @property
    def bottom(self) -> float:
        """Lower edge."""

    @property
    def left(self) -> float:
        """Left edge."""

    @property
    def right(self) -> float:
        """Right edge."""


def is_described(camera: DescribedCamera) -> bool:
    """Return whether a vehicle says anything of its lens; otherwise nothing can be mapped."""
    return bool(camera.horizontal_fov_deg or camera.focal_x_px or camera.lens)


@dataclasses.dataclass(frozen=True, slots=True)
class _Projection:
    """Turns directions into places in a picture, in pixels.

    Attributes:
        lens: how the lens bends straight lines.
        distortion: its coefficients, five of them; those that are not stated are 0.
        focal: along rows and columns.
        principal: the principal point's column and row.
        pitch_rad: downwards, of the optical axis.
    """

    lens: LensModel
    distortion: tuple[float, ...]
    focal: tuple[float, float] = (1.0, 1.0)
    principal: tuple[float, float] = (0.0, 0.0)
    pitch_rad: float = 0.0

    def places(self, right: Floats, down: Floats) -> tuple[Floats, Floats]:
        """Return columns and rows of what lies `right` and `down` of a point 1 ahead, level.

        They are NaN for what lies behind the camera or beyond what the lens's model is good for.
        """
        sine, cosine = math.sin(self.pitch_rad), math.cos(self.pitch_rad)
        ahead, below = cosine + sine * down, cosine * down - sine
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = self._distorted(right, below, ahead)
        return self.focal[0] * x + self.principal[0], self.focal[1] * y + self.principal[1]

    def _distorted(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats]:
        if self.lens is LensModel.FISHEYE:
            off = np.hypot(x, y)
            angle = np.arctan2(off, z)
            bent = np.where(angle <= self._widest(math.pi), self._bent(angle), np.nan)
            scale = np.where(off > 0, bent / np.where(off > 0, off, 1.0), 1.0 / z)
            return x * scale, y * scale
        x, y = (np.where(z > 0, side / z, np.nan) for side in (x, y))
        if self.lens is LensModel.PINHOLE:
            return x, y
        _, _, p1, p2, _ = self.distortion
        square = x * x + y * y
        off = np.sqrt(square)
        widest = self._widest(float(np.nanmax(off, initial=0.0)))
        scale = np.where(off <= widest, self._bent(off) / np.where(off > 0, off, 1.0), np.nan)
        scale = np.where(off > 0, scale, 1.0)
        bent_x = x * scale + 2 * p1 * x * y + p2 * (square + 2 * x * x)
        bent_y = y * scale + p1 * (square + 2 * y * y) + 2 * p2 * x * y
        return bent_x, bent_y

    def _bent(self, off: Floats) -> Floats:
        """Return how far from the axis the lens shows what is `off` it, at a focal length of 1.

        For a fisheye `off` is the angle in radians, otherwise its tangent.
        """
        square = off * off
        bent = np.ones_like(square)
        power = square
        for coefficient in self._radial:
            bent = bent + coefficient * power
            power = power * square
        return off * bent

    @property
    def _radial(self) -> tuple[float, ...]:
        k1, k2, third, fourth, k3 = self.distortion
        return (k1, k2, third, fourth) if self.lens is LensModel.FISHEYE else (k1, k2, k3)

    def _widest(self, most: float) -> float:
        """Return up to where things farther off the axis are shown farther off, at most `most`.

        Beyond that a polynomial turns back, and would show the sky on the road.
        """
        steps = np.linspace(0.0, most, _SAMPLES)
        back = np.flatnonzero(np.diff(self._bent(steps)) <= 0)
        return float(steps[back[0]]) if len(back) else most

    def half_width(self, half_fov_rad: float) -> float:
        """Return half a picture's width at a focal length of 1, by half its field of view.

        Raises:
            UnsuitableCameraError: the lens's model is not good for so wide a field.
        """
        is_fisheye = self.lens is LensModel.FISHEYE
        off = half_fov_rad if is_fisheye else math.tan(half_fov_rad)
        if self.lens is not LensModel.PINHOLE and self._widest(off) < off:
            raise UnsuitableCameraError(
                f"a field of view of {2 * math.degrees(half_fov_rad):.1f} degrees is wider than "
                f"distortion {list(self.distortion)} holds for; check the calibration"
            )
        return float(self._bent(np.array(off)))


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping:
    """Where each pixel of a network's input lies in a camera's pictures.

    Two that are equal map alike, so that what follows from one can be kept for the other.

    Attributes:
        projection: of the camera.
        size_px: columns and rows of its pictures.
        lowering: how much farther below the horizon the camera sees a place on the road than the
            network's camera did: the ratio of their heights.
        part: the network's input by the edges of its camera's picture at a distance of 1: left,
            top, right and bottom of the point ahead, to the right and downwards.
        width_px: columns of the network's input.
        height_px: rows of it.
    """

    projection: _Projection
    size_px: tuple[int, int]
    lowering: float
    part: tuple[float, float, float, float]
    width_px: int
    height_px: int

    def places(self) -> NDArray[np.float32]:
        """Return float32 [height, width, 2]: column and row, by the picture's width and height.

        They run from 0, at its left and upper edge, to 1, and beyond where it shows too little.
        """
        return self._places(self.height_px, self.width_px)

    def steps(self) -> tuple[float, float]:
        """Return the least distance of two neighbours of the network's input in a picture.

        Along its columns, by the picture's height, and along its rows, by its width.
        """
        places = self._places(_CHECKED_ROWS, _CHECKED_COLUMNS)
        down = np.nanmin(np.abs(np.diff(places[..., 1], axis=0))) * _CHECKED_ROWS
        across = np.nanmin(np.abs(np.diff(places[..., 0], axis=1))) * _CHECKED_COLUMNS
        return float(down) / self.height_px, float(across) / self.width_px

    def _places(self, rows: int, columns: int) -> NDArray[np.float32]:
        left, top, right, bottom = self.part
        across = left + (np.arange(columns) + 0.5) / columns * (right - left)
        down = top + (np.arange(rows) + 0.5) / rows * (bottom - top)
        down = np.where(down > 0, down * self.lowering, down)
        x, y = self.projection.places(*np.meshgrid(across, down))
        size = np.array(self.size_px)
        places: NDArray[np.float32] = ((np.stack([x, y], axis=2) + 0.5) / size).astype(np.float32)
        return places

    def _check_steps(self) -> None:
        # Written with `not`, so that NaN is refused too.
        if not min(self.steps()) > 0:
            raise UnsuitableCameraError(
                "it shows neighbours of what the network needs in a single pixel; check its focal "
                "length, mount_height_m and size"
            )

    def check(self) -> None:
        """Check that a camera's pictures show what the network needs.

        Raises:
            UnsuitableCameraError: they do not; the message says by how much.
        """
        places = self._places(_CHECKED_ROWS, _CHECKED_COLUMNS)
        is_missing = ~((places >= 0) & (places <= 1)).all(axis=2)
        missing = float(is_missing.mean())
        if missing <= _MOST_MISSING:
            self._check_steps()
            return
        left, top, right, bottom = self.part
        needed = math.degrees(math.atan(right) - math.atan(left))
        up, down = (math.degrees(math.atan(side)) for side in (-top, bottom * self.lowering))
        raise UnsuitableCameraError(
            f"it does not show {missing:.0%} of what the network needs "
            f"({_sides(places)}); that is {needed:.1f} degrees across, from {up:.1f} degrees above "
            f"the horizon to {down:.1f} below it. Use a wider lens, or turn the camera until its "
            "picture holds that"
        )


def mapping(
    camera: DescribedCamera,
    network: NetworkCamera,
    part: Part,
    *,
    width_px: int,
    height_px: int,
) -> Mapping | None:
    """Return how a camera's pictures become a network's input.

    Args:
        camera: of the vehicle.
        network: the camera that the network was trained with.
        part: of that camera's picture that the network sees.
        width_px: columns of the network's input.
        height_px: rows of it.

    Returns:
        None where there is nothing to map: the vehicle says nothing of its lens, the bundle does
        not say which camera it was trained with, or they are the same.

    Raises:
        UnsuitableCameraError: the camera does not show what the network needs, or too much of it is
            not stated or cannot be true; the message says what to do.
    """
    if not is_described(camera) or not network.horizontal_fov_deg:
        return None
    _check_coefficients(camera)
    if _is_same(camera, network):
        return None
    projection = _projection(camera)
    focal = 0.5 / math.tan(math.radians(network.horizontal_fov_deg) / 2)
    horizon, rows = network.horizon_fraction, 1 / (network.aspect_ratio * focal)
    found = Mapping(
        projection=projection,
        size_px=(camera.width_px or 0, camera.height_px or 0),
        lowering=(camera.mount_height_m or 0.0) / network.mount_height_m,
        part=(
            (part.left - 0.5) / focal,
            (part.top - horizon) * rows,
            (part.right - 0.5) / focal,
            (part.bottom - horizon) * rows,
        ),
        width_px=width_px,
        height_px=height_px,
    )
    found.check()
    return found


def _check_coefficients(camera: DescribedCamera) -> None:
    counts = COEFFICIENTS[camera.lens]
    if len(camera.distortion) not in counts:
        wanted = " or ".join(map(str, counts))
        raise UnsuitableCameraError(
            f"a lens of model {camera.lens.name} has {wanted} coefficients of distortion, not "
            f"{len(camera.distortion)}"
        )


def _is_same(camera: DescribedCamera, network: NetworkCamera) -> bool:
    """Return whether a camera is the network's, as far as it is described."""
    width, height = camera.width_px, camera.height_px
    if camera.lens or camera.focal_x_px or not camera.horizontal_fov_deg:
        return False
    return (
        _is_near(camera.horizontal_fov_deg, network.horizontal_fov_deg, _SAME_FOV)
        and _is_near(camera.mount_height_m, network.mount_height_m, _SAME_HEIGHT)
        and (not (width and height) or _is_near(width / height, network.aspect_ratio, _SAME_ASPECT))
        and abs((camera.horizon_fraction or network.horizon_fraction) - network.horizon_fraction)
        <= _SAME_HORIZON
        and not camera.principal_x_px
    )


def _is_near(value: float | None, other: float, ratio: float) -> bool:
    return not value or abs(value / other - 1) <= ratio


def _projection(camera: DescribedCamera) -> _Projection:
    width, height, horizon = camera.width_px, camera.height_px, camera.horizon_fraction
    if not (width and height and horizon and camera.mount_height_m):
        needed = ("width_px", "height_px", "mount_height_m", "horizon_fraction")
        missing = [name for name in needed if not getattr(camera, name)]
        raise UnsuitableCameraError(
            f"its lens is not the network's, and {' and '.join(missing)} must be stated to map its "
            "pictures"
        )
    distortion = (*camera.distortion, *[0.0] * 5)[:5]
    bare = _Projection(camera.lens, distortion)
    across = camera.principal_x_px or (width - 1) / 2
    down = camera.principal_y_px or (height - 1) / 2
    focal = _focal_px(camera, bare, width)
    level = dataclasses.replace(
        bare, focal=(focal, camera.focal_y_px or focal), principal=(across, down)
    )
    return dataclasses.replace(level, pitch_rad=_pitch_rad(level, horizon * height - 0.5))


def _focal_px(camera: DescribedCamera, bare: _Projection, width_px: int) -> float:
    if camera.focal_x_px:
        return camera.focal_x_px
    fov_deg = camera.horizontal_fov_deg or 0.0
    widest_deg = 360.0 if camera.lens is LensModel.FISHEYE else _WIDEST_DEG
    if not 0 < fov_deg <= widest_deg:
        raise UnsuitableCameraError(
            f"horizontal_fov_deg must be above 0 and at most {widest_deg:g} for a lens of model "
            f"{camera.lens.name}, is {fov_deg:g}; or state focal_x_px"
        )
    return width_px / 2 / bare.half_width(math.radians(fov_deg) / 2)


def _pitch_rad(level: _Projection, horizon_px: float) -> float:
    """Return how far down a camera looks that shows the horizon in this row."""

    def row(pitch_rad: float) -> float:
        turned = dataclasses.replace(level, pitch_rad=pitch_rad)
        found = float(turned.places(np.zeros(1), np.zeros(1))[1][0])
        # Beyond what the lens's model is good for, it is out of the picture on that side.
        return math.copysign(math.inf, -pitch_rad) if math.isnan(found) else found

    low, high = -_STEEPEST_RAD, _STEEPEST_RAD
    # The farther down it looks, the higher in its picture is the horizon.
    if not row(high) <= horizon_px <= row(low):
        raise UnsuitableCameraError(
            f"its horizon would be in row {horizon_px:.0f}, which its lens shows nowhere within "
            f"{math.degrees(_STEEPEST_RAD):.0f} degrees up or down; check horizon_fraction and the "
            "focal length"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if row(middle) > horizon_px else (low, middle)
    if not abs(row(low) - horizon_px) < 1:
        raise UnsuitableCameraError(
            f"its horizon would be in row {horizon_px:.0f}, beyond what distortion "
            f"{list(level.distortion)} holds for; check horizon_fraction and the calibration"
        )
    return low


def _sides(places: NDArray[np.float32]) -> str:
    """Return what is missing at each side of a picture, for people."""
    x, y = places[..., 0], places[..., 1]
    beyond = {"left": x < 0, "right": x > 1, "top": y < 0, "bottom": y > 1}
    beyond["lens"] = ~np.isfinite(x)
    shares = {side: float(where.mean()) for side, where in beyond.items()}
    return ", ".join(f"{side} {share:.0%}" for side, share in shares.items() if share)
