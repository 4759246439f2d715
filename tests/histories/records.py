"""What is written down while a history runs: the model judges it afterwards."""

from __future__ import annotations

import dataclasses
from typing import Any

import grpc

from steerstream import Answer, FrameAnswer, SafeCommand, SessionChange
from steerstream.v1 import drive_service_pb2
from tests.histories.loop import Process, VirtualLoop


@dataclasses.dataclass(slots=True)
class Sent:
    """A vehicle sent a frame."""

    at_ns: int
    number: int
    picture: int
    """What the network sees in it; -1 for a picture that cannot be decoded."""
    capture_ms: int
    is_sent: bool = True


@dataclasses.dataclass(slots=True)
class WasReset:
    """A vehicle reset its state."""

    at_ns: int


@dataclasses.dataclass(slots=True)
class Got:
    """An answer or a notice came to the vehicle's program."""

    at_ns: int
    answer: Answer


@dataclasses.dataclass(slots=True)
class Judged:
    """The guard judged an answer, which the vehicle's program may never read."""

    at_ns: int
    answer: FrameAnswer


@dataclasses.dataclass(slots=True)
class Told:
    """The guard said what the vehicle may do."""

    at_ns: int
    safe: SafeCommand


@dataclasses.dataclass(slots=True)
class Changed:
    """The drive session said how it is."""

    at_ns: int
    change: SessionChange


@dataclasses.dataclass(slots=True)
class Ended:
    """The session ended for the vehicle's program: with an error, or well."""

    at_ns: int
    error: BaseException | None


Event = Sent | WasReset | Got | Judged | Told | Changed | Ended


@dataclasses.dataclass(slots=True)
class VehicleRecord:
    """One vehicle's history.

    Attributes:
        name: the vehicle.
        is_latest: its frame policy.
        drives_on: whether it has a drive session, which goes on at another server.
        give_up_after_s: of its `HandOver`.
        clock_ns: its monotonic clock at the beginning of the history.
        may_lose_state: whether a ticket may be too old or of an unknown key, or frames too many to
            be kept.
        events: what happened, in order.
        is_gone: whether the vehicle died, so that nothing is promised to it any more.
        was_frozen: whether its program stood still for a while.
    """

    name: str
    is_latest: bool
    drives_on: bool
    give_up_after_s: float
    clock_ns: int
    may_lose_state: bool = True
    events: list[Event] = dataclasses.field(default_factory=list)
    is_gone: bool = False
    was_frozen: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class StreamRecord:
    """What one server read and wrote on one stream, at the times of its own clock.

    `is_strange` tells that the client keeps no rule, so that nothing is promised to it.
    """

    loop: VirtualLoop
    process: Process
    server: ServerRecord
    is_strange: bool
    events: list[tuple[int, Any]] = dataclasses.field(default_factory=list)
    end_ns: int | None = None
    code: grpc.StatusCode | None = None
    reason: str = ""

    def read(self, request: drive_service_pb2.DriveRequest) -> None:
        self.events.append((self.loop.local_ns, request))

    def written(self, response: drive_service_pb2.DriveResponse) -> None:
        self.events.append((self.loop.local_ns, response))

    def ended(self, code: grpc.StatusCode, reason: str) -> None:
        self.end_ns, self.code, self.reason = self.loop.local_ns, code, reason


@dataclasses.dataclass(slots=True, eq=False)
class ServerRecord:
    """One run of a server, from its start to its end.

    Attributes:
        name: the machine.
        max_sessions: of its settings.
        max_unsent: answers that a client may leave unread, of its settings.
        max_waiting: frames that may wait, of its settings.
        may_be_busy: whether its settings let it refuse frames for its load.
        streams: that clients began.
        slowest_step_ns: of all its steps.
        step_faults: steps that were made to fail.
        crashed_ns: when it was killed; None where it ended by itself.
        left: what it still held when all its clients were gone, by name; empty is good.
    """

    name: str
    process: Process
    max_sessions: int
    max_unsent: int
    max_waiting: int
    may_be_busy: bool
    streams: list[StreamRecord] = dataclasses.field(default_factory=list)
    slowest_step_ns: int = 0
    step_faults: int = 0
    crashed_ns: int | None = None
    left: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class History:
    """Everything that happened.

    Attributes:
        seed: what it was made from.
        plan: what was to happen, in words.
        faults: what nobody should have seen: exceptions that nobody took, logged errors.
        is_stuck: why it did not end; None where it did.
        is_calm: whether no fault was planned and the machines had time enough.
        outage_ends_ns: when servers that all were gone at once are back; None where that was not.
        ended_ns: its length.
    """

    seed: int
    plan: list[str] = dataclasses.field(default_factory=list)
    vehicles: list[VehicleRecord] = dataclasses.field(default_factory=list)
    servers: list[ServerRecord] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)
    is_stuck: str | None = None
    is_calm: bool = False
    outage_ends_ns: int | None = None
    ended_ns: int = 0

    @property
    def frames(self) -> int:
        """Frames that servers read, those that were played again too."""
        return sum(
            message.WhichOneof("message") == "frame"
            for server in self.servers
            for stream in server.streams
            for _, message in stream.events
        )

    def trace(self) -> list[str]:
        """Return what happened without what differs from run to run, such as keys."""
        lines = []
        for server in self.servers:
            for stream in server.streams:
                for at_ns, message in stream.events:
                    kind = message.WhichOneof("message")
                    number = getattr(getattr(message, kind), "sequence_number", "")
                    lines.append(f"{server.name} {at_ns} {kind} {number}")
        for vehicle in self.vehicles:
            lines += [f"{vehicle.name} {type(e).__name__} {e.at_ns}" for e in vehicle.events]
        return lines
