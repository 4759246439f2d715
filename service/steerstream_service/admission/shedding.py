"""Decides when sessions are let go so that the others stay in time; a pure function of its input.

Capacity shrinks when the accelerator slows down or another process takes the CPU. There are two
signs: the forecast load, by the costs measured now, exceeds the server; or the server misses frames
although no measured cost explains it (`lateness`). Either must last before a session is let go.
"""

from __future__ import annotations

from collections import deque

from steerstream_service.admission.lateness import WINDOW_NS

_OVER = 1.15
"""Sessions are let go above this multiple of the admitted load. The margin above 1 keeps a cost
that wavers from ending sessions that were admitted a moment ago."""
_SHORTEST_STEP, _LONGEST_STEP = 0.1, 0.5
"""Part that is taken off a load at which frames were missed: twice the share of those frames."""
_RECOVERY_PER_S = 0.02
"""How fast the limit recovers after that: from a half to 1 in 25 s."""
_LEAST_LIMIT = 0.1


class Shedding:
    """Decides to which load a server goes back, and up to which it admits sessions.

    Loads are multiples of what an undisturbed server admits.

    Args:
        after_ns: how long an overload must last before sessions are let go.
        notice_ns: from a session's notice to its end; until then no others are let go.
    """

    def __init__(self, after_ns: int, notice_ns: int) -> None:
        self.limit = 1.0
        self._after_ns = after_ns
        self._notice_ns = notice_ns
        # What the sessions of that time cost, as multiples of what they cost when the limit fell.
        self._price = self._highest_price = 1.0
        # Of the time in which frames count as missed; each with its own.
        self._loads: deque[tuple[int, float]] = deque()
        self._since_ns: int | None = None
        self._updated_ns: int | None = None

    def priced(self, times: float) -> None:
        """Note that the same sessions are now known to ask for another load.

        Where the limit fell because frames were missed before their cost was known, the cost
        explains it now. Both together would let sessions go twice for one reason.

        Args:
            times: the load by the costs measured now, as a multiple of that by those before.
        """
        self._price *= times
        if self._price > self._highest_price:
            self.limit = min(1.0, self.limit * self._price / self._highest_price)
            self._highest_price = self._price

    def update(self, now_ns: int, load: float, missed: float) -> float | None:
        """Take the present load; to be called a few times a second.

        Args:
            now_ns: time of the monotonic clock.
            load: the load that the sessions ask for.
            missed: share of frames that the server missed; 0.0 for so few that they do not count.

        Returns:
            The load to go back to by letting sessions go, or None.
        """
        self._recover(now_ns)
        highest = self._highest(now_ns, load)
        if load <= _OVER and not missed:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns < self._after_ns:
            return None
        if missed and highest <= _OVER:
            step = min(max(_SHORTEST_STEP, 2 * missed), _LONGEST_STEP)
            self.limit = max(_LEAST_LIMIT, (1.0 - step) * min(highest, self.limit))
            self._price = self._highest_price = 1.0
        self._since_ns = now_ns + self._notice_ns
        return self.limit

    def _highest(self, now_ns: int, load: float) -> float:
        """Return the highest load of the time in which the frames were missed.

        Sessions that missed them may have ended since. They say nothing against the few that are
        left, or against those that come in their place.
        """
        while self._loads and now_ns - self._loads[0][0] >= WINDOW_NS:
            self._loads.popleft()
        self._loads.append((now_ns, load))
        return max(load for _, load in self._loads)

    def _recover(self, now_ns: int) -> None:
        if self._updated_ns is not None:
            passed_s = (now_ns - self._updated_ns) / 1e9
            self.limit = min(1.0, self.limit + _RECOVERY_PER_S * passed_s)
        self._updated_ns = now_ns
