"""Sequences in which frames are missing or come slower, as over a vehicle's uplink."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_export.config import AugmentConfig

_SLACK = 0.75
"""Share of a period after which the next frame counts as due: capture times jitter."""


def kept(
    times_s: npt.NDArray[np.float64], config: AugmentConfig, seed: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Return the places of the frames of one sequence that arrive, in order; the first always does.

    Args:
        times_s: of all captures.
        config: the rates to draw one from, and the greatest share that is lost.
        seed: decides the draw.
    """
    rng = np.random.default_rng(seed)
    places = np.arange(len(times_s))
    if config.rates_hz:
        places = _at_rate(times_s, float(rng.choice(config.rates_hz)))
    lost = rng.random(len(places)) < rng.uniform(0, config.drop)
    lost[0] = False
    return np.asarray(places[~lost], np.int64)


def _at_rate(times_s: npt.NDArray[np.float64], rate_hz: float) -> npt.NDArray[np.int64]:
    places = [0]
    for place, time_s in enumerate(times_s):
        if time_s - times_s[places[-1]] >= _SLACK / rate_hz:
            places.append(place)
    return np.array(places)
