"""The pace that a full server asks of its vehicles: a share of the rates that they stated.

A frame that is given up still costs a seventh of one that is answered, for it was received and its
skip is sent. At four times what a server can do that is half of its time. So where no forecast
bounds the load (`max_load` above 1), the server asks the vehicles to send less often, each in
proportion to its rate, until hardly a frame is given up.
"""

from __future__ import annotations

from collections.abc import Sequence

from steerstream_service.admission.rate_meter import FrameCounts

_ALLOWED = 0.05
"""Share of the frames that may be missed. With none the server might do more than is asked of it;
and cameras' phases make some frames come together."""
_MOST_CUT = 1 / 3
"""Part of the pace that one review leaves at least: what was missed before is a poor measure of
what can be done."""
_CALM = 0.01
"""With fewer misses there is room for more."""
_CEILING_RISE = 1.05
"""How fast a pace that was too much is tried again, a second: what a server can do changes."""
_LEAST = 0.01


class Pace:
    """Finds the share of their rates that vehicles should send."""

    def __init__(self) -> None:
        self.share = 1.0
        """The share; 1.0 while the server can do all that is asked."""
        # Below it hardly a frame was missed lately, as far as is known.
        self._ceiling = 1.0
        self._missed = 0.0
        self._settling = False

    def review(self, counts: Sequence[FrameCounts]) -> None:
        """Take what became of the sessions' frames; to be called a few times a second.

        Args:
            counts: of each session, since the last review.
        """
        # A flood must not slow the others down. Frames of a faithful session may come in bunches
        # from a busy server's sockets, and some of them above its rate.
        faithful = [count for count in counts if count.surplus <= count.within]
        frames = sum(count.frames for count in faithful)
        missed = sum(count.missed for count in faithful) / frames if frames else 0.0
        # One stall is over before vehicles learn of it; what lasts for two reviews is load.
        lasting, self._missed = min(missed, self._missed), missed
        if self._settling:
            # Half of these frames were sent before the vehicles knew of the last change.
            self._settling = False
        elif lasting > _ALLOWED:
            self._ceiling = self.share
            self._change(self.share * max(_MOST_CUT, 1.0 - missed))
        elif self.share < 1.0 and missed < _CALM:
            self._ceiling *= _CEILING_RISE
            self._change((self.share + self._ceiling) / 2)

    def _change(self, share: float) -> None:
        self.share = min(1.0, max(_LEAST, share))
        self._settling = True
