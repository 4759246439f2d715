"""The server's event loop: uvloop's where it is installed, with a wider way in for gRPC's events.

gRPC's poller thread writes one byte into a socket for each event, a message that came or one that
was sent. The event loop reads one byte a pass, and handles all events that are there. So after a
step, during which 50 events came, 49 passes find a byte and no event. Worse, the socket holds some
280 bytes: with more events than passes the poller waits at the full socket, one event a pass comes
through, and a busy server reads frames that are seconds old. Here all bytes but one are taken
before gRPC takes that one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

try:
    import uvloop
except ModuleNotFoundError:  # No wheels for Windows.
    _Loop: type[asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
else:
    _Loop = uvloop.Loop

_POLLER = "PollerCompletionQueue"
"""The class in gRPC whose method handles the events."""
_MOST_BYTES = 4096
# Put together once: the flags are an `IntFlag`, which takes 1 us to do so.
_LOOK = socket.MSG_PEEK | socket.MSG_DONTWAIT


class EventLoop(_Loop):  # type: ignore[misc, valid-type]
    """An event loop for a gRPC server; uvloop saves a sixth of its time for a frame."""

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> Any:  # noqa: ANN401
        """Call a function when a descriptor is readable; gRPC's finds one byte at most."""
        handler = getattr(getattr(callback, "func", callback), "__self__", None)
        if type(handler).__name__ != _POLLER or not isinstance(fd, socket.socket):
            return super().add_reader(fd, callback, *args)

        def handle() -> None:
            # The byte of an event is written after the event is in gRPC's queue, and the queue is
            # emptied after this: no event of a byte that is taken here can be missed.
            try:
                waiting = len(fd.recv(_MOST_BYTES, _LOOK))
                if waiting > 1:
                    fd.recv(waiting - 1)
            except BlockingIOError:  # `suppress` takes three calls more, at each event
                pass
            callback(*args)

        return super().add_reader(fd, handle)
