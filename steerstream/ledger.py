"""The frames of a session that have no answer yet; it has no socket and no clock."""

from __future__ import annotations

import asyncio
import dataclasses

from steerstream.answers import FrameAnswer
from steerstream.arguments import whole_number
from steerstream.capture_time import MAX_AHEAD_NS, CaptureLead
from steerstream.errors import BadRequest, ProtocolError, SessionEnded

MAX_NUMBER = (1 << 64) - 1
"""Largest sequence number and capture time that the wire carries."""


@dataclasses.dataclass(frozen=True, slots=True)
class InFlight:
    """A frame without its answer.

    Attributes:
        sequence_number: its number.
        capture_time_ns: when it was taken.
        sent_ns: when it was given to the transport.
        waiter: takes the answer; None if the session's iterator yields it.
    """

    sequence_number: int
    capture_time_ns: int
    sent_ns: int
    waiter: asyncio.Future[FrameAnswer] | None


class Ledger:
    """Numbers frames and matches answers with them.

    Args:
        live: whether capture times must run as the client's clock does.
        first_number: the first frame's number, and the least that it may have.
    """

    def __init__(self, *, live: bool = True, first_number: int = 0) -> None:
        self._lead = CaptureLead() if live else None
        self._in_flight: dict[int, InFlight] = {}
        self._next_sequence_number = first_number
        self._next_capture_time_ns = 0
        self.answers_taken = 0
        """Answers that were matched with their frames."""

    def __len__(self) -> int:
        return len(self._in_flight)

    def enter(
        self,
        sequence_number: int | None,
        capture_time_ns: int | None,
        now_ns: int,
        waiter: asyncio.Future[FrameAnswer] | None,
    ) -> InFlight:
        """Number a frame that is about to be sent.

        Args:
            sequence_number: its number; None for one more than the last.
            capture_time_ns: when it was taken, in nanoseconds; None for now.
            now_ns: the time by the client's clock, in nanoseconds.
            waiter: takes the answer; None if the session's iterator yields it.

        Raises:
            BadRequest: its number or its capture time is no whole number, does not go up, does not
                fit the wire, or cannot be true; then nothing has changed.
        """
        whole_number(
            "the clock's time",
            now_ns,
            low=0,
            high=MAX_NUMBER,
            hint="connect() takes a clock of nanoseconds, such as time.monotonic_ns",
        )
        number = _going_up(
            "sequence_number",
            self._next_sequence_number if sequence_number is None else sequence_number,
            least=self._next_sequence_number,
            hint="or leave it out",
        )
        # Two frames may be sent within one tick of a coarse clock.
        now_or_next_ns = max(now_ns, self._next_capture_time_ns)
        captured_ns = _going_up(
            "capture_time_ns",
            now_or_next_ns if capture_time_ns is None else capture_time_ns,
            least=self._next_capture_time_ns,
            hint="take it from one monotonic clock, or leave it out",
        )
        self._check_clock(captured_ns, now_ns, is_given=capture_time_ns is not None)
        self._next_sequence_number = number + 1
        self._next_capture_time_ns = captured_ns + 1
        frame = InFlight(number, captured_ns, now_ns, waiter)
        self._in_flight[number] = frame
        return frame

    def _check_clock(self, captured_ns: int, now_ns: int, *, is_given: bool) -> None:
        """Check that capture times do not run ahead of the client's clock."""
        if self._lead is None:
            return
        ahead_ns = self._lead.ahead_ns(captured_ns, now_ns)
        if not is_given:
            # An earlier frame had a capture time that the client's clock has yet to reach.
            ahead_ns = max(ahead_ns, captured_ns - now_ns)
        if ahead_ns > MAX_AHEAD_NS:
            raise BadRequest(
                f"capture_time_ns runs {ahead_ns / 1e9:,.0f} s ahead of the client's clock; take "
                "every frame's from one monotonic clock, in nanoseconds, or leave all of them out; "
                "for a recording or a simulator with its own time, open the session with "
                "live=False"
            )
        self._lead.begin(captured_ns, now_ns)

    def waiting(self, sequence_number: int) -> InFlight:
        """Return the frame that an answer belongs to.

        Raises:
            ProtocolError: no such frame waits for an answer.
        """
        frame = self._in_flight.get(sequence_number)
        if frame is None:
            raise ProtocolError(
                f"the server answered frame {sequence_number}, which waits for no answer; "
                "check the server's version"
            )
        return frame

    def settle(self, sequence_number: int) -> InFlight:
        """Take out the frame that an answer belongs to; see `waiting`."""
        frame = self.waiting(sequence_number)
        del self._in_flight[sequence_number]
        self.answers_taken += 1
        return frame

    def holds(self, sequence_number: int) -> bool:
        """Return whether a frame waits for its answer."""
        return sequence_number in self._in_flight

    @property
    def oldest(self) -> InFlight | None:
        """The frame that waits longest; None if none does."""
        return next(iter(self._in_flight.values()), None)

    def fail(self, error: SessionEnded) -> None:
        """Tell every caller that waits for an answer that none will come for it."""
        for frame in self._in_flight.values():
            if frame.waiter is not None and not frame.waiter.done():
                frame.waiter.set_exception(error)
                # A caller that was cancelled does not read the exception.
                frame.waiter.exception()

    def abandon(self) -> list[InFlight]:
        """Take out all frames: no more answers come."""
        left = list(self._in_flight.values())
        self._in_flight.clear()
        return left


def _going_up(name: str, value: object, *, least: int, hint: str) -> int:
    """Return a number of a frame that is above the one of the frame before.

    Args:
        name: the argument's name, for the error's text.
        value: what was passed.
        least: one more than the number of the frame before; 0 for the first.
        hint: what to do, for the error's text.

    Raises:
        BadRequest: it is no whole number that fits the wire, or does not go up.
    """
    number = whole_number(name, value, low=0, high=MAX_NUMBER, hint=hint)
    if number < least:
        raise BadRequest(
            f"{name} must be above the last frame's, {least - 1}, not {number}; {hint}"
        )
    return number
