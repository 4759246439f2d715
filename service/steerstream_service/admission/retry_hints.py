"""Who was refused and told when to come back; who comes sooner waits until then.

A refusal takes a core more than half a millisecond, gRPC's part included, so that a crowd that asks
again at once could take the time of those who drive. This way it costs as little as a crowd that
heeds the hint, and a newcomer is answered at once all the same.
"""

from __future__ import annotations

import random

_RETRY_MS = (1000, 2000)
"""When to come back. Nobody knows when a vehicle will leave; at random, so that a crowd that was
refused together does not come back together."""
_REFUSALS_HZ = 100.0
"""Refusals a second that a crowd may ask for, 6 % of a core; a larger one is told a later time."""
_LONGEST_MS = 10_000
_REMEMBERED = 10_000
"""Vehicles; of a larger crowd the first are forgotten, and answered at once when they come back."""


class Waitlist:
    """Remembers when refused vehicles may come back."""

    def __init__(self) -> None:
        self._until_ns: dict[str, int] = {}

    def refused(self, vehicle_id: str, now_ns: int) -> int:
        """Note a refusal; returns the hint when to come back, in milliseconds."""
        self._forget(now_ns)
        crowd_ms = 1000 * len(self._until_ns) / _REFUSALS_HZ
        low_ms, high_ms = _RETRY_MS
        hint_ms = round(random.uniform(low_ms, high_ms) * max(1.0, crowd_ms / low_ms))
        hint_ms = min(hint_ms, _LONGEST_MS)
        self._until_ns[vehicle_id] = now_ns + 1_000_000 * hint_ms
        return hint_ms

    def wait_ns(self, vehicle_id: str, now_ns: int) -> int:
        """Return how much sooner than it was told a vehicle came, in nanoseconds; most often 0."""
        return max(0, self._until_ns.pop(vehicle_id, 0) - now_ns)

    def _forget(self, now_ns: int) -> None:
        """Forget who was told first: those whose time has come, and those who are too many."""
        while self._until_ns:
            first = next(iter(self._until_ns))
            if self._until_ns[first] > now_ns and len(self._until_ns) < _REMEMBERED:
                return
            del self._until_ns[first]
