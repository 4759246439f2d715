"""Labels from a later moment, because a command acts some time after its frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_export.data.recording import Recording, Span


def delayed(recording: Recording, delay_s: float) -> Recording:
    """Return a recording whose labels are those of so many seconds after each frame.

    They are interpolated between frames. At a sequence's end there is no later moment, nor a label.
    """
    if not delay_s:
        return recording
    return dataclasses.replace(recording, labels=ahead(recording, (delay_s,))[:, 0])


def ahead(
    recording: Recording,
    delays_s: Sequence[float] | npt.NDArray[np.float64],
    places: range | None = None,
) -> npt.NDArray[np.float32]:
    """Return the labels [N, len(delays_s), 3] of so many seconds after each of N frames.

    Where the sequence ends before that, or where a label is missing, it is NaN.

    Args:
        recording: see there.
        delays_s: times after each frame.
        places: N frames in a row, of one sequence; all of the recording by default.
    """
    delays = np.array(delays_s)
    if places is not None:
        return _ahead(recording, delays, recording.span_of(places.start), places)
    shape = (len(recording.labels), len(delays), recording.labels.shape[-1])
    labels = np.full(shape, np.nan, np.float32)
    for span in recording.spans:
        rows = range(span.first, span.last)
        labels[span.first : span.last] = _ahead(recording, delays, span, rows)
    return labels


def _ahead(
    recording: Recording, delays_s: npt.NDArray[np.float64], span: Span, places: range
) -> npt.NDArray[np.float32]:
    times_s = recording.times_s[span.first : span.last]
    wanted_s = recording.times_s[places.start : places.stop, None] + delays_s
    columns = recording.labels[span.first : span.last].T
    later = [np.interp(wanted_s, times_s, values, right=np.nan) for values in columns]
    return np.stack(later, axis=-1, dtype=np.float32)
