"""A frame's way through its session: its record, its stages, and the session's actions.

A frame goes through these stages, and `TRANSITIONS` is all there is to know of them:

```
WAITING -> DECODING -> READY -> SUBMITTED -> ANSWERED
```

The methods that the actions name are those of `steerstream_service.session.machine.Session`.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.pictures import Image
from steerstream_bundle.preprocess import Picture
from steerstream_bundle.view import Applied
from steerstream_service.domain import Command, ExpiringNotice, Outcome, Skip, SkipReason, Slot
from steerstream_service.errors import StreamError
from steerstream_service.session.ticket import SessionState

_NO_PIXELS: Picture = np.empty((0, 0, 3), np.uint8)


class Stage(enum.IntEnum):
    """Where a frame is."""

    WAITING = enum.auto()
    DECODING = enum.auto()
    READY = enum.auto()
    SUBMITTED = enum.auto()
    ANSWERED = enum.auto()


class Event(enum.IntEnum):
    """An event in the life of a frame."""

    REFUSE = enum.auto()
    DECODE = enum.auto()
    DECODED = enum.auto()
    UNDECODABLE = enum.auto()
    SUBMIT = enum.auto()
    STEP = enum.auto()
    FAIL = enum.auto()
    SUPERSEDE = enum.auto()
    EXPIRE = enum.auto()


TRANSITIONS: Mapping[tuple[Stage, Event], Stage] = MappingProxyType(
    {
        (Stage.WAITING, Event.REFUSE): Stage.ANSWERED,
        (Stage.WAITING, Event.DECODE): Stage.DECODING,
        (Stage.WAITING, Event.SUPERSEDE): Stage.ANSWERED,
        (Stage.WAITING, Event.EXPIRE): Stage.ANSWERED,
        (Stage.DECODING, Event.DECODED): Stage.READY,
        (Stage.DECODING, Event.UNDECODABLE): Stage.ANSWERED,
        (Stage.DECODING, Event.SUPERSEDE): Stage.ANSWERED,
        (Stage.DECODING, Event.EXPIRE): Stage.ANSWERED,
        (Stage.READY, Event.SUBMIT): Stage.SUBMITTED,
        (Stage.READY, Event.EXPIRE): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.STEP): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.FAIL): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.SUPERSEDE): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.EXPIRE): Stage.ANSWERED,
        # The frame was given up while its picture was with the decoder.
        (Stage.ANSWERED, Event.DECODED): Stage.ANSWERED,
        (Stage.ANSWERED, Event.UNDECODABLE): Stage.ANSWERED,
    }
)
"""The stage after an event. A pair that is not listed cannot happen, and raises KeyError."""


class FrameRecord:
    """One frame from its arrival to its answer: what came, and what became of it.

    The record is made once and handed on, never copied. One party owns it at a time, and only the
    owner writes to it: the session (on the event loop), the decoder while the stage is DECODING,
    and the engine from SUBMITTED until its reply. There are two exceptions. A session may answer a
    frame whose picture is still with the decoder; it then ignores the result. And `claim` decides
    between the engine and a session that wants its frame back.

    Args:
        sequence_number: the vehicle's number of the frame.
        capture_time_ns: when the picture was taken, on the vehicle's clock. It is never compared
            with the server's clock.
        image: the picture as it came; None where the message held none.
        vehicle_speed_mps: the vehicle's measured speed, if it sent one.
        arrived_ns: when the message was read, on the server's monotonic clock.

    Attributes:
        invalid: which field of the message is out of its range, and why; None where all are good.
        is_faulty: whether the frame was refused for what it says of itself, before its picture
            counted. Set by the session on arrival.
        stage: where the frame is; the session alone writes it.
        deadline_ns: when the answer is due. Set by the session on arrival, as the next four.
        start_by_ns: when a step has to begin at the latest to meet the deadline.
        turn_ns: orders the frames that wait for a decoder: the deadline, or the earlier one of a
            frame whose turn this one took over.
        served_ns: when the session had its last command; 0 before the first.
        resets_before: resets that the session received before the frame.
        pixels: uint8 [height, width, 3], the network's input. Set by the decoder, as the next
            four.
        undecodable: why there are no pixels; None if there are.
        decode_ns: what decoding took.
        decode_cpu_ns: CPU time of that.
        is_decoded_beside: whether another thread than the event loop's decoded it.
        decode_estimate_ns: CPU time that decoding seems to take by the picture's header. Set on
            arrival by the session's lease, as the next one.
        decode_forecast_ns: the same by what the session's other pictures took besides.
        epoch: the state's epoch with this frame. Set by the session on submission, as the next
            three.
        reset: whether the step begins from the initial state.
        interval_s: seconds between the captures of this frame and of the last one that the state
            has seen; one period of the contract's rate where it has seen none.
        act_in_s: seconds from the capture until the command acts, as the network is told them.
        slot: the session's row of the state pool. Set by the stream on submission, as the next one.
        reply: called with the record when `outcome` is set, on the event loop's thread; it must not
            raise.
        outcome: what the engine made of it. Set by the engine.
        recall_asked: whether the session has asked for the frame back.
        skip: why and how the frame was refused, while its answer waits for those before it.
        is_replayed: whether an earlier session of the vehicle had the frame already.
        stated_act_in_s: seconds from the capture until the command acts, as the vehicle states
            them; None where it does not.
        view_applied: the part of the vehicle's own picture that `image` shows, scaled as the server
            asked; None where it is the whole picture.
        is_for_rings: whether a ticket's state has seen the frame already, and it is stepped again
            for the rings alone.
        state: the recurrent state before the frame, from a ticket; None where the pool has it. Set
            by the session on submission, as the next two.
        saves_state: whether the state after the frame goes into its outcome.
        saves_rings: whether with its rings.
    """

    __slots__ = (
        "_claim",
        "act_in_s",
        "arrived_ns",
        "capture_time_ns",
        "deadline_ns",
        "decode_cpu_ns",
        "decode_estimate_ns",
        "decode_forecast_ns",
        "decode_ns",
        "epoch",
        "image",
        "interval_s",
        "invalid",
        "is_decoded_beside",
        "is_faulty",
        "is_for_rings",
        "is_replayed",
        "outcome",
        "pixels",
        "recall_asked",
        "reply",
        "reset",
        "resets_before",
        "saves_rings",
        "saves_state",
        "sequence_number",
        "served_ns",
        "skip",
        "slot",
        "stage",
        "start_by_ns",
        "state",
        "stated_act_in_s",
        "turn_ns",
        "undecodable",
        "vehicle_speed_mps",
        "view_applied",
    )

    # These have no value before their owner sets them, so that reading one too early is an error.
    deadline_ns: int
    start_by_ns: int
    turn_ns: int
    served_ns: int
    resets_before: int
    epoch: int
    reset: bool
    interval_s: float
    act_in_s: float
    slot: Slot
    reply: Callable[[FrameRecord], None]
    outcome: Outcome

    def __init__(
        self,
        sequence_number: int,
        capture_time_ns: int,
        image: Image | None,
        vehicle_speed_mps: float | None,
        arrived_ns: int,
    ) -> None:
        self.sequence_number = sequence_number
        self.capture_time_ns = capture_time_ns
        self.image = image
        self.vehicle_speed_mps = vehicle_speed_mps
        self.arrived_ns = arrived_ns
        self.invalid: str | None = None
        self.is_faulty = False
        self.stage = Stage.WAITING
        self.pixels = _NO_PIXELS
        self.undecodable: UndecodableError | None = None
        self.decode_ns = 0
        self.decode_cpu_ns = 0
        self.is_decoded_beside = False
        self.decode_estimate_ns = 0.0
        self.decode_forecast_ns = 0.0
        self.recall_asked = False
        self.skip: tuple[SkipReason, str] | None = None
        self.is_replayed = False
        self.stated_act_in_s: float | None = None
        self.view_applied: Applied | None = None
        self.state: bytes | None = None
        self.is_for_rings = False
        self.saves_state = False
        self.saves_rings = True
        self._claim = threading.Lock()

    def move(self, event: Event) -> None:
        """Go to the next stage; an answered frame lets go of its picture at once.

        Under EVERY a refused frame waits for the answers before it, and a message may hold
        megabytes.

        Raises:
            KeyError: the event cannot happen in this stage; a fault of the caller.
        """
        self.stage = stage = TRANSITIONS[self.stage, event]
        if stage is Stage.ANSWERED:
            self.image = None
            self.pixels = _NO_PIXELS

    @property
    def is_claimed(self) -> bool:
        """Whether somebody took the frame; it may be taken right after this was asked."""
        return self._claim.locked()

    def claim(self) -> bool:
        """Take a submitted frame for good; only the first caller, of either thread, gets True."""
        return self._claim.acquire(blocking=False)


@dataclass(slots=True)
class Decode:
    """Decode the frame's picture, then call `decoded`; or call `given_up` if there is no time."""

    record: FrameRecord


@dataclass(slots=True)
class Submit:
    """Give the frame to the engine, then call `finished`."""

    record: FrameRecord


@dataclass(slots=True)
class Recall:
    """Take the frame back if its decoder, or the engine, has not begun; then call `recalled`."""

    record: FrameRecord


@dataclass(slots=True)
class Send:
    """Send an answer or a notice."""

    message: Command | Skip | ExpiringNotice


@dataclass(slots=True)
class End:
    """End the stream with an error."""

    error: StreamError


@dataclass(slots=True)
class Issue:
    """Seal the session's state and send it as a ticket."""

    state: SessionState


Action = Decode | Submit | Recall | Send | Issue | End
"""An action that a session asks for; its stream (`transport/stream.py`) carries it out."""
