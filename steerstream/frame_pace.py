"""When the next frame of a session is welcome to a server that asked for a pace."""

from __future__ import annotations

from steerstream.answers import Pace

_NS_PER_MS = 1_000_000
_LONGEST_MS = 10_000.0
"""No frame waits for longer, whatever a server asks for: in less, one by default ends a session for
want of frames."""


class FramePace:
    """Keeps the newest pace that a server asked for. Times are of the client's clock."""

    def __init__(self) -> None:
        self._period_ns = 0
        self._welcome_ns = 0

    @property
    def is_kept(self) -> bool:
        """Whether the server asks for a pace at present."""
        return self._period_ns > 0

    def keep(self, pace: Pace, now_ns: int) -> None:
        """Keep another pace from now on."""
        period_ns = round(min(pace.period_ms, _LONGEST_MS) * _NS_PER_MS)
        if self._period_ns:
            # Stretched like the period: otherwise all sessions would send in one part of it. A wait
            # far beyond a very short period would become endless with a long one.
            wait_ns = min(self.wait_ns(now_ns) * period_ns // self._period_ns, period_ns)
        else:
            wait_ns = round(min(pace.first_in_ms, _LONGEST_MS) * _NS_PER_MS)
        self._period_ns, self._welcome_ns = period_ns, now_ns + wait_ns

    def wait_ns(self, now_ns: int) -> int:
        """Return how long the next frame has to wait."""
        return max(0, self._welcome_ns - now_ns) if self._period_ns else 0

    def sent(self, now_ns: int) -> None:
        """A frame is sent."""
        # Half a period may be made up for: a camera's own period would lower the pace otherwise.
        # One that came too soon, for the pace has changed, does not put off the next one for that.
        due_ns = min(max(self._welcome_ns, now_ns - self._period_ns // 2), now_ns)
        self._welcome_ns = due_ns + self._period_ns
