"""What a transport offers to the loads: open a session, send frames, receive outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

FRAME_PERIOD_NS = 50_000_000
"""Between the capture times of two frames: a 20 Hz camera, whatever the load's pace."""


class RefusedError(Exception):
    """The server does not open the session."""


class EndedError(Exception):
    """The server ended the session, or the connection is gone."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one frame.

    Attributes:
        number: of the frame.
        outputs: one value a head; None where the frame got no outputs of its own.
    """

    number: int
    outputs: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a session asks of a server.

    Attributes:
        budget_ms: milliseconds for each frame.
        rate_hz: frames a second that it states.
        every: all frames are answered, where the server may skip some.
    """

    budget_ms: float
    rate_hz: float
    every: bool


class Link(Protocol):
    """One session on a connection of its own, as a vehicle has it."""

    async def send(self, number: int, frame: int) -> None:
        """Send a frame; returns when the transport took it.

        Args:
            number: counts up from 0 in each session.
            frame: index of the picture.

        Raises:
            EndedError: the session has ended.
        """

    async def receive(self) -> Answer:
        """Return the next answer.

        Raises:
            EndedError: the session has ended.
        """

    async def close(self) -> None:
        """Say goodbye as the transport provides it, then close the connection."""

    async def abort(self) -> None:
        """Close the connection at once, whatever is under way."""


class Transport(Protocol):
    """Opens sessions of one server."""

    async def open(self, session: int, terms: Terms) -> Link:
        """Open a session.

        Args:
            session: a number that no session of this run had before.
            terms: what to ask for, where the server knows such.

        Raises:
            RefusedError: the server is full.
        """
