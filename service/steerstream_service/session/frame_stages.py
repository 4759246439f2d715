"""The stages of a frame in its session, and what leads from one to the next.

A frame goes through these stages, and `TRANSITIONS` is all there is to know of them:

```text
WAITING -> DECODING -> DECODED -> SUBMITTED -> ANSWERED
```
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from steerstream_service.domain import Frame, SkipReason


class Stage(enum.IntEnum):
    """Where a frame is."""

    WAITING = enum.auto()
    DECODING = enum.auto()
    DECODED = enum.auto()
    SUBMITTED = enum.auto()
    ANSWERED = enum.auto()


class Event(enum.IntEnum):
    """What can happen to a frame."""

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
        (Stage.DECODING, Event.DECODED): Stage.DECODED,
        (Stage.DECODING, Event.UNDECODABLE): Stage.ANSWERED,
        (Stage.DECODING, Event.EXPIRE): Stage.ANSWERED,
        (Stage.DECODED, Event.SUBMIT): Stage.SUBMITTED,
        (Stage.DECODED, Event.EXPIRE): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.STEP): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.FAIL): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.SUPERSEDE): Stage.ANSWERED,
        (Stage.SUBMITTED, Event.EXPIRE): Stage.ANSWERED,
        # The decoder comes to its end with a frame that was given up meanwhile.
        (Stage.ANSWERED, Event.DECODED): Stage.ANSWERED,
        (Stage.ANSWERED, Event.UNDECODABLE): Stage.ANSWERED,
    }
)
"""The stage after an event. What is not listed cannot happen, and raises KeyError."""


class Pending:
    """A frame that has no answer yet, with what is known of it so far."""

    __slots__ = (
        "deadline_ns",
        "decode_ns",
        "epoch",
        "frame",
        "interval_s",
        "pixels",
        "recall_asked",
        "reset",
        "resets_before",
        "skip",
        "stage",
        "start_by_ns",
    )

    def __init__(
        self, frame: Frame, deadline_ns: int, start_by_ns: int, resets_before: int
    ) -> None:
        self.frame = frame
        self.deadline_ns = deadline_ns
        self.start_by_ns = start_by_ns
        self.resets_before = resets_before
        self.stage = Stage.WAITING
        self.pixels: Any = None
        self.decode_ns = 0
        self.reset = False
        self.interval_s = 0.0
        self.epoch = 0
        self.recall_asked = False
        self.skip: tuple[SkipReason, str] | None = None

    def move(self, event: Event) -> None:
        """Go to the next stage.

        Raises:
            KeyError: the event cannot happen in this stage; a fault of the caller.
        """
        self.stage = TRANSITIONS[self.stage, event]
