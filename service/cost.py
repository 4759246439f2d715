"""What a step of a network costs, by the size of its batch: measured, and kept current."""

from __future__ import annotations

_COST_WEIGHT = 0.1
"""Weight of the newest step in the running mean: a lasting change is known after some 20 steps."""
_COST_JUMP = 4.0
"""A step counts as at most this many times the mean, so that one stall does not look like load."""
_COST_DECAY = 0.9
"""What is left of a cost each time that it kept the engine from working. Without it, a cost that
was once too high would give back every frame and never be measured again."""


class StepCost:
    """What a step of each bucket costs, in nanoseconds: a running mean of what was measured.

    Any thread may read it.
    """

    def __init__(self, max_batch: int) -> None:
        self.buckets = _buckets(max_batch)
        self._index = [self._bucket_index(size) for size in range(max_batch + 1)]
        self._mean_ns = [0.0] * len(self.buckets)

    def __getitem__(self, size: int) -> int:
        """Cost of a batch of this many frames, in nanoseconds."""
        return int(self._mean_ns[self._index[size]])

    def bucket(self, size: int) -> int:
        """The smallest bucket that holds this many frames."""
        return self.buckets[self._index[size]]

    def measured(self, size: int, cost_ns: int) -> None:
        """A step of this size was measured."""
        mean = self._mean_ns[self._index[size]]
        sample = min(float(cost_ns), _COST_JUMP * mean) if mean else float(cost_ns)
        weight = _COST_WEIGHT if mean else 1.0
        self._mean_ns[self._index[size]] = mean + weight * (sample - mean)

    def doubt(self) -> None:
        """Lower the cost of one frame: it kept the engine from a step that might have been."""
        self._mean_ns[0] *= _COST_DECAY

    def _bucket_index(self, size: int) -> int:
        return next(index for index, bucket in enumerate(self.buckets) if bucket >= size)


def _buckets(max_batch: int) -> list[int]:
    """Powers of two up to the largest batch, and that one."""
    sizes = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return [*sizes, max_batch]
