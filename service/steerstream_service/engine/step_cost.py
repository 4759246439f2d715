"""The measured cost of a network's step, by the size of its batch.

The cost of a bucket is the machine's speed times the bucket's own share. A step of any bucket tells
the speed, so that a machine that has become slow is known for buckets that have not run since.
"""

from __future__ import annotations

import math
from bisect import bisect_left

_SPEED_WEIGHT = 0.1
"""Weight of the newest step in the speed: a lasting change is known after some 20 steps."""
_SHARE_WEIGHT = 0.03
"""Weight of the newest step in its bucket's share, which changes far less than the speed."""
_COLD_WEIGHT = 0.2
"""Weight of a slow step after a pause, relative to one in a row of steps: caches and clocks are
cold, so it says little about a busy machine. A machine that stays slow is still found out."""
_MAX_RATIO = 4.0
"""A step counts as at most this many times the expected cost: one stall does not look like load."""
_DOUBT = 0.9
"""A cost is lowered to this share each time that it kept the engine from working. Otherwise a cost
that was once too high would give back every frame and never be measured again."""


class StepCost:
    """The cost of a step of each size, in nanoseconds: a running mean of the measured ones.

    One thread writes, but for `forget`; any thread may read.

    Args:
        max_batch: frames in the largest step.
        pads: whether a step costs as much as the bucket that holds it. Otherwise the cost between
            two buckets is read from the line between them.
    """

    def __init__(self, max_batch: int, *, pads: bool = False) -> None:
        self.buckets = _buckets(max_batch)
        self._pads = pads
        self._speed = 1.0
        self._share_ns = [0.0] * len(self.buckets)
        self._first_ns = [math.inf] * len(self.buckets)

    def __getitem__(self, size: int) -> int:
        """Cost of a batch of this many frames, in nanoseconds; 0 before it was measured."""
        index = bisect_left(self.buckets, size)
        share_ns = self._share_ns[index]
        if not self._pads and self.buckets[index] != size:
            below, above = self.buckets[index - 1], self.buckets[index]
            low_ns = self._share_ns[index - 1]
            share_ns = low_ns + (share_ns - low_ns) * (size - below) / (above - below)
        return int(self._speed * share_ns)

    def measured(self, size: int, cost_ns: int, *, cold: bool = False) -> None:
        """A step of this size was measured.

        Args:
            size: frames in it.
            cost_ns: what it took.
            cold: whether the engine had paused before it.
        """
        index = bisect_left(self.buckets, size)
        expected_ns = self[size]
        if not expected_ns:
            self._share_ns[index] = self._first_ns[index] = cost_ns / self._speed
            return
        error = min(cost_ns / expected_ns, _MAX_RATIO) - 1.0
        if cold and error > 0:
            error *= _COLD_WEIGHT
        self._speed *= 1.0 + _SPEED_WEIGHT * error
        self._share_ns[index] *= 1.0 + _SHARE_WEIGHT * error

    def doubt(self) -> None:
        """Lower the costs: they kept the engine from a step that might have been in time."""
        self._speed *= _DOUBT

    def forget(self) -> None:
        """Return to the first costs where they have risen since; to be called between steps."""
        self._speed = min(self._speed, 1.0)
        self._share_ns = list(map(min, self._share_ns, self._first_ns))


def _buckets(max_batch: int) -> list[int]:
    """Powers of two up to the largest batch, and that one."""
    sizes = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return [*sizes, max_batch]
