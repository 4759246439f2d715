"""How fast one connection may begin calls: a burst at once, then so many a second.

A call beyond its pace waits for its turn. Flow control does the rest: a client that calls one at a
time is slowed down, and one that does not has its calls refused. Each connection has a pace for
itself, so that no flood of one delays calls of another.
"""

from __future__ import annotations

LONGEST_NS = 1_000_000_000
"""A call that would wait for longer is refused."""
_REMEMBERED = 10_000
"""Connections that are remembered; beyond that the one that was quiet for longest has its burst
again, which it would have had soon."""


class Pace:
    """Tells calls when they may go on (GCRA, ITU-T I.371).

    Args:
        rate_hz: calls a second of one connection, in the long run.
        burst: calls that may come at once.
    """

    def __init__(self, rate_hz: float, burst: int) -> None:
        self._interval_ns = round(1e9 / rate_hz)
        self._burst_ns = (burst - 1) * self._interval_ns
        # Ascending by last use.
        self._due_ns: dict[str, int] = {}

    def wait_ns(self, connection: str, now_ns: int) -> int | None:
        """Count a call.

        Args:
            connection: the client's end of it.
            now_ns: time of the monotonic clock.

        Returns:
            Nanoseconds that the call has to wait, mostly 0; None for a call to refuse, which
            counts for nothing.
        """
        due_ns = max(self._due_ns.pop(connection, 0), now_ns)
        wait_ns = max(0, due_ns - now_ns - self._burst_ns)
        is_refused = wait_ns > LONGEST_NS
        self._due_ns[connection] = due_ns if is_refused else due_ns + self._interval_ns
        if len(self._due_ns) > _REMEMBERED:
            del self._due_ns[next(iter(self._due_ns))]
        return None if is_refused else wait_ns
