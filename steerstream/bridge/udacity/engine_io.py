"""Packets of Engine.IO 3 with Socket.IO 2 inside, as Udacity's simulator speaks them.

The simulator asks for `EIO=4` in its address and speaks revision 3 all the same: it is the client
that pings, and the server that answers.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from steerstream.bridge.driver import SimulatorError

PING_INTERVAL_MS = 25_000
PING_TIMEOUT_MS = 60_000

CONNECTED = "40"
"""Tells the client that its namespace, the only one, is there."""

PONG = "3"


class Event(NamedTuple):
    """An event of Socket.IO: a name and one value, None where there is none."""

    name: str
    value: Any


def opening(session_id: str) -> str:
    """Return the first packet to a client."""
    return "0" + json.dumps(
        {
            "sid": session_id,
            "upgrades": [],
            "pingInterval": PING_INTERVAL_MS,
            "pingTimeout": PING_TIMEOUT_MS,
        },
        separators=(",", ":"),
    )


def reply(packet: str) -> str | None:
    """Return what a packet is to be answered with at once; None for nothing."""
    # A ping carries text that its pong repeats: `2probe` is answered by `3probe`.
    return PONG + packet[1:] if packet.startswith("2") else None


def is_end(packet: str) -> bool:
    """Return whether a packet ends the connection."""
    return packet == "1" or packet.startswith("41")


def read_event(packet: str) -> Event | None:
    """Read an event; None for a packet that is none.

    Raises:
        SimulatorError: it is an event whose JSON cannot be read.
    """
    if not packet.startswith("42"):
        return None
    # The number of an acknowledgement may stand before the event.
    text = packet[2:].lstrip("0123456789")
    try:
        parts = json.loads(text)
        name, value = parts[0], parts[1] if len(parts) > 1 else None
    except (ValueError, RecursionError, TypeError, KeyError, IndexError):
        raise SimulatorError(
            f"an event is no JSON list of a name and a value: {text[:60]!r}"
        ) from None
    if not isinstance(name, str):
        raise SimulatorError(f"an event's name is no text: {text[:60]!r}")
    return Event(name, value)


def event(name: str, value: dict[str, str]) -> str:
    """Return the packet of an event."""
    return "42" + json.dumps([name, value], separators=(",", ":"))
