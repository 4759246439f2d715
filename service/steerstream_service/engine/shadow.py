"""Steps a network beside the one that drives, and compares their values; nobody is sent them.

A shadow session follows one session: it has a row in the shadow's own state pool, and at most one
frame in the engine, whose deadline is later than that of any frame that drives. A frame that comes
while the one before still waits is dropped, and counted. So a shadow never delays a command by more
than a step that has begun, and its share of the load is asked for as a session's is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from steerstream_bundle.contract import Contract
from steerstream_service.domain import NotStepped, Slot, Stepped
from steerstream_service.engine.model_queue import ModelQueue
from steerstream_service.session.frame_stages import FrameRecord

LATER_NS = 1_000_000_000
"""How long a shadow's frame may wait: later than the frames of every session with a budget."""

Submit = Callable[[ModelQueue, FrameRecord], None]


@dataclass(slots=True)
class Difference:
    """How far two networks differ in one head, in its unit."""

    squares: float = 0.0
    largest: float = 0.0

    def add(self, difference: float) -> None:
        """Count a frame's."""
        self.squares += difference * difference
        self.largest = max(self.largest, abs(difference))


@dataclass(slots=True)
class Comparison:
    """What a shadow has found.

    Attributes:
        name: the network that is compared.
        share: of the vehicles whose frames it steps.
        frames: frames that both networks have stepped.
        dropped: frames that the shadow did not step.
        differences: by head, those that both networks have.
        has_ended: whether its shadows take no more frames.
    """

    name: str
    share: float
    frames: int = 0
    dropped: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    has_ended: bool = False

    def rms(self, head: str) -> float:
        """Return the root mean square of a head's difference; 0.0 before the first frame."""
        return math.sqrt(self.differences[head].squares / self.frames) if self.frames else 0.0


class ShadowSession:
    """Follows one session with another network. It belongs to the event loop's thread.

    Args:
        queue: the shadow's.
        slot: its row in the shadow's state pool.
        submit: gives a frame to the engine.
        comparison: gets what is found.
        contracts: of the network that drives, and of the shadow.
    """

    def __init__(
        self,
        queue: ModelQueue,
        slot: Slot,
        submit: Submit,
        comparison: Comparison,
        contracts: tuple[Contract, Contract],
    ) -> None:
        self._queue = queue
        self._slot = slot
        self._submit = submit
        self._comparison = comparison
        driving, shadow = contracts
        self._period_s = 1 / shadow.rate_hz
        self._act_in_s = shadow.act_in_s
        self._columns = _columns(driving, shadow)
        for head in self._columns:
            comparison.differences.setdefault(head, Difference())
        self._shadowing: FrameRecord | None = None
        self._shadow: Sequence[float] | None = None
        self._driven: Sequence[float] | None = None
        self._seen_ns: int | None = None
        self._resets = False

    def submitted(self, record: FrameRecord) -> None:
        """Step a frame too that the session gives to the engine."""
        if self._comparison.has_ended:
            return
        self._resets |= record.reset or self._seen_ns is None
        if self._shadowing is not None:
            self._comparison.dropped += 1
            if self._shadow is None:
                return
            # The session took the frame before back, and no value of it comes any more.
        mine = FrameRecord(
            record.sequence_number,
            record.capture_time_ns,
            None,
            record.vehicle_speed_mps,
            record.arrived_ns,
        )
        mine.pixels = record.pixels
        mine.deadline_ns = record.deadline_ns + LATER_NS
        mine.reset, self._resets = self._resets, False
        mine.interval_s = self._interval_s(record, is_first=mine.reset)
        mine.act_in_s = self._act_in_s(record.stated_act_in_s)
        mine.slot, mine.reply = self._slot, self._replied
        self._seen_ns = record.capture_time_ns
        self._shadowing, self._shadow, self._driven = mine, None, None
        self._submit(self._queue, mine)

    def replied(self, record: FrameRecord) -> None:
        """Take what the network that drives made of a frame."""
        mine, outcome = self._shadowing, record.outcome
        if mine is not None and mine.sequence_number == record.sequence_number:
            self._driven = outcome.outputs if isinstance(outcome, Stepped) else ()
            self._compare()

    def close(self) -> None:
        """Take no further frame; one that a step does not hold yet is taken back."""
        if self._shadowing is not None:
            self._shadowing.claim()

    def _replied(self, record: FrameRecord) -> None:
        outcome = record.outcome
        self._shadow = outcome.outputs if isinstance(outcome, Stepped) else ()
        if isinstance(outcome, NotStepped):
            # The state has not seen the frame.
            self._resets |= record.reset
        self._compare()

    def _compare(self) -> None:
        """Compare a frame's values as soon as both are there."""
        shadow, driven = self._shadow, self._driven
        if shadow is None or driven is None:
            return
        self._shadowing = None
        if not (shadow and driven):
            self._comparison.dropped += 1
            return
        self._comparison.frames += 1
        for head, (at, mine) in self._columns.items():
            self._comparison.differences[head].add(shadow[mine] - driven[at])

    def _interval_s(self, record: FrameRecord, *, is_first: bool) -> float:
        if is_first or self._seen_ns is None:
            return self._period_s
        return (record.capture_time_ns - self._seen_ns) / 1e9


def _columns(driving: Contract, shadow: Contract) -> dict[str, tuple[int, int]]:
    """Return the columns of each head that both have, in the values of a step of each."""
    ours, theirs = ([output.head for output in each.outputs] for each in (driving, shadow))
    return {head: (at, theirs.index(head)) for at, head in enumerate(ours) if head in theirs}
