"""What one session's pictures cost the server: to be received, and to be decoded.

Every frame costs something, which `frame_cost` measures over all sessions. Its picture comes on
top, and differs by session: a view of 6 kB hardly counts, and a raw picture of 2.8 MB costs more
than all the rest of a frame. So each session answers for its own pictures. Otherwise a few that are
dear would make every session look dear, and those that behave would be let go with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from steerstream_bundle.pictures import Image, JpegImage

_RECEIVE_NS = 0.5
"""CPU time to receive a byte: raw pictures of 0.9 MB and of 2.8 MB took so long."""
_JPEG_NS, _RAW_NS = 6.3, 0.1
"""CPU time to decode a byte, for the first picture of a session: of a JPEG of noise, the dearest
that there is, and of raw pixels."""
_LARGER = 2.0
"""A picture of more than so many times the usual bytes says nothing of what it costs by those that
came before it: a client may send small ones until it is trusted."""
_LOOP_PART = 0.6
"""The event loop's part of receiving."""
_WEIGHT = 0.3
"""Weight of the newest review: a lasting change is known after some three seconds."""
_GUESS_NS = 1_300_000
"""CPU time of a picture that nobody has seen yet: that of a JPEG of 640x480. Too high a guess makes
the last of a crowd wait for a second; too low a guess admits sessions that must leave."""


class PictureTime(NamedTuple):
    """What a picture costs, in nanoseconds.

    Attributes:
        cpu_ns: CPU time of all threads.
        loop_ns: CPU time of the event loop's thread, which is part of it.
    """

    cpu_ns: float
    loop_ns: float

    def plus(self, other: PictureTime, times: float) -> PictureTime:
        """Return the sum of this and so many times another one."""
        return PictureTime(self.cpu_ns + times * other.cpu_ns, self.loop_ns + times * other.loop_ns)


NO_PICTURE = PictureTime(0.0, 0.0)
"""Of a session that looks at pictures which another one pays for."""


def guess(*, in_loop: bool) -> PictureTime:
    """Return what a picture costs before any has been seen.

    Args:
        in_loop: whether pictures are decoded on the event loop's thread.
    """
    return PictureTime(_GUESS_NS, _GUESS_NS if in_loop else 0.0)


def receive_ns(size_bytes: int) -> float:
    """Return the CPU time that it takes to receive a picture."""
    return _RECEIVE_NS * size_bytes


class Spent(NamedTuple):
    """CPU time that pictures took since the last review, in nanoseconds.

    Attributes:
        receive_ns: to receive them, an estimate by their sizes.
        decode_ns: to decode them, as measured.
    """

    receive_ns: float
    decode_ns: float

    def plus(self, other: Spent) -> Spent:
        """Return the sum of both."""
        return Spent(self.receive_ns + other.receive_ns, self.decode_ns + other.decode_ns)

    def since(self, other: Spent) -> Spent:
        """Return what was spent since another sum."""
        return Spent(self.receive_ns - other.receive_ns, self.decode_ns - other.decode_ns)

    def by_thread(self, *, in_loop: bool) -> tuple[PictureTime, PictureTime]:
        """Return the times to receive and to decode by the threads that spent them.

        Args:
            in_loop: whether pictures are decoded on the event loop's thread.
        """
        return (
            PictureTime(self.receive_ns, _LOOP_PART * self.receive_ns),
            PictureTime(self.decode_ns, self.decode_ns if in_loop else 0.0),
        )


NOTHING_SPENT = Spent(0.0, 0.0)


class PictureMeter:
    """Measures what the pictures of one session cost."""

    __slots__ = ("_decode_ns", "_decoded", "_last_ns", "_means", "_receive_ns", "_received")

    def __init__(self) -> None:
        # Of the last two pictures: one alone may have met a stall.
        self._last_ns = (0, 0)
        self._received = self._decoded = self._decode_ns = 0
        self._receive_ns = 0.0
        self._means: list[float | None] = [None, None]

    @property
    def mean(self) -> Spent | None:
        """What one picture costs, as a running mean; None before the first came."""
        receive_ns, decode_ns = self._means
        return None if receive_ns is None else Spent(receive_ns, decode_ns or 0.0)

    def decode_ns(self, image: Image) -> float:
        """Return what it will take to decode a picture.

        The first is judged by its size, and so is one that is far larger than others were. Pictures
        that have just turned dear are believed at once, and only slowly that they are cheap again.
        """
        usual_receive_ns, usual_ns = self._means
        size_bytes, least_ns = image.size_bytes, 0.0
        if usual_ns is not None and usual_receive_ns is not None:
            least_ns = max(usual_ns, min(self._last_ns))
            if receive_ns(size_bytes) <= _LARGER * usual_receive_ns:
                return least_ns
        by_size_ns = size_bytes * (_JPEG_NS if isinstance(image, JpegImage) else _RAW_NS)
        return max(least_ns, by_size_ns)

    def forecast_ns(self, image: Image) -> float:
        """Return what a picture that has just come will cost, to receive and to decode."""
        return receive_ns(image.size_bytes) + self.decode_ns(image)

    def received(self, image: Image) -> None:
        """Count a picture that came, whatever becomes of it."""
        self._received += 1
        self._receive_ns += receive_ns(image.size_bytes)

    def decoded(self, cpu_ns: int) -> None:
        """Count a picture that was decoded, or found to be none."""
        self._decoded += 1
        self._decode_ns += cpu_ns
        self._last_ns = (self._last_ns[1], cpu_ns)

    def review(self) -> Spent:
        """Return what was spent since the last review, update the means, and begin again."""
        spent = Spent(self._receive_ns, self._decode_ns)
        for at, (total_ns, count) in enumerate(
            ((self._receive_ns, self._received), (self._decode_ns, self._decoded))
        ):
            if count:
                mean, newest = self._means[at], total_ns / count
                self._means[at] = newest if mean is None else mean + _WEIGHT * (newest - mean)
        self._received = self._decoded = self._decode_ns = 0
        self._receive_ns = 0.0
        return spent


def typical(sessions: Sequence[tuple[float, PictureTime]]) -> PictureTime:
    """Return the cost that half of the pictures have at most.

    Sessions count by their rates, so that a crowd which sends few dear pictures does not make those
    of newcomers look dear.

    Args:
        sessions: of each, its rate and the cost of its pictures; not none.
    """
    ordered = sorted(sessions, key=lambda session: session[1].cpu_ns)
    half = sum(rate_hz for rate_hz, _ in ordered) / 2
    costs = iter(ordered)
    rate_hz, cost = next(costs)
    while (half := half - rate_hz) > 0:
        rate_hz, cost = next(costs)
    return cost
