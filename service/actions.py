"""What a session wants done; its shell (:mod:`service.stream`) carries it out.

The methods named here are those of :class:`service.session.Session`.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.domain import Command, ExpiringNotice, Skip
from service.errors import StreamError
from service.stages import Pending


@dataclass(slots=True)
class Decode:
    """Decode the frame, then call ``decoded`` or ``undecodable``."""

    pending: Pending


@dataclass(slots=True)
class Submit:
    """Give the frame to the engine, then call ``finished``."""

    pending: Pending


@dataclass(slots=True)
class Recall:
    """Take the frame back if the engine has not begun; then call ``recalled``."""

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
