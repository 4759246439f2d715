"""How long after its picture a command acts: what a network is told that steers for that moment.

A live session measures it, from each picture's capture to the command that answers it, and takes
the mean of the last answers. The mean, and no high quantile: the vehicle adds up the commands that
acted a little sooner and a little later than was said, so what is right on average steers right,
while a delay that is always said too long has the vehicle cut every bend.
"""

from __future__ import annotations

import dataclasses
import logging

from steerstream.arguments import finite_number

MAX_ACT_IN_MS = 10_000.0
"""The longest time that the wire carries."""

_WEIGHT = 0.1
"""Of the newest answer: at 20 Hz a lasting change is followed within half a second, and jitter is
reduced to a quarter."""
_LONGEST_AGE_NS = 1_000_000_000
"""A picture that seems older when it is sent has its capture time from another clock."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ActingDelay:
    """What a vehicle knows of the time from a picture until its command acts.

    Attributes:
        fixed_ms: what is stated with every frame, in place of what is measured; 0 where the network
            is to steer for the moment of the picture. None to measure it, in a live session.
        camera_ms: from the exposure of a picture to its capture time, or to its sending where the
            session is not given capture times; it is added to what is measured.
        actuator_ms: from a command's arrival until the wheels have done what it says; it is added
            to what is measured.

    Raises:
        BadRequest: a time is no number, or not from 0 to 10,000 ms.
    """

    fixed_ms: float | None = None
    camera_ms: float = 0.0
    actuator_ms: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                finite_number(field.name, value, low=0.0, high=MAX_ACT_IN_MS)


class DelayMeter:
    """Measures one vehicle's delay, over all of its servers.

    Args:
        known: what the vehicle knows of it.
        live: whether capture times run as the client's clock does; otherwise nothing is measured,
            so that a recording's answers do not depend on how fast this machine is.
    """

    def __init__(self, known: ActingDelay, *, live: bool) -> None:
        self._known = known
        self._live = live
        self._mean_ms: float | None = None
        self._has_warned = False

    def stated_ms(self, asked_ms: float | None, max_ms: float) -> float | None:
        """Return what to state with the next frame; None for nothing.

        Args:
            asked_ms: what the caller states for this frame; None for nothing.
            max_ms: the longest that the network was trained with; 0 where it is not told.
        """
        if asked_ms is not None:
            return asked_ms
        if not max_ms:
            return None
        if self._known.fixed_ms is not None:
            return self._known.fixed_ms
        if not self._live:
            return None
        wanted_ms = (self._mean_ms or 0.0) + self._known.camera_ms + self._known.actuator_ms
        if wanted_ms > max_ms and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "commands act %.0f ms after their pictures, and the network was trained for "
                "%.0f ms at most; it is told that",
                wanted_ms, max_ms,
            )  # fmt: skip
        return min(wanted_ms, max_ms)

    def answered(
        self, *, capture_time_ns: int, sent_ns: int, received_ns: int, max_ms: float
    ) -> None:
        """Note a fresh command.

        Args:
            capture_time_ns: of its picture, by the vehicle's clock.
            sent_ns: when the frame was sent, by the client's clock.
            received_ns: when the command came, by the same.
            max_ms: the longest delay that the network was trained with, as which longer ones count.
        """
        taken_ms = (received_ns - sent_ns + age_ns(capture_time_ns, sent_ns)) / 1e6
        taken_ms = min(max(taken_ms, 0.0), max_ms)
        mean_ms = taken_ms if self._mean_ms is None else self._mean_ms
        self._mean_ms = mean_ms + _WEIGHT * (taken_ms - mean_ms)

    def to_apply_ms(self, stated_ms: float | None, picture_age_ns: int, max_ms: float) -> float:
        """Return how long after its sending a frame's command is meant to be applied.

        Args:
            stated_ms: what was stated with the frame.
            picture_age_ns: how old its picture was then.
            max_ms: the longest that the network was trained with; 0 where it is not told.
        """
        if stated_ms is None:
            return 0.0
        beside_ms = self._known.camera_ms + self._known.actuator_ms + picture_age_ns / 1e6
        return max(0.0, min(stated_ms, max_ms) - beside_ms)


def age_ns(capture_time_ns: int, sent_ns: int) -> int:
    """Return how old a picture was when it was sent; 0 where its clock is not the client's."""
    found_ns = sent_ns - capture_time_ns
    return found_ns if 0 <= found_ns <= _LONGEST_AGE_NS else 0
