"""Labels from a later moment, because a command acts some time after its frame."""

from __future__ import annotations

import dataclasses

import numpy as np

from model_export.data.recording import Recording


def delayed(recording: Recording, delay_s: float) -> Recording:
    """Return a recording whose labels are those of so many seconds after each frame.

    They are interpolated between frames. At a sequence's end there is no later moment, nor a label.
    """
    if not delay_s:
        return recording
    labels = np.empty_like(recording.labels)
    for span in recording.spans:
        rows = slice(span.first, span.last)
        times_s = recording.times_s[rows]
        for column, values in enumerate(recording.labels[rows].T):
            later = np.interp(times_s + delay_s, times_s, values, right=np.nan)
            labels[rows, column] = later
    return dataclasses.replace(recording, labels=labels)
