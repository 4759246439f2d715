"""What one session's pictures cost the server: to be received, and to be decoded.

Every frame costs something, which `frame_cost` measures over all sessions. Its picture comes on
top, and differs by session: a view of 6 kB hardly counts, and a raw picture of 2.8 MB costs more
than all the rest of a frame. So each session answers for its own pictures. Otherwise a few that are
dear would make every session look dear, and those that behave would be let go with them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from steerstream_bundle import pictures
from steerstream_bundle.contract import FrameInput
from steerstream_bundle.errors import UndecodableError
from steerstream_bundle.jpeg import Work
from steerstream_bundle.pictures import Image, JpegImage
from steerstream_bundle.preprocess import Warp
from steerstream_bundle.view import Applied, Shape

_RECEIVE_NS = 0.5
"""CPU time to receive a byte: raw pictures of 0.9 MB and of 2.8 MB took so long."""
_RAW_EACH_NS, _RAW_NS = 30_000, 0.1
"""CPU time of any raw picture, and to prepare a byte of its pixels. Those that stand upright, as
long as is accepted, take five times that."""
_EACH_NS = 100_000
"""CPU time of any JPEG beside what follows. Otherwise small ones would take twice what they seem,
and the next large one would be believed to do so too."""
_BYTE_NS, _PIXEL_NS, _MADE_PIXEL_NS = 6.3, 0.2, 0.8
"""CPU time to decode a JPEG of one scan: a byte of noise, a pixel of the file that is grey, and a
pixel that comes out. Together they were within a fifth of what noise, roads and grey took, from
200x66 to 2000x1024, and within a half for four times the bytes, without subsampling."""
_SCANS_BYTE_NS, _SCANS_PIXEL_NS = 27.0, 8.3
"""The same of a JPEG of several scans, for as many as are accepted: a progressive picture of noise
took four times as long as one of the same bytes, and each scan 0.13 ns a pixel."""
_LARGER = 2.0
"""A picture that seems to cost more than so many times the usual one is not believed to cost less
than it seems: a client may send others until it is trusted."""
_STALLED = 4.0
"""So many times what they seem to, or less, pictures may take one after the other while a server is
crowded: caches are cold, and the system clears the memory that they need. Three times was seen of
two in a row, and their vehicle had to wait like the crowd that was the cause."""
_LEAST_RATIO, _MOST_RATIO = 0.25, 8.0
"""What pictures cost is this factor away from what they seem to cost at most: beyond it lie files
that are stuffed, and stalls."""
_LOOP_PART = 0.6
"""The event loop's part of receiving."""
_WEIGHT = 0.3
"""Weight of the newest review: a lasting change is known after some three seconds."""
_GUESS_NS = 1_300_000
"""CPU time of a picture that nobody has seen yet: that of a JPEG of 640x480. Too high a guess makes
the last of a crowd wait for a second; too low a guess admits sessions that must leave."""

_Figure = TypeVar("_Figure")


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


def decode_estimate_ns(
    image: Image,
    frame: FrameInput,
    max_pixels: int,
    *,
    applied: Applied | None = None,
    warp: Warp | None = None,
    shape: Shape | None = None,
) -> float:
    """Return the CPU time that it seems to take to decode a picture, by its header.

    Args:
        image: the picture as it came.
        frame: the input that the contract asks for.
        max_pixels: largest picture that is accepted, in pixels after decoding.
        applied: what the vehicle says of the view that it made; None for a whole picture.
        warp: makes the input of pictures of a camera that is not the network's.
        shape: what the vehicle's own pictures have to look like; None where any will do.
    """
    try:
        frame, warp = pictures.check(
            image, frame, max_pixels, applied=applied, warp=warp, shape=shape
        )
        if isinstance(image, JpegImage):
            return _decode_ns(pictures.work(image, frame, warp))
    except UndecodableError:
        return 0.0  # It is refused before it costs anything.
    return _RAW_EACH_NS + _RAW_NS * image.size_bytes


def _decode_ns(work: Work) -> float:
    byte_ns, pixel_ns = (
        (_BYTE_NS, _PIXEL_NS) if work.one_scan else (_SCANS_BYTE_NS, _SCANS_PIXEL_NS)
    )
    read_ns = byte_ns * work.size_bytes + pixel_ns * work.pixels
    return _EACH_NS + read_ns + _MADE_PIXEL_NS * work.made_pixels


class Spent(NamedTuple):
    """CPU time that pictures took since the last review, in nanoseconds.

    Attributes:
        receive_ns: to receive them, an estimate by their sizes.
        decode_ns: to decode them, as measured.
        beside_ns: the part of that which another thread took than the event loop's.
    """

    receive_ns: float
    decode_ns: float
    beside_ns: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """Return the sum of both."""
        return Spent(*map(operator.add, self, other))

    def since(self, other: Spent) -> Spent:
        """Return what was spent since another sum."""
        return Spent(*map(operator.sub, self, other))

    def by_thread(self) -> tuple[PictureTime, PictureTime]:
        """Return the times to receive and to decode by the threads that spent them."""
        return (
            PictureTime(self.receive_ns, _LOOP_PART * self.receive_ns),
            PictureTime(self.decode_ns, self.decode_ns - self.beside_ns),
        )


NOTHING_SPENT = Spent(0.0, 0.0)


class PictureMeter:
    """Measures what the pictures of one session cost."""

    __slots__ = ("_beside", "_decode", "_decoded", "_estimate", "_estimated_ns", "_last", "_ratio",
        "_receive", "_received", "_spent")  # fmt: skip

    def __init__(self) -> None:
        # Running means of one picture, in nanoseconds.
        self._receive: float | None = None
        self._decode: float | None = None
        self._beside: float | None = None
        self._estimate: float | None = None
        # Decoding took so many times the estimates.
        self._ratio: float | None = None
        self._last = (0.0, 0.0, 0.0)
        self._spent = NOTHING_SPENT
        self._received = self._decoded = 0
        self._estimated_ns = 0.0

    @property
    def mean(self) -> Spent | None:
        """What one picture costs, as a running mean; None before the first came."""
        if self._receive is None:
            return None
        return Spent(self._receive, self._decode or 0.0, self._beside or 0.0)

    @property
    def ratio(self) -> float | None:
        """How many times its estimate decoding takes: a running mean, or what the last three took.

        Three in a row that took far more are believed at once, and only slowly that they are cheap
        again. None before the first was decoded.
        """
        newest = min(self._last)
        return self._ratio if newest <= _STALLED else max(self._ratio or 1.0, newest)

    def decode_ns(self, estimate_ns: float) -> float:
        """Return what it will take to decode a picture that seems to take `estimate_ns`.

        What the session's others took tells how far that is off.
        """
        ratio = self.ratio or 1.0
        if self._estimate is None or estimate_ns > _LARGER * self._estimate:
            ratio = max(1.0, ratio)
        return ratio * estimate_ns

    def received(self, image: Image) -> None:
        """Count a picture that came, whatever becomes of it."""
        self._received += 1
        self._spent = self._spent.plus(Spent(receive_ns(image.size_bytes), 0.0))

    def decoded(self, cpu_ns: int, estimate_ns: float, *, beside: bool = False) -> None:
        """Count a picture that was decoded, or found to be none.

        Args:
            cpu_ns: what that took.
            estimate_ns: what it seemed to take.
            beside: whether another thread than the event loop's did it.
        """
        self._decoded += 1
        self._spent = self._spent.plus(Spent(0.0, cpu_ns, cpu_ns if beside else 0.0))
        self._estimated_ns += estimate_ns
        if estimate_ns:
            self._last = (*self._last[1:], _ratio(cpu_ns, estimate_ns))

    def review(self) -> Spent:
        """Return what was spent since the last review, update the means, and begin again."""
        spent = self._spent
        if self._received:
            self._receive = _moved(self._receive, spent.receive_ns / self._received)
        if self._decoded:
            self._decode = _moved(self._decode, spent.decode_ns / self._decoded)
            self._beside = _moved(self._beside, spent.beside_ns / self._decoded)
            self._estimate = _moved(self._estimate, self._estimated_ns / self._decoded)
        if self._estimated_ns:
            newest = _ratio(spent.decode_ns, self._estimated_ns)
            self._ratio = _moved(self._ratio, newest)
        self._spent = NOTHING_SPENT
        self._received = self._decoded = 0
        self._estimated_ns = 0.0
        return spent


def _moved(mean: float | None, newest: float) -> float:
    return newest if mean is None else mean + _WEIGHT * (newest - mean)


def _ratio(measured_ns: float, estimate_ns: float) -> float:
    return min(max(measured_ns / estimate_ns, _LEAST_RATIO), _MOST_RATIO)


def typical(sessions: Sequence[tuple[float, PictureTime]]) -> PictureTime:
    """Return the cost that half of the pictures have at most.

    Sessions count by their rates, so that a crowd which sends few dear pictures does not make those
    of newcomers look dear.

    Args:
        sessions: of each, its rate and the cost of its pictures; not none.
    """
    return _middle(sessions, lambda picture: picture.cpu_ns)


def slowdown(sessions: Sequence[tuple[float, float]]) -> float:
    """Return how many times as long as before it takes to decode half of the pictures.

    A session's pictures are compared by what they seem to take, so those of another kind make no
    difference, and a machine that became slow makes one for all.

    Args:
        sessions: of each, its rate, and how many times as long it takes for those of the session.
    """
    return _middle(sessions, lambda times: times) if sessions else 1.0


def _middle(sessions: Sequence[tuple[float, _Figure]], key: Callable[[_Figure], float]) -> _Figure:
    """Return the figure of the session in the middle, where sessions count by their rates."""
    ordered = sorted(sessions, key=lambda session: key(session[1]))
    half = sum(rate_hz for rate_hz, _ in ordered) / 2
    figures = iter(ordered)
    rate_hz, figure = next(figures)
    while (half := half - rate_hz) > 0:
        rate_hz, figure = next(figures)
    return figure
