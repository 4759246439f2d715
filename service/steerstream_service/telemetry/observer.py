"""Events of sessions, frames and steps, and the observers that metrics and traces are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from steerstream_service.domain import Command, Skip, SkipReason
from steerstream_service.errors import ErrorReason
from steerstream_service.session.frame_stages import FrameRecord

ENDINGS = ("client", "cancelled", "server_stopped", *(item.name.lower() for item in ErrorReason))
"""How a session can end: by its client, without a goodbye, with the server, or with an error."""

SERVER_SKIPS = (SkipReason.LATE, SkipReason.OVERLOADED, SkipReason.FAILED)
"""Skips that the server causes; the others are caused by the vehicle."""


class SlotUse(NamedTuple):
    """How many slots of a model's state pool are used, and how many there are."""

    used: int
    total: int


class ModelRuntime(NamedTuple):
    """What runs a model, and why that was chosen."""

    precision: str
    provider: str
    reason: str


class ServerState(NamedTuple):
    """How a server is at this moment.

    Attributes:
        slots: the use of each model's state pool, by the model's name.
        load: the predicted load of the admitted sessions; at 1 the next one is refused.
        serving: whether sessions can open.
        late: whether the server misses frames for want of time, and so refuses newcomers.
        provider: name of the execution provider.
        runtimes: what runs each model, by the model's name.
        settings: the server's settings as text, by their names.
        certificate_expires_in_s: seconds until the server's TLS certificate is no longer valid;
            None without TLS.
        ticket_key_age_s: seconds since the day on which the key that seals tickets was made; None
            where its file says nothing of it.
        recording_lost: messages of recorded sessions that were not written; None where none is
            recorded.
    """

    slots: Mapping[str, SlotUse]
    load: float
    serving: bool
    late: bool
    provider: str
    runtimes: Mapping[str, ModelRuntime]
    settings: Mapping[str, str]
    certificate_expires_in_s: float | None = None
    ticket_key_age_s: float | None = None
    recording_lost: int | None = None


class Observer:
    """Receives events; this one ignores them all.

    All methods but `stepped` are called on the event loop's thread. None may raise or wait: the
    frame that the event is about would wait too.
    """

    def opened(
        self, session_id: str, vehicle_id: str, model: str, trace_parent: str | None = None
    ) -> None:
        """A session was admitted.

        Args:
            session_id: the server's name for it.
            vehicle_id: the vehicle's name for itself.
            model: name of the model that it uses.
            trace_parent: the span of the vehicle's that the session belongs to, as the vehicle's
                `traceparent` header of W3C Trace Context says it, unchecked; None where it has
                none.
        """

    def served(self, model: str) -> None:
        """A model is served from now on that was not when the server started."""

    def refused(self, reason: ErrorReason) -> None:
        """A stream was refused before it had a session."""

    def received(self, session_id: str, record: FrameRecord) -> None:
        """A frame came, of whose picture nothing is checked yet."""

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """A frame was answered with a command.

        Args:
            session_id: the session.
            budget_ns: the session's budget.
            command: the answer.
        """

    def skipped(self, session_id: str, skip: Skip) -> None:
        """A frame was skipped."""

    def stepped(self, model: str, batch_size: int, step_ns: int, waiting: int) -> None:
        """The engine made a step; called on its thread.

        Args:
            model: name of the model.
            batch_size: frames in the step.
            step_ns: how long it took.
            waiting: frames that were left for the next step.
        """

    def ended(self, session_id: str, ended_by: str) -> None:
        """A session ended; `ended_by` is one of `ENDINGS`."""

    def lagged(self, lag_ns: int) -> None:
        """A timer of the event loop fired, so much too late."""


class Observers(Observer):
    """Passes events on to several observers, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def opened(
        self, session_id: str, vehicle_id: str, model: str, trace_parent: str | None = None
    ) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.opened(session_id, vehicle_id, model, trace_parent)

    def served(self, model: str) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.served(model)

    def refused(self, reason: ErrorReason) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.refused(reason)

    def received(self, session_id: str, record: FrameRecord) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.received(session_id, record)

    def answered(self, session_id: str, budget_ns: int, command: Command) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.answered(session_id, budget_ns, command)

    def skipped(self, session_id: str, skip: Skip) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.skipped(session_id, skip)

    def stepped(self, model: str, batch_size: int, step_ns: int, waiting: int) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.stepped(model, batch_size, step_ns, waiting)

    def ended(self, session_id: str, ended_by: str) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.ended(session_id, ended_by)

    def lagged(self, lag_ns: int) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.lagged(lag_ns)
