"""Durations in bounded memory, with percentiles to three digits: an HDR histogram.

After Gil Tene's HdrHistogram: buckets are linear inside each power of two, so that every duration
is kept to within 0.1 % or a microsecond, whichever is more, and histograms of several processes add
up exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

_US_PER_MS = 1e3
_LINEAR_BITS = 11
"""Each power of two holds 2^10 buckets, none wider than 1/1024 of its values."""
_HALF = 1 << (_LINEAR_BITS - 1)
HIGHEST_MS = 3_600_000.0
"""An hour. Longer durations count as one; `Histogram.max_ms` still has their true length."""
_HIGHEST_US = round(HIGHEST_MS * _US_PER_MS)
_BUCKETS = (_HIGHEST_US.bit_length() - _LINEAR_BITS + 2) * _HALF
_FORMAT = "hdr-us-10"
"""Names the buckets' layout in JSON."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "p99_99": 99.99}


class Histogram:
    """Counts durations from a microsecond to an hour."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self.count = 0
        self.max_ms = 0.0

    @classmethod
    def of(cls, durations_ms: ArrayLike) -> Self:
        """Return a histogram of durations in milliseconds."""
        histogram = cls()
        histogram.add_many(durations_ms)
        return histogram

    def add(self, duration_ms: float) -> None:
        """Count a duration in milliseconds.

        Raises:
            ValueError: it is negative or not a number.
        """
        _check(duration_ms >= 0)
        microseconds = int(min(duration_ms, HIGHEST_MS) * _US_PER_MS)
        shift = max(0, microseconds.bit_length() - _LINEAR_BITS)
        self._counts[shift * _HALF + (microseconds >> shift)] += 1
        self.count += 1
        self.max_ms = max(self.max_ms, duration_ms)

    def add_many(self, durations_ms: ArrayLike) -> None:
        """Count durations in milliseconds, an array of any shape.

        Raises:
            ValueError: one is negative or not a number; then none is counted.
        """
        values = np.asarray(durations_ms, np.float64).ravel()
        if not values.size:
            return
        _check(bool((values >= 0).all()))
        microseconds = (np.minimum(values, HIGHEST_MS) * _US_PER_MS).astype(np.int64)
        shift = np.maximum(np.frexp(microseconds)[1].astype(np.int64) - _LINEAR_BITS, 0)
        self._counts += np.bincount(shift * _HALF + (microseconds >> shift), minlength=_BUCKETS)
        self.count += values.size
        self.max_ms = max(self.max_ms, float(values.max()))

    def merge(self, other: Histogram) -> None:
        """Count all that another histogram has counted."""
        self._counts += other._counts
        self.count += other.count
        self.max_ms = max(self.max_ms, other.max_ms)

    def percentile_ms(self, percent: float) -> float:
        """Return the duration that so many percent of all do not exceed; NaN if there are none.

        Args:
            percent: 0 to 100.
        """
        if not self.count:
            return math.nan
        # Rounded, because 99.9 % of 10,000 is 9990.000000000002 in floating point.
        rank = max(1, math.ceil(round(self.count * percent / 100, 6)))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(_upper_edge_ms(bucket), self.max_ms)

    def summary(self) -> dict[str, float | None]:
        """Return `PERCENTILES` and `max` by name, in milliseconds; None if there are none.

        A percentile beyond what the count can tell, such as the 99.99th of a thousand, is the
        largest duration.
        """
        if not self.count:
            return dict.fromkeys((*PERCENTILES, "max"))
        found = {name: self.percentile_ms(percent) for name, percent in PERCENTILES.items()}
        return {name: round(value, 3) for name, value in (found | {"max": self.max_ms}).items()}

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as values that JSON can hold: the buckets that are not empty."""
        buckets = np.flatnonzero(self._counts)
        return {
            "format": _FORMAT,
            "max_ms": self.max_ms,
            "counts": [[int(bucket), int(self._counts[bucket])] for bucket in buckets],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is of another format.
        """
        if values.get("format") != _FORMAT:
            raise ValueError(f"not a histogram of format {_FORMAT}: {values.get('format')!r}")
        histogram = cls()
        for bucket, count in values["counts"]:
            histogram._counts[bucket] = count
        histogram.count = int(histogram._counts.sum())
        histogram.max_ms = values["max_ms"]
        return histogram


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return all histograms as one."""
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram)
    return whole


def _upper_edge_ms(bucket: int) -> float:
    """Return the end of a bucket, in milliseconds."""
    shift = max(0, bucket // _HALF - 1)
    return float((bucket - shift * _HALF + 1) << shift) / _US_PER_MS


def _check(is_duration: bool) -> None:  # noqa: FBT001
    if not is_duration:
        raise ValueError("a duration must be a number of milliseconds, zero or more")
