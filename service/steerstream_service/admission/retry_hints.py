"""Tells refused vehicles when to come back, and remembers it.

A refusal costs half a millisecond of a core, gRPC included, so a crowd that retries at once would
take the time of vehicles that drive. A vehicle that comes back early is therefore answered only at
the time that it was told; a new vehicle is answered at once.
"""

from __future__ import annotations

import math
import random

_RETRY_MS = (1000, 2000)
"""Shortest and longest hint of a small crowd. It is random, so that vehicles that were refused
together do not come back together."""
_REFUSALS_HZ = 100.0
"""Refusals a second that a crowd may cause, 6 % of a core; a larger crowd gets longer hints."""
_LEAST_REFUSALS_HZ, _A_FRAME = 10.0, 0.25
"""A server that drives few vehicles refuses fewer: so many for each of their frames, half of what
would keep it from knowing what a frame costs (`frame_cost`)."""
_LONGEST_MS = (7_500, 10_000)
"""The longest hint is random too, or a crowd that gets no shorter one would come back together."""
_REMEMBERED = 10_000
"""Vehicles that are remembered. Of a larger crowd the first are forgotten, and so answered at
once."""


class RetryHints:
    """Gives hints and remembers them, by vehicle."""

    def __init__(self) -> None:
        self._until_ns: dict[str, int] = {}

    def refused(self, vehicle_id: str, now_ns: int, frames_hz: float = math.inf) -> int:
        """Note a refusal, and return the hint when to come back, in milliseconds.

        Args:
            vehicle_id: who is refused.
            now_ns: the time.
            frames_hz: frames a second of those that drive.
        """
        self._forget(now_ns)
        refusals_hz = min(max(_LEAST_REFUSALS_HZ, _A_FRAME * frames_hz), _REFUSALS_HZ)
        crowd_ms = 1000 * len(self._until_ns) / refusals_hz
        low_ms, high_ms = _RETRY_MS
        hint_ms = round(random.uniform(low_ms, high_ms) * max(1.0, crowd_ms / low_ms))
        hint_ms = min(hint_ms, round(random.uniform(*_LONGEST_MS)))
        self._until_ns[vehicle_id] = now_ns + 1_000_000 * hint_ms
        return hint_ms

    def early_ns(self, vehicle_id: str, now_ns: int) -> int:
        """Return how many nanoseconds before its hinted time a vehicle came back; 0 for others."""
        return max(0, self._until_ns.pop(vehicle_id, 0) - now_ns)

    def _forget(self, now_ns: int) -> None:
        """Forget the oldest hints: those whose time has come, and those above the bound."""
        while self._until_ns:
            first = next(iter(self._until_ns))
            if self._until_ns[first] > now_ns and len(self._until_ns) < _REMEMBERED:
                return
            del self._until_ns[first]
