"""Scripts: the reactions of a fake server to each frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import grpc

from steerstream.answers import (
    Draining,
    Expiring,
    Notice,
    Pace,
    Shedding,
    SkipReason,
    TicketIssued,
    Validity,
)
from steerstream.errors import ErrorReason
from steerstream.failures import RpcFailed
from steerstream.v1 import frame_pb2


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """Answer the frame with a command.

    Attributes:
        steering_wheel_angle_rad: the angle, raw and limited; None leaves the head out.
        speed_mps: the speed, raw and limited.
        steering_torque_nm: the torque, raw and limited.
        validity: how far the command can be trusted.
        age_ms: its age without the latency.
        latency_ms: time until it is sent; None for the server's own.
        is_damaged: whether its checksum is wrong.
        is_stuck: whether its alive counter repeats the one before.
    """

    steering_wheel_angle_rad: float | None = 0.0
    speed_mps: float | None = 10.0
    steering_torque_nm: float | None = 0.0
    validity: Validity = Validity.VALID
    age_ms: float = 0.0
    latency_ms: float | None = None
    is_damaged: bool = False
    is_stuck: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Skip:
    """Answer the frame with a typed skip; `latency_ms` None is the server's own."""

    reason: SkipReason = SkipReason.LATE
    detail: str = "scripted"
    latency_ms: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Drop:
    """Never answer the frame."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fail:
    """End the stream with an error, as a server that aborts or dies does."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    message: str = "the fake server died"
    reason: ErrorReason = ErrorReason.UNSPECIFIED
    retry_after_s: float | None = None

    def error(self) -> RpcFailed:
        """Return the error that a transport raises."""
        return RpcFailed(
            self.code, self.message, reason=self.reason, retry_after_s=self.retry_after_s
        )


Reaction = Reply | Skip | Drop | Fail | Notice
"""One reaction of a fake server to a frame."""

Script = Callable[[frame_pb2.Frame], Reaction | Iterable[Reaction]] | Iterable[Reaction]
"""A function of the frame, or a list with one action for each frame, in order. A list that is used
up goes on with its last action; notices are sent along with the action after them."""


def reactions(script: Script) -> Callable[[frame_pb2.Frame], list[Reaction]]:
    """Return a script as a function of the frame."""
    if not callable(script):
        return _from_list(iter(script))
    function = script

    def play(frame: frame_pb2.Frame) -> list[Reaction]:
        actions = function(frame)
        return list(actions) if isinstance(actions, Iterable) else [actions]

    return play


def _from_list(script: Iterator[Reaction]) -> Callable[[frame_pb2.Frame], list[Reaction]]:
    last: Reaction = Reply()

    def play(_frame: frame_pb2.Frame) -> list[Reaction]:
        nonlocal last
        actions: list[Reaction] = []
        for action in script:
            actions.append(action)
            if not isinstance(action, Draining | Expiring | Shedding | Pace | TicketIssued):
                last = action
                return actions
        return [*actions, last]

    return play
