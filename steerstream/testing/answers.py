"""A fake session's answers: counters, epoch and checksum as a server's."""

from __future__ import annotations

import dataclasses

from steerstream.answers import Draining, Expiring, Notice, Pace, Shedding, TicketIssued
from steerstream.checksum import ALIVE_COUNTER_MODULUS, command_checksum
from steerstream.testing.script import Reply, Skip
from steerstream.v1 import command_pb2, drive_service_pb2, frame_pb2, session_pb2


class FakeAnswers:
    """Makes the answers of one session."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._alive_counter = 0
        self._epoch = 0
        self._steps = 0

    def reset(self, message: session_pb2.Reset) -> None:
        """Begin a new epoch."""
        self._epoch += message.count or 1
        self._steps = 0

    def answer(
        self, frame: frame_pb2.Frame, action: Reply | Skip, latency_ms: float
    ) -> drive_service_pb2.DriveResponse:
        """Return the answer to a frame.

        Args:
            frame: the frame.
            action: the reaction in the script.
            latency_ms: milliseconds that the answer takes.
        """
        if isinstance(action, Skip):
            self._count()
            return drive_service_pb2.DriveResponse(skipped=_skip(frame, action))
        if not action.is_stuck:
            self._count()
        self._steps += 1
        return drive_service_pb2.DriveResponse(command=self._command(frame, action, latency_ms))

    def _count(self) -> None:
        self._alive_counter = (self._alive_counter + 1) % ALIVE_COUNTER_MODULUS

    def _command(
        self, frame: frame_pb2.Frame, reply: Reply, latency_ms: float
    ) -> command_pb2.Command:
        values = command_pb2.ControlValues(
            steering_wheel_angle_rad=reply.steering_wheel_angle_rad,
            speed_mps=reply.speed_mps,
            steering_torque_nm=reply.steering_torque_nm,
        )
        total_us = round(latency_ms * 1e3)
        command = command_pb2.Command(
            sequence_number=frame.sequence_number,
            capture_time_ns=frame.capture_time_ns,
            raw=values,
            limited=values,
            validity=command_pb2.Validity.ValueType(reply.validity),
            age_ms=reply.age_ms + latency_ms,
            alive_counter=self._alive_counter,
            state_epoch=self._epoch,
            step_count=self._steps,
            timings=command_pb2.StageTimings(infer_us=total_us, total_us=total_us, batch_size=1),
        )
        command.checksum = command_checksum(self._session_id, command) ^ int(reply.is_damaged)
        return command


def _skip(frame: frame_pb2.Frame, skip: Skip) -> command_pb2.FrameSkipped:
    return command_pb2.FrameSkipped(
        sequence_number=frame.sequence_number,
        capture_time_ns=frame.capture_time_ns,
        reason=command_pb2.SkipReason.ValueType(skip.reason),
        detail=skip.detail,
    )


def notice_response(notice: Notice) -> drive_service_pb2.DriveResponse:
    """Return a notice as it goes over the wire."""
    match notice:
        case Draining(ends_in_ms=left):
            message = session_pb2.Notice(draining=session_pb2.Draining(ends_in_ms=left))
        case Expiring(ends_in_ms=left):
            message = session_pb2.Notice(expiring=session_pb2.Expiring(ends_in_ms=left))
        case Shedding(ends_in_ms=left, retry_after_ms=retry):
            shedding = session_pb2.Shedding(ends_in_ms=left, retry_after_ms=retry)
            message = session_pb2.Notice(shedding=shedding)
        case Pace(period_ms=period, first_in_ms=first):
            message = session_pb2.Notice(pace=session_pb2.Pace(period_ms=period, first_in_ms=first))
        case TicketIssued():
            message = session_pb2.Notice(ticket=session_pb2.Ticket(**dataclasses.asdict(notice)))
    return drive_service_pb2.DriveResponse(notice=message)
