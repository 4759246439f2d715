"""Decides when sessions are let go so that the others stay in time; a pure function of its input.

Capacity shrinks when the accelerator slows down or another process takes the CPU. There are two
signs: the forecast load, by the costs measured now, exceeds the server; or the server misses frames
although no measured cost explains it (`lateness`). Either must last before a session is let go.
"""

from __future__ import annotations

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
        self._since_ns: int | None = None
        self._updated_ns: int | None = None

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
        if load <= _OVER and not missed:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns < self._after_ns:
            return None
        if missed and load <= _OVER:
            step = min(max(_SHORTEST_STEP, 2 * missed), _LONGEST_STEP)
            self.limit = max(_LEAST_LIMIT, (1.0 - step) * min(load, self.limit))
        self._since_ns = now_ns + self._notice_ns
        return self.limit

    def _recover(self, now_ns: int) -> None:
        if self._updated_ns is not None:
            passed_s = (now_ns - self._updated_ns) / 1e9
            self.limit = min(1.0, self.limit + _RECOVERY_PER_S * passed_s)
        self._updated_ns = now_ns
