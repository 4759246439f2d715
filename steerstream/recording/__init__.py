"""The flight recorder: what a vehicle sent and got, as an MCAP file that others read too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steerstream.recording.flight_recorder import FlightRecorder as FlightRecorder


def __getattr__(name: str) -> object:
    """Import the recorder where it is asked for: it needs an extra, and commands start without."""
    if name == "FlightRecorder":
        from steerstream.recording.flight_recorder import FlightRecorder  # noqa: PLC0415

        return FlightRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
