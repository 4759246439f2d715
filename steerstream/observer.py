"""Whoever is told what happens in a session, such as a flight recorder."""

from __future__ import annotations

from steerstream.answers import FrameAnswer, Notice
from steerstream.errors import SteerstreamError
from steerstream.guard import Guard, GuardReason, SafeCommand
from steerstream.v1 import frame_pb2, session_pb2


class SessionObserver:
    """Is told what happens in a session; this one ignores it all.

    Its methods are called in the session's event loop. None may raise or wait, for a frame would
    wait too.
    """

    def opened(
        self,
        target: str,
        request: session_pb2.OpenSession,
        opened: session_pb2.SessionOpened,
        guard: Guard,
    ) -> None:
        """A server opened the session; a drive session tells of each server.

        Args:
            target: the server's name.
            request: what the vehicle asked for.
            opened: what the server granted.
            guard: judges the answers.
        """

    def frame_sent(self, frame: frame_pb2.Frame) -> None:
        """A frame is being sent, with its number, its time and its picture; not to be changed."""

    def reset(self) -> None:
        """The recurrent state is set back before the next frame."""

    def answered(self, answer: FrameAnswer, reasons: tuple[GuardReason, ...]) -> None:
        """A frame was answered; `reasons` is what the guard did about it."""

    def noticed(self, notice: Notice) -> None:
        """The server sent news of the session."""

    def told(self, safe: SafeCommand) -> None:
        """The guard told the vehicle what to do."""

    def ended(self, error: SteerstreamError | None) -> None:
        """The session is over; None where this side ended it."""


class LegObserver(SessionObserver):
    """Passes on what the parts of a drive session alone know.

    Args:
        observer: of the drive session.
    """

    def __init__(self, observer: SessionObserver) -> None:
        self._observer = observer

    def opened(
        self,
        target: str,
        request: session_pb2.OpenSession,
        opened: session_pb2.SessionOpened,
        guard: Guard,
    ) -> None:
        """Pass it on."""
        self._observer.opened(target, request, opened, guard)

    def noticed(self, notice: Notice) -> None:
        """Pass it on."""
        self._observer.noticed(notice)


IGNORED = SessionObserver()
"""The observer of a session that nobody observes."""
