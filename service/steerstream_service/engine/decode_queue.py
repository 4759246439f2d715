"""The frames that wait for a decoder: which is decoded next, and which are given up instead.

Decoding a picture takes as long as the network, and it is in vain if the answer comes late. So the
queue forecasts when a frame that comes now would be answered: after those before it, each taking as
long to decode as its session's pictures do, and with all else as long as the last ones took. That
is how long the whole server was busy with a frame, so it counts reading, steps and answers too. If
the forecast is too late, one frame is given up at once, before it costs anything more: of the
frames up to the late one, that of the session that had a command last. So beyond capacity the
server goes on answering as many frames as it can, and every session gets the same share of its
time: one whose pictures take ten times as long waits for its next turn as long as all would take if
each took so long.

Frames are decoded in the order of their deadlines. A frame that supersedes one that waits takes
over its turn, or a camera that is faster than the queue would wait for ever. Long pictures never
have all the decoders, if there are several: others wait for one of them at most. Where pictures are
decoded on the event loop's thread, long ones have a thread of their own, one at a time: a
progressive picture would hold the loop up for 50 ms.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from steerstream_service.session.frame_stages import FrameRecord

_WEIGHT = 0.1
"""Weight of the newest measurement: a lasting change is known after some 20 frames."""
_MAX_RATIO = 4.0
"""A measurement counts as at most this many times the mean: one stall does not look like load."""
_FILLED = 0.8
"""Part of the time until its step that a frame may wait by the forecast. The rest is for the steps
of those before it, which take several frames at once, and for stalls. A smaller part gives frames
up in a short crowd that would all have been answered; a larger one is late after each stall."""
_ALWAYS = 2
"""Frames a decoder that wait regardless of the forecast. A forecast that was once too long gets
corrected by them."""

_LONG_NS = 5_000_000
"""A picture that takes longer than this is long: a JPEG of 640x480 takes 1 ms, one of 1920x1080 up
to 27."""

Call = Callable[[FrameRecord], None]


class Decoding(Protocol):
    """A picture that is decoded, or waits for it: what a `Future` can do as well."""

    def cancel(self) -> bool:
        """Take it back; returns False where it has begun."""

    def cancelled(self) -> bool:
        """Whether it was taken back."""

    def exception(self) -> BaseException | None:
        """Return what decoding raised; to be called when it is done."""

    def add_done_callback(self, fn: Callable[[Any], object], /) -> None:
        """Call a function with this object when it is done, on the thread that decoded."""


class Decoders(Protocol):
    """What decodes pictures: what an `Executor` can do as well."""

    def submit(self, fn: Call, record: FrameRecord, /) -> Decoding:
        """Call a function with a record, on any thread."""

    def shutdown(self, *, cancel_futures: bool = False) -> None:
        """Decode nothing more; see `Executor`."""


@dataclass(slots=True, eq=False)
class _Entry:
    record: FrameRecord
    decode: Call
    done: Callable[[FrameRecord, BaseException | None], None]
    give_up: Call
    since_ns: int
    decoding: Decoding | None = None


class DecodeQueue:
    """Gives frames to decoders, the most urgent first; belongs to the event loop's thread.

    Args:
        executor: runs the decoders.
        decoders: how many run at once.
        clock: monotonic, in nanoseconds; None for this machine's.
        beside: decodes long pictures, so that the executor has none; None where that has them.
    """

    def __init__(
        self,
        executor: Decoders,
        decoders: int,
        clock: Callable[[], int] | None = None,
        *,
        beside: Decoders | None = None,
    ) -> None:
        self._executor = executor
        self._beside = beside
        self._decoders = decoders
        self._clock = clock or time.monotonic_ns
        # Bounded by the sessions: each has at most one frame here.
        self._waiting: list[_Entry] = []
        self._running: dict[FrameRecord, _Entry] = {}
        self._frame_ns = 0.0
        self._started_ns = 0
        self._last_decode_ns = 0.0
        # Of the event loop, known with the first frame: to ask for it is a call of the kernel.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def frame_ns(self) -> int:
        """How long the server takes for a frame when others wait, without decoding it.

        It is 0 before it was measured.
        """
        return int(self._frame_ns)

    def put(
        self,
        record: FrameRecord,
        decode: Call,
        done: Callable[[FrameRecord, BaseException | None], None],
        give_up: Call,
    ) -> None:
        """Let a frame be decoded; exactly one of `done` and `give_up` is called, on this thread.

        Neither is called for a frame that was taken back.

        Args:
            record: the frame.
            decode: decodes it, on any thread.
            done: called after that, with what `decode` raised.
            give_up: called if the frame is not decoded because its answer would be late.
        """
        now_ns = self._clock()
        entry = _Entry(record, decode, done, give_up, now_ns)
        at = bisect_right(self._waiting, record.turn_ns, key=_turn) if self._waiting else 0
        self._waiting.insert(at, entry)
        if len(self._running) + at + 1 > _ALWAYS * self._decoders:
            self._keep_budget(entry, self._waiting[: at + 1], now_ns)
        self._fill()

    def take_back(self, record: FrameRecord) -> bool:
        """Take a frame back; returns False if its decoding has begun, or it was given up."""
        running = self._running.get(record)
        if running is not None:
            if running.decoding is None or not running.decoding.cancel():
                return False
            del self._running[record]
            running.decoding = None
            self._fill()
            return True
        for at, entry in enumerate(self._waiting):
            if entry.record is record:
                del self._waiting[at]
                return True
        return False

    def _keep_budget(self, entry: _Entry, waiting: Sequence[_Entry], now_ns: int) -> None:
        """Give a frame up where a new one would be late, one of those up to that."""
        until = [*self._running.values(), *waiting]
        if self._beside is not None:
            # Short and long ones do not wait for each other.
            is_long = _is_long(entry)
            until, waiting = (
                [each for each in entries if _is_long(each) == is_long]
                for entries in (until, waiting)
            )
        if len(until) > _ALWAYS * self._decoders and self._is_too_late(entry, until, now_ns):
            self._give_up(max(waiting, key=partial(_next_turn_ns, len(until))))

    def _is_too_late(self, entry: _Entry, until: Sequence[_Entry], now_ns: int) -> bool:
        record = entry.record
        latest_ns = record.arrived_ns + _FILLED * (record.start_by_ns - record.arrived_ns)
        decode_ns = sum(each.record.decode_forecast_ns for each in until) / self._decoders
        return now_ns + len(until) * self._frame_ns + decode_ns > latest_ns

    def _give_up(self, entry: _Entry) -> None:
        self._waiting.remove(entry)
        asyncio.get_running_loop().call_soon(entry.give_up, entry.record)

    def _fill(self) -> None:
        while (entry := self._next()) is not None:
            now_ns = self._clock()
            if now_ns + self._least_ns(entry.record) > entry.record.start_by_ns:
                self._give_up(entry)
            else:
                self._waiting.remove(entry)
                self._start(entry, now_ns)

    def _next(self) -> _Entry | None:
        """Return the most urgent frame for which there is a decoder."""
        if not self._running or not self._waiting:
            return self._waiting[0] if self._waiting else None
        long = sum(map(_is_long, self._running.values()))
        short = len(self._running) - long
        if self._beside is not None:
            takes_short, takes_long = short < self._decoders, not long
        else:
            takes_short = short + long < self._decoders
            takes_long = takes_short and (not long or long < self._decoders - 1)
        return next(
            (each for each in self._waiting if (takes_long if _is_long(each) else takes_short)),
            None,
        )

    def _least_ns(self, record: FrameRecord) -> float:
        # Never more than half of the time that the frame had, so that a cost that looks too high
        # lets frames through that correct it.
        return min(record.decode_forecast_ns, (record.start_by_ns - record.arrived_ns) / 2)

    def _start(self, entry: _Entry, now_ns: int) -> None:
        self._running[entry.record] = entry
        if self._loop is None:
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        if self._beside is not None and _is_long(entry):
            executor = self._beside
        else:
            executor = self._executor
            self._measure(entry, now_ns)
        decoding = executor.submit(entry.decode, entry.record)
        loop, thread = self._loop, self._thread

        def finished(decoding: Decoding) -> None:
            if decoding.cancelled():
                return
            # One that was done before it got this callback is dealt with after its start.
            if threading.get_ident() == thread and entry.decoding is not None:
                self._finished(entry, decoding)
            else:
                loop.call_soon_threadsafe(self._finished, entry, decoding)

        decoding.add_done_callback(finished)
        entry.decoding = decoding

    def _measure(self, entry: _Entry, now_ns: int) -> None:
        if entry.since_ns <= self._started_ns:
            # It has waited since the one before began, so that took the server's time until now.
            took_ns = now_ns - self._started_ns - self._last_decode_ns / self._decoders
            self._frame_ns = _mean(self._frame_ns, max(0.0, took_ns))
        self._started_ns = now_ns
        self._last_decode_ns = entry.record.decode_forecast_ns

    def _finished(self, entry: _Entry, decoding: Decoding) -> None:
        del self._running[entry.record]
        # It keeps what it calls, so it and the entry would keep each other, and the picture, until
        # the next collection of garbage.
        entry.decoding = None
        entry.done(entry.record, decoding.exception())
        self._fill()


def _mean(mean: float, newest: float) -> float:
    return mean + _WEIGHT * (min(newest, _MAX_RATIO * mean) - mean) if mean else float(newest)


def _turn(entry: _Entry) -> int:
    return entry.record.turn_ns


def _is_long(entry: _Entry) -> bool:
    return entry.record.decode_forecast_ns > _LONG_NS


def _next_turn_ns(sessions: int, entry: _Entry) -> float:
    """Return when a session's turn would come again if all took as long as it does."""
    return entry.record.served_ns + sessions * entry.record.decode_forecast_ns
