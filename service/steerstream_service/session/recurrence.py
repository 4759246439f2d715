"""What the network has seen of a session: epochs, steps, and what begins an epoch anew."""

from __future__ import annotations

from steerstream_service.session.frame_stages import Pending


class Recurrence:
    """The account of one session's recurrent state.

    Args:
        reset_after_ns: a longer gap between two frames that the network saw begins a new epoch.
        period_s: what counts as the interval before an epoch's first frame.
    """

    def __init__(self, reset_after_ns: float, period_s: float) -> None:
        self.epoch = 0
        """Resets that have taken effect."""
        self.step_count = 0
        """Frames that the state has seen in this epoch."""
        self._reset_after_ns = reset_after_ns
        self._period_s = period_s
        self._applied_resets = 0
        self._seen_capture_ns = 0

    def begin(self, pending: Pending) -> None:
        """Decide from what state a step begins; it becomes true with `advance`."""
        resets = pending.resets_before - self._applied_resets
        gap_ns = pending.frame.capture_time_ns - self._seen_capture_ns
        if resets == 0 and self.step_count > 0:
            resets = int(gap_ns > self._reset_after_ns)
        pending.epoch = self.epoch + resets
        pending.reset = resets > 0 or self.step_count == 0
        pending.interval_s = self._period_s if pending.reset else gap_ns / 1e9

    def advance(self, pending: Pending) -> None:
        """The frame's step is committed: the state has seen it."""
        self.epoch = pending.epoch
        self.step_count = 1 if pending.reset else self.step_count + 1
        self._applied_resets = pending.resets_before
        self._seen_capture_ns = pending.frame.capture_time_ns
