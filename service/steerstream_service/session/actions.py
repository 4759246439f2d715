"""What a session wants done; its shell (`stream`) carries it out.

The methods named here are those of `steerstream_service.session.machine.Session`.
"""

from __future__ import annotations

from dataclasses import dataclass

from steerstream_service.domain import Command, ExpiringNotice, Skip
from steerstream_service.errors import StreamError
from steerstream_service.session.frame_stages import Pending


@dataclass(slots=True)
class Decode:
    """Decode the frame, then call `decoded` or `undecodable`."""

    pending: Pending


@dataclass(slots=True)
class Submit:
    """Give the frame to the engine, then call `finished`."""

    pending: Pending


@dataclass(slots=True)
class Recall:
    """Take the frame back if the engine has not begun; then call `recalled`."""

    pending: Pending


@dataclass(slots=True)
class Send:
    """Send an answer or a notice."""

    message: Command | Skip | ExpiringNotice


@dataclass(slots=True)
class End:
    """End the stream with an error."""

    error: StreamError


Action = Decode | Submit | Recall | Send | End
