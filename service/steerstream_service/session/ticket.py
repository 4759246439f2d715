"""What a session's state is made of, and when it is given to the vehicle: pure, without keys.

A ticket is a session's whole state, sealed (`admission/ticket_office.py`), in the hands of its
vehicle. So servers share nothing but a key: any of them can go on from a ticket, and the vehicle
plays the frames again that came after it.

What the last few frames alone decide, the network's rings, is by far the largest part of a state.
A ticket leaves it out where the vehicle plays these frames again too: it names them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from steerstream_bundle.contract import Contract
from steerstream_service.domain import Command, ControlValues, Limit, Timings, Validity

MAX_SHARE = 0.05
"""What tickets may add to the traffic, as a share of the bytes of the frames' pictures."""

MOST_FRAMES = 256
"""Frames from one ticket to the next at most. That is what `MAX_SHARE` comes to for the largest
state that ships with whole pictures; a vehicle that sends views has spared many times the bytes,
and plays no more than 1,024 frames again."""

MAX_TICKET_BYTES = 1024 * 1024
"""A larger one is not issued, nor taken: it would delay the commands behind it, and a message of
4 MiB is the most that clients of gRPC take by default."""

_WHOLE, _WITHOUT_RINGS = 1, 2
"""Versions of what is sealed."""
_COUNTERS = struct.Struct("<BQQQQHd?")
"""Version, sequence number and capture time of the last frame that the state has seen, epoch, step
count, alive counter, seconds left to the limits, and whether there is a command to hold."""
_HELD = struct.Struct("<QQQQHd3d3d")
"""Sequence number, capture time, epoch, step count, active limits by bits, age, raw values, limited
values; NaN for a head that the network lacks."""
_RING_FRAME_BYTES = 8
"""Before a state without its rings come one byte, how many frames they are made of, and each
frame's number."""
_SEAL_BYTES = 128
"""About what a seal adds: salt, tag, time, and the key's name."""
_AGAIN = Timings(0, 0, 0, 0, 0)


class TicketError(ValueError):
    """The bytes are not the state of a session of this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """All that the next frame's answer depends on, besides the frame and the session's terms.

    Attributes:
        sequence_number: of the last frame that the recurrent state has seen.
        capture_time_ns: of the same frame, on the vehicle's clock.
        epoch: resets that have taken effect.
        step_count: frames that the state has seen in this epoch.
        alive_counter: of the last answer.
        time_left_s: what the limits may still count beyond the time that passes at the server.
        held: the last good command, from which the next one's change is limited, with its age;
            None where there is none.
        tensors: the recurrent state, float32 in the contract's order; without its rings where
            `ring_frames` are stated.
        ring_frames: numbers of the frames that make the rings from the initial state, the last one
            that the state has seen at their end; empty where `tensors` holds them.
    """

    sequence_number: int
    capture_time_ns: int
    epoch: int
    step_count: int
    alive_counter: int
    time_left_s: float
    held: Command | None
    tensors: bytes
    ring_frames: tuple[int, ...] = ()


def state_bytes(contract: Contract, *, with_rings: bool = True) -> int:
    """Return the size of a session's recurrent state."""
    pairs = (pair for pair in contract.state if with_rings or not pair.kind.is_ring)
    return sum(4 * math.prod(pair.shape) for pair in pairs)


def ticket_bytes(contract: Contract, ring_length: int = 0) -> int:
    """Return about the size of a sealed ticket.

    Args:
        contract: of the network.
        ring_length: frames that are played again for its rings; 0 where the ticket holds these.
    """
    frames = ring_length * _RING_FRAME_BYTES
    state = state_bytes(contract, with_rings=not ring_length)
    return _COUNTERS.size + _HELD.size + frames + state + _SEAL_BYTES


def pack(state: SessionState) -> bytes:
    """Return a session's state as bytes."""
    numbers = state.ring_frames
    head = _COUNTERS.pack(
        _WITHOUT_RINGS if numbers else _WHOLE,
        state.sequence_number,
        state.capture_time_ns,
        state.epoch,
        state.step_count,
        state.alive_counter,
        state.time_left_s,
        state.held is not None,
    )
    held = b"" if state.held is None else _pack_held(state.held)
    frames = struct.pack(f"<B{len(numbers)}Q", len(numbers), *numbers) if numbers else b""
    return head + held + frames + state.tensors


def unpack(data: bytes, contract: Contract) -> SessionState:
    """Return the state that was packed for a model.

    Raises:
        TicketError: the bytes are of another version, or their length is not the model's.
    """
    if not data or data[0] not in {_WHOLE, _WITHOUT_RINGS}:
        raise TicketError("the ticket is of another version of the server")
    is_whole = data[0] == _WHOLE
    try:
        _, number, capture_ns, epoch, steps, alive, left_s, holds = _COUNTERS.unpack_from(data)
        held = _unpack_held(data) if holds else None
        at = _COUNTERS.size + holds * _HELD.size
        ring_frames = () if is_whole else _unpack_ring_frames(data, at)
    except struct.error:
        raise TicketError("the ticket is cut short") from None
    tensors = data[at if is_whole else at + 1 + len(ring_frames) * _RING_FRAME_BYTES :]
    if len(tensors) != state_bytes(contract, with_rings=is_whole):
        raise TicketError("the ticket's state is not of this model's size")
    return SessionState(
        sequence_number=number,
        capture_time_ns=capture_ns,
        epoch=epoch,
        step_count=steps,
        alive_counter=alive,
        time_left_s=left_s,
        held=held,
        tensors=tensors,
        ring_frames=ring_frames,
    )


class TicketSchedule:
    """When a session's state is given to its vehicle.

    After so many frames, and not before the frames' pictures have had so many bytes that the ticket
    adds at most `MAX_SHARE` to them: a large state comes more rarely, and the vehicle plays more
    frames again. But never more rarely than every `MOST_FRAMES`.

    Args:
        every_frames: frames from one ticket to the next at least; 0 for no tickets.
        size_bytes: of a ticket; above `MAX_TICKET_BYTES` there are none.
    """

    def __init__(self, every_frames: int, size_bytes: int) -> None:
        self._every_frames = every_frames if size_bytes <= MAX_TICKET_BYTES else 0
        self._enough_bytes = size_bytes / MAX_SHARE
        self._hurries = False
        self._frames = self._bytes = 0

    def received(self, picture_bytes: int) -> None:
        """Count a frame that came, with the size of its picture."""
        self._frames += 1
        self._bytes += picture_bytes

    @property
    def is_due(self) -> bool:
        """Whether the state after the next step goes to the vehicle."""
        if not self._every_frames:
            return False
        is_spared = self._bytes >= self._enough_bytes or self._frames >= MOST_FRAMES
        return self._hurries or (self._frames >= self._every_frames and is_spared)

    def hurry(self) -> None:
        """Give the next state out: the session is about to end here."""
        self._hurries = True

    def issued(self) -> None:
        """Begin to count again: a ticket went to the vehicle."""
        self._hurries = False
        self._frames = self._bytes = 0


def _pack_held(command: Command) -> bytes:
    return _HELD.pack(
        command.sequence_number,
        command.capture_time_ns,
        command.state_epoch,
        command.step_count,
        sum(1 << limit for limit in command.active_limits),
        command.age_ms,
        *_floats(command.raw),
        *_floats(command.limited),
    )


def _unpack_held(data: bytes) -> Command:
    number, capture_ns, epoch, steps, limits, age_ms, *values = _HELD.unpack_from(
        data, _COUNTERS.size
    )
    return Command(
        number,
        capture_ns,
        _values(values[:3]),
        _values(values[3:]),
        tuple(limit for limit in Limit if limits >> limit & 1),
        Validity.HELD,
        age_ms,
        0,
        epoch,
        steps,
        _AGAIN,
    )


def _unpack_ring_frames(data: bytes, at: int) -> tuple[int, ...]:
    (count,) = struct.unpack_from("<B", data, at)
    return struct.unpack_from(f"<{count}Q", data, at + 1)


def _floats(values: ControlValues) -> tuple[float, ...]:
    heads = (values.steering_wheel_angle_rad, values.speed_mps, values.steering_torque_nm)
    return tuple(math.nan if value is None else value for value in heads)


def _values(floats: list[float]) -> ControlValues:
    return ControlValues(*(None if math.isnan(value) else value for value in floats))
