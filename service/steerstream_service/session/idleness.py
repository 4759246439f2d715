"""When a session that sends no frames comes to its end."""

from __future__ import annotations

from steerstream_service.domain import ExpiringNotice
from steerstream_service.errors import IdleError
from steerstream_service.session.actions import Action, End, Send

_MS = 1_000_000


class Silence:
    """Watches for a session that sends nothing: a notice first, then the end.

    Args:
        idle_timeout_ns: a session ends after so long without a frame.
        expiring_notice_ns: the vehicle is told so long before.
        now_ns: the present time.
    """

    def __init__(self, *, idle_timeout_ns: int, expiring_notice_ns: int, now_ns: int) -> None:
        self._idle_timeout_ns = idle_timeout_ns
        self._notice_after_ns = idle_timeout_ns - expiring_notice_ns
        self.broken(now_ns)

    def broken(self, now_ns: int) -> None:
        """A frame came."""
        self._since_ns = now_ns
        self._noticed = False
        self.next_wake_ns = now_ns + self._notice_after_ns
        """When `tick` wants to be called next."""

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed."""
        ends_ns = self._since_ns + self._idle_timeout_ns
        if now_ns >= ends_ns:
            seconds = self._idle_timeout_ns / 1e9
            return [End(IdleError(f"no frame came for {seconds:g} s; open a new session"))]
        if now_ns < self.next_wake_ns or self._noticed:
            return []
        self._noticed = True
        self.next_wake_ns = ends_ns
        return [Send(ExpiringNotice((ends_ns - now_ns) // _MS))]
