"""Durations in bounded memory, with percentiles to within 1 %."""

from __future__ import annotations

import math

import numpy as np

_RATIO = 1.01
_LOWEST_MS = 1e-3
_BUCKETS = math.ceil(math.log(1e9) / math.log(_RATIO))
"""From a microsecond to a quarter of an hour; what lies outside counts at the edge."""


class Histogram:
    """Counts durations in buckets each 1 % wider than the one before."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self.count = 0
        self.max_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count a duration in milliseconds."""
        bucket = math.log(max(duration_ms, _LOWEST_MS) / _LOWEST_MS) / math.log(_RATIO)
        self._counts[min(int(bucket), _BUCKETS - 1)] += 1
        self.count += 1
        self.max_ms = max(self.max_ms, duration_ms)

    def percentile_ms(self, percent: float) -> float:
        """Return the duration that so many percent of all do not exceed; NaN if there are none.

        Args:
            percent: 0 to 100.
        """
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(self.count * percent / 100))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(_LOWEST_MS * _RATIO ** (bucket + 1), self.max_ms)

    def summary(self) -> dict[str, float]:
        """Return ``p50``, ``p99``, ``p99_9`` and ``max`` in milliseconds."""
        return {
            "p50": self.percentile_ms(50),
            "p99": self.percentile_ms(99),
            "p99_9": self.percentile_ms(99.9),
            "max": self.max_ms if self.count else math.nan,
        }
