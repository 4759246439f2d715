"""What a session is opened with: its options, checked once, and the message that they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Required, Self, TypedDict

from steerstream import wire
from steerstream.acting_delay import ActingDelay
from steerstream.answers import TicketIssued
from steerstream.arguments import instance
from steerstream.errors import BadRequest
from steerstream.guard import Guard
from steerstream.models import Camera, FramePolicy
from steerstream.observer import IGNORED, LegObserver, SessionObserver
from steerstream.v1 import drive_service_pb2


class SessionOptions(TypedDict, total=False):
    """Options of a session, at one server or several.

    Attributes:
        vehicle_id: the vehicle's name, 1 to 128 printable ASCII characters. It must be given.
        model: a served model's name; by default the server's.
        budget_ms: milliseconds that a frame may take in the server, by default 50; None for the
            server's default.
        frame_policy: LATEST for vehicles, which is the default; EVERY for lock-step and replay.
        camera: the camera that the frames come from; by default nothing is known of it.
        frame_rate_hz: frames a second that will be sent; by default the model's own rate.
        live: whether capture times run as the client's clock does. Then times that cannot be true
            are refused, and old pictures are not followed. False for a recording or a simulator
            with its own time. By default, True under LATEST.
        guard: judges the answers; by default one with the default bounds. One that was used in an
            earlier session of the vehicle goes on holding that session's last command.
        observer: is told what happens in the session, such as a `FlightRecorder`.
        acting: what the vehicle knows of the time until a command acts, for a network that is told
            it; by default a live session measures it.
        horizon: whether commands bring what the network says comes next, where it says that; by
            default, if the guard plays it (`Bounds.max_horizon_ms` is above 0).
    """

    vehicle_id: Required[str]
    model: str | None
    budget_ms: float | None
    frame_policy: FramePolicy
    camera: Camera | None
    frame_rate_hz: float | None
    live: bool | None
    guard: Guard | None
    observer: SessionObserver | None
    acting: ActingDelay | None
    horizon: bool | None


@dataclasses.dataclass(frozen=True, slots=True)
class Opening:
    """The request for a session, checked.

    Attributes:
        request: the message that opens it.
        guard: judges its answers.
        is_live: whether capture times must run as the clock does.
        camera: that the frames come from.
        observer: is told what happens in it.
        acting: what the vehicle knows of the time until a command acts.
        ticket: of the session that it goes on with, where more is known of it than its bytes.
    """

    request: drive_service_pb2.DriveRequest
    guard: Guard
    is_live: bool
    camera: Camera | None
    observer: SessionObserver
    acting: ActingDelay | None = None
    ticket: TicketIssued | None = None

    @classmethod
    def of(
        cls,
        options: SessionOptions,
        ticket: TicketIssued | bytes | None = None,
        *,
        others: Sequence[str] = (),
    ) -> Self:
        """Check the options of a session.

        Args:
            options: of the session.
            ticket: of an earlier session, to go on where it stopped; None to begin.
            others: what else a session of this kind takes, to be named beside the options.

        Raises:
            BadRequest: a value is of the wrong type or out of its range.
            TypeError: there is no such option, or no `vehicle_id`.
        """
        unknown = options.keys() - SessionOptions.__annotations__.keys()
        if unknown:
            known = ", ".join((*SessionOptions.__annotations__, *others))
            raise TypeError(f"a session has no option {', '.join(sorted(unknown))}; it has {known}")
        if "vehicle_id" not in options:
            raise TypeError("a session needs a vehicle_id")
        instance("vehicle_id", options["vehicle_id"], str)
        frame_policy = options.get("frame_policy", FramePolicy.LATEST)
        instance("frame_policy", frame_policy, FramePolicy)
        for name, kind in _KINDS.items():
            if options.get(name) is not None:
                instance(name, options.get(name), kind)
        sealed, issued = _read_ticket(ticket)
        camera, live = options.get("camera"), options.get("live")
        request = wire.open_request(
            frame_policy=frame_policy,
            vehicle_id=options["vehicle_id"],
            model=options.get("model"),
            budget_ms=options.get("budget_ms", 50.0),
            camera=camera,
            ticket=sealed,
            frame_rate_hz=options.get("frame_rate_hz"),
        )
        guard, horizon = options.get("guard") or Guard(), options.get("horizon")
        if horizon is None:
            horizon = guard.bounds.max_horizon_ms > 0
        request.open.without_horizon = not horizon
        return cls(
            request,
            guard,
            frame_policy is FramePolicy.LATEST if live is None else live,
            camera,
            options.get("observer") or IGNORED,
            options.get("acting"),
            issued,
        )

    def with_ticket(self, ticket: bytes | None) -> Opening:
        """Return the same for one leg of a drive session, which judges and counts by itself."""
        request = drive_service_pb2.DriveRequest()
        request.CopyFrom(self.request)
        request.open.ticket = ticket or b""
        request.open.replays_rings = True
        return Opening(
            request,
            Guard(self.guard.bounds),
            is_live=False,
            camera=self.camera,
            observer=LegObserver(self.observer),
        )


def _read_ticket(
    ticket: TicketIssued | bytes | None,
) -> tuple[bytes | None, TicketIssued | None]:
    """Return the sealed bytes, and the ticket itself where it is known.

    Raises:
        BadRequest: it is no ticket, or one that only a drive session can use.
    """
    if ticket is None:
        return None, None
    instance("ticket", ticket, TicketIssued, bytes)
    if isinstance(ticket, bytes):
        return ticket, None
    if ticket.replay_from is not None:
        raise BadRequest(
            "ticket is of a drive session, which would have its last frames played again; "
            "open a session without it"
        )
    return ticket.ticket, ticket


_KINDS = {
    "live": bool,
    "camera": Camera,
    "guard": Guard,
    "observer": SessionObserver,
    "acting": ActingDelay,
    "horizon": bool,
}
"""Types of the options that may be None."""
