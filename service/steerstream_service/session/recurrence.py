"""Keeps account of a session's recurrent state: epochs, steps, and when a new epoch begins."""

from __future__ import annotations

from collections import deque

from steerstream_service.session.frame_stages import FrameRecord
from steerstream_service.session.ticket import SessionState


class Recurrence:
    """The account of one session's recurrent state.

    Args:
        reset_after_ns: a longer gap between two frames that the network saw begins a new epoch.
        period_s: what counts as the interval before an epoch's first frame.
        ring_length: frames that decide what the network's rings hold.
    """

    def __init__(self, reset_after_ns: float, period_s: float, ring_length: int = 0) -> None:
        self.epoch = 0
        """Resets that have taken effect."""
        self.step_count = 0
        """Frames that the state has seen in this epoch."""
        self._reset_after_ns = reset_after_ns
        self._period_s = period_s
        self._applied_resets = 0
        self._seen_capture_ns = 0
        # Of the present epoch, those that came before a ticket left out.
        self._last_seen: deque[int] = deque(maxlen=ring_length)

    @property
    def ring_frames(self) -> tuple[int, ...] | None:
        """Numbers of the frames from which the rings can be made again from the initial state.

        None where not all of them are known, because a ticket held the rings.
        """
        seen = tuple(self._last_seen)
        return seen if len(seen) in {self.step_count, self._last_seen.maxlen} else None

    def resume(self, state: SessionState) -> None:
        """Go on from where an earlier session of the vehicle was."""
        self.epoch, self.step_count = state.epoch, state.step_count
        self._seen_capture_ns = state.capture_time_ns

    def begin(self, record: FrameRecord) -> None:
        """Decide from what state a step begins; `advance` makes it true."""
        resets = record.resets_before - self._applied_resets
        gap_ns = record.capture_time_ns - self._seen_capture_ns
        if record.is_for_rings:
            record.epoch = self.epoch
            record.reset = not self._last_seen
            record.interval_s = self._period_s if record.reset else gap_ns / 1e9
            return
        if resets == 0 and self.step_count > 0:
            # Below zero the vehicle's clock was set back, and nobody knows how long the gap was.
            resets = int(gap_ns > self._reset_after_ns or gap_ns <= 0)
        record.epoch = self.epoch + resets
        record.reset = resets > 0 or self.step_count == 0
        record.interval_s = self._period_s if record.reset else gap_ns / 1e9

    def advance(self, record: FrameRecord) -> None:
        """The frame's step is committed: the state has seen it."""
        if record.reset:
            self._last_seen.clear()
        self._last_seen.append(record.sequence_number)
        self._seen_capture_ns = record.capture_time_ns
        if record.is_for_rings:
            return
        self.epoch = record.epoch
        self.step_count = 1 if record.reset else self.step_count + 1
        self._applied_resets = record.resets_before
