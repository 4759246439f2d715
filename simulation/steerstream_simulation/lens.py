"""Effects of the camera itself: exposure, white balance, vignetting and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from steerstream_simulation.appearance import Appearance
from steerstream_simulation.road import Pose

_NOISE_MARGIN_PX = 256
_NOISE_MEAN = 40
_METERED_M = 25
_METERED_GREY = 80.0
_METER_STRENGTH = 0.55


class Lens:
    """Turns drawn light into a picture.

    Args:
        seed: draws the noise.
        look: exposure, contrast, white balance, vignetting and amount of noise.
        brightness: of the carriageway at each metre, for automatic exposure.
        size: rows and columns of the picture.
    """

    def __init__(
        self,
        seed: int,
        look: Appearance,
        brightness: NDArray[np.float32],
        size: tuple[int, int],
    ) -> None:
        self._look = look
        ahead = np.stack([np.roll(brightness, -metre) for metre in range(_METERED_M)]).mean(axis=0)
        gain = look.exposure * (_METERED_GREY / ahead) ** _METER_STRENGTH
        self._gain = np.append(gain, gain[0])
        self._vignette = _vignette(look.vignetting, size)
        rng = np.random.default_rng([seed, 7])
        shape = (size[0] + _NOISE_MARGIN_PX, size[1] + _NOISE_MARGIN_PX, 3)
        grain = _NOISE_MEAN + look.noise * rng.standard_normal(shape, dtype=np.float32)
        self._grain = np.clip(grain, 0, 255).astype(np.uint8)

    def expose(
        self, image: NDArray[np.uint8], pose: Pose, arc_length_m: float
    ) -> NDArray[np.uint8]:
        """Return the picture that the sensor gives, uint8 RGB of the same shape.

        Args:
            image: uint8 RGB [height, width, 3], as drawn.
            pose: the vehicle's, which the noise depends on.
            arc_length_m: where along the road it is, for the exposure.
        """
        lit = cv2.LUT(image, self._curve(arc_length_m))
        lit = cv2.multiply(lit, self._vignette, scale=1.0 / 255.0)
        # The grain moves with the pose: new in every picture, the same for the same pose.
        top = int(pose.x_m * 7919.0) % _NOISE_MARGIN_PX
        left = int(pose.y_m * 6101.0 + arc_length_m * 7331.0) % _NOISE_MARGIN_PX
        grain = self._grain[top : top + image.shape[0], left : left + image.shape[1]]
        noisy = cv2.addWeighted(lit, 1.0, grain, 1.0, -float(_NOISE_MEAN))
        return np.asarray(noisy, np.uint8)

    def _curve(self, arc_length_m: float) -> NDArray[np.uint8]:
        index, fraction = divmod(arc_length_m % (len(self._gain) - 1), 1.0)
        here, there = self._gain[int(index) : int(index) + 2]
        gain = here + (there - here) * fraction
        level = np.arange(256, dtype=np.float32)[:, None] * gain / 255.0 * self._look.white_balance
        curve = 255.0 * np.maximum(level, 0.0) ** self._look.contrast
        return np.asarray(np.clip(curve, 0, 255)[:, None, :], np.uint8)


def _vignette(strength: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    rows = np.linspace(-1.0, 1.0, size[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1.0, 1.0, size[1], dtype=np.float32)[None]
    light = 255.0 * (1.0 - 0.5 * strength * (rows**2 + columns**2))
    return np.repeat(light.astype(np.uint8)[..., None], 3, axis=2)
