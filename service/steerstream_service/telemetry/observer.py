"""What the server tells of its work, to whoever listens: metrics, traces, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from steerstream_service.domain import Command, Skip
from steerstream_service.errors import ErrorReason


class SlotUse(NamedTuple):
    """How many rows of a model's state pool are taken, of how many."""

    used: int
    total: int


class Observer:
    """Told of everything that happens to sessions, frames and steps; this one ignores it all.

    All but `stepped` are called on the event loop's thread. None may raise or wait: they
    stand in the way of the frame that they are told of.
    """

    def opened(self, session_id: str, vehicle_id: str, model: str) -> None:
        """A session was admitted."""

    def refused(self, reason: ErrorReason) -> None:
        """A stream was refused before it had a session."""

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """A frame got a command; `budget_ns` is what its session was granted."""

    def skipped(self, session_id: str, skip: Skip) -> None:
        """A frame got no command of its own."""

    def stepped(self, model: str, batch_size: int, step_ns: int, waiting: int) -> None:
        """The engine's thread made a step; `waiting` frames were left for the next one."""

    def ended(self, session_id: str, ended_by: str) -> None:
        """A session ended; `ended_by` is `client`, `cancelled`, or the reason of an error."""


class Observers(Observer):
    """Tells several observers, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def opened(self, session_id: str, vehicle_id: str, model: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.opened(session_id, vehicle_id, model)

    def refused(self, reason: ErrorReason) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.refused(reason)

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.answered(session_id, budget_ns, command)

    def skipped(self, session_id: str, skip: Skip) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.skipped(session_id, skip)

    def stepped(self, model: str, batch_size: int, step_ns: int, waiting: int) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.stepped(model, batch_size, step_ns, waiting)

    def ended(self, session_id: str, ended_by: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.ended(session_id, ended_by)
