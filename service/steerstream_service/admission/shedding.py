"""When sessions have to go so that the others stay in time: data in, data out, no clock.

Capacity shrinks when the accelerator slows down or somebody else takes the CPU. It shows in two
ways: by the costs that are measured, the sessions ask for more than there is; or, where no cost
shows it, frames come too late for many sessions at once. Either has to last before anybody goes.
"""

from __future__ import annotations

_OVER = 1.15
"""Load, as a multiple of what is admitted, from which sessions are let go. The room above 1 keeps a
cost that wavers from letting go who was admitted a moment ago."""
_MANY = 0.25
"""Share of the sessions whose frames come late, from which it is the server and not theirs."""
_STEP_BACK = 0.9
"""What is kept of a load at which many were late."""
_RECOVERY_PER_S = 0.01
"""How fast the limit comes back after that: from a half in 50 s."""
_LEAST_LIMIT = 0.1


class Shedding:
    """Decides to which load a server goes back, and to which it may be filled.

    Loads are multiples of what is admitted on an undisturbed server.

    Args:
        after_ns: how long an overload lasts before sessions are let go.
        notice_ns: from their notice to their end; nobody else is let go meanwhile.
    """

    def __init__(self, after_ns: int, notice_ns: int) -> None:
        self.limit = 1.0
        self._after_ns = after_ns
        self._notice_ns = notice_ns
        self._since_ns: int | None = None
        self._updated_ns: int | None = None

    def update(self, now_ns: int, load: float, late_share: float) -> float | None:
        """Take note of how the server does; called a few times a second.

        Args:
            now_ns: the time.
            load: what the sessions ask for.
            late_share: share of the driving sessions that many frames come late for.

        Returns:
            The load to go back to by letting sessions go, or None.
        """
        self._recover(now_ns)
        many_late = late_share >= _MANY
        if load <= _OVER and not many_late:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns < self._after_ns:
            return None
        if many_late and load <= _OVER:
            self.limit = max(_LEAST_LIMIT, _STEP_BACK * min(load, self.limit))
        self._since_ns = now_ns + self._notice_ns
        return self.limit

    def _recover(self, now_ns: int) -> None:
        if self._updated_ns is not None:
            passed_s = (now_ns - self._updated_ns) / 1e9
            self.limit = min(1.0, self.limit + _RECOVERY_PER_S * passed_s)
        self._updated_ns = now_ns
