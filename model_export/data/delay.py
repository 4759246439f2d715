"""Labels from a later moment, because a command acts some time after its frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_export.data.recording import Recording


def delayed(recording: Recording, delay_s: float) -> Recording:
    """Return a recording whose labels are those of so many seconds after each frame.

    They are interpolated between frames. At a sequence's end there is no later moment, nor a label.
    """
    if not delay_s:
        return recording
    return dataclasses.replace(recording, labels=ahead(recording, (delay_s,))[:, 0])


def ahead(recording: Recording, delays_s: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return the labels [N, len(delays_s), 3] of so many seconds after each of N frames.

    Where the sequence ends before that, or where a label is missing, it is NaN.
    """
    shape = (len(recording.labels), len(delays_s), recording.labels.shape[-1])
    labels = np.full(shape, np.nan, np.float32)
    for span in recording.spans:
        rows = slice(span.first, span.last)
        times_s = recording.times_s[rows]
        for step, delay_s in enumerate(delays_s):
            for column, values in enumerate(recording.labels[rows].T):
                later = np.interp(times_s + delay_s, times_s, values, right=np.nan)
                labels[rows, step, column] = later
    return labels
