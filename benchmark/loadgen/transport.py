"""The interface between loads and wire protocols: connect, open, send pictures, get answers."""

from __future__ import annotations

import importlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from benchmark.loadgen.picture_set import PictureSet

RAY_APPLICATION = "peers"
"""Ray Serve routes a gRPC call by this name in its metadata."""
_PLACES = {
    "drive": ("drive_rpc", "DriveTransport"),
    "ray": ("drive_rpc", "DriveTransport"),
    "triton": ("triton_rpc", "TritonTransport"),
    "openpi": ("openpi_socket", "OpenpiTransport"),
}
_OPTIONS = {"ray": {"metadata": (("application", RAY_APPLICATION),)}}


class SessionEndedError(Exception):
    """The server refused a session, ended it, or can no longer be reached.

    Args:
        reason: a short name to count by, such as `TOO_MANY_SESSIONS`.
        detail: what the server says.
        retry_after_s: when to try again, if the server says so.
    """

    def __init__(self, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one frame.

    Attributes:
        number: the frame's.
        outputs: one value a head; None where the frame got no outputs of its own.
        skipped: why the server skipped the frame; None where it did not.
        stages_ms: `server`, `queue`, `decode` and `infer` as the server tells them, in
            milliseconds; empty where it tells nothing.
    """

    number: int
    outputs: tuple[float, ...] | None
    skipped: str | None = None
    stages_ms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Terms that a session asks for, where the protocol has them.

    Attributes:
        budget_ms: milliseconds for each frame in the server.
        rate_hz: frames a second that the vehicle declares.
        every: whether all frames are to be answered, in place of the latest ones.
    """

    budget_ms: float
    rate_hz: float
    every: bool = False


class Stream(Protocol):
    """One open session."""

    def takes(self, due_ns: int) -> bool:
        """Return whether the server wants a frame at this time; a vehicle then sends it.

        Servers that never ask for fewer frames want them all.
        """
        del due_ns
        return True

    async def send(self, number: int, picture: int, capture_time_ns: int) -> None:
        """Send a frame; returns when the transport took it.

        Args:
            number: counts up from 0 in each session.
            picture: index in the transport's pictures; any number, taken modulo their count.
            capture_time_ns: the vehicle's clock, above 0.

        Raises:
            SessionEndedError: the session has ended; receiving tells why.
        """

    async def receive(self) -> Answer:
        """Return the next answer to a frame.

        Raises:
            SessionEndedError: the session has ended.
        """

    async def close(self) -> None:
        """End the session as the protocol provides it, within about a second."""

    async def abort(self) -> None:
        """End the session at once, without a goodbye."""


class Connection(Protocol):
    """One vehicle's connection; its sessions follow each other on it."""

    async def open(self, vehicle_id: str, terms: Terms) -> Stream:
        """Open a session; returns when the server has admitted it.

        Raises:
            SessionEndedError: the server refused it.
        """


class Transport(Protocol):
    """Connects vehicles to one server."""

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """Return a connection that stands as long as its context.

        Raises:
            OSError: entering the context found no server.
        """


def make(transport: str, address: str, pictures: PictureSet, **options: str) -> Transport:
    """Return a transport by its name; only now are the packages that it needs imported.

    Args:
        transport: `drive`, `ray`, `triton` or `openpi`.
        address: the server, HOST:PORT.
        pictures: what its vehicles see.
        **options: of the transport, such as `ca_file` of `drive`.
    """
    module, kind = _PLACES[transport]
    made: Transport = getattr(importlib.import_module(f"benchmark.loadgen.{module}"), kind)(
        address, pictures, **_OPTIONS.get(transport, {}), **options
    )
    return made
