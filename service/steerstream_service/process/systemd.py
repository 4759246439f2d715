"""Tells systemd how the server is: ready, alive, stopping (`Type=notify` and `WatchdogSec=`).

Nothing is sent where systemd did not start the process. The protocol is `sd_notify(3)`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping

_US_PER_S = 1e6


class Notifier:
    """The process's line to systemd.

    Args:
        place: the datagram socket that systemd listens on, or empty for none.
        watchdog_s: systemd restarts a process that it has not heard from for so long; 0 for never.
    """

    def __init__(self, place: str, watchdog_s: float = 0.0) -> None:
        # An @ stands for the zero byte that a name without a file begins with.
        self._place = place.replace("@", "\0", 1) if place.startswith("@") else place
        self._pause_s = watchdog_s / 2

    @classmethod
    def take(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Read and remove what systemd set, so that no worker speaks for the whole server."""
        place = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = int(environment.pop("WATCHDOG_USEC", "0"))
        watched = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(place, watchdog_us / _US_PER_S if watched else 0.0)

    def ready(self) -> None:
        """Say that the server serves, and from now on that this event loop turns."""
        # This one may wait: without it systemd gives up the start, and nobody drives yet.
        self._send("READY=1")
        if self._pause_s:
            self._say_alive(asyncio.get_running_loop())

    def stopping(self) -> None:
        """Say that the server drains. The watchdog goes on: a drain can hang too."""
        self._send("STOPPING=1", socket.MSG_DONTWAIT)

    def _say_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        self._send("WATCHDOG=1", socket.MSG_DONTWAIT)
        loop.call_later(self._pause_s, self._say_alive, loop)

    def _send(self, state: str, flags: int = 0) -> None:
        # Vehicles are served as well where systemd does not listen.
        if self._place:
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line,
            ):
                line.sendto(state.encode(), flags, self._place)
