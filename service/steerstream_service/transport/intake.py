"""Reads the messages of streams, and lets those that may be large wait for their turns.

A message of 2 MB takes gRPC's thread and the event loop up to 6 ms: it is copied four times, into
memory that the system has to clear first. Where a crowd opens sessions and each sends one at once,
or where large ones come in step, vehicles would wait for all of them. So the first frame
of a session, and those of one that sent larger ones than it was granted, are read when they have
their turn. Others never wait; nor does the message that opens a session.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError

from steerstream.v1 import drive_service_pb2
from steerstream_service.errors import BadTicketError, InvalidFieldError
from steerstream_service.session.ticket import MAX_TICKET_BYTES
from steerstream_service.transport.call_bounds import NO_MESSAGE

_NS_PER_S = 1_000_000_000
_BYTES_A_SECOND = 128 << 20
"""Of messages with turns, in the long run: a third of a core, and all of a gigabit link."""
_BURST_NS = (8 << 20) * _NS_PER_S // _BYTES_A_SECOND
"""So much of that may come at once: 8 MiB, for which no vehicle waits half its budget."""
_LONGEST_DEBT_NS = _NS_PER_S // 4
"""Nobody waits for longer for what came that nobody expected, however much it was."""
_SMALL_BYTES = 256 * 1024
"""Messages up to this size cost nothing here: most JPEGs are smaller."""
_OPENING_BYTES = MAX_TICKET_BYTES + _SMALL_BYTES
"""Only a ticket makes a message large that opens a session."""
_FIRST_FRAME_BYTES = 1024 * 1024
"""Expected of a session's first, of a size that nobody knows. A small one gives it back."""


class Payment:
    """What was paid for a turn.

    Attributes:
        expected_bytes: what it was paid for.
        left_ns: how long the rest of it takes that is not worked off yet.
    """

    __slots__ = ("expected_bytes", "left_ns")

    def __init__(self, expected_bytes: int, left_ns: int) -> None:
        self.expected_bytes = expected_bytes
        self.left_ns = left_ns


_Turn: TypeAlias = tuple[int, asyncio.Future[Payment]]
"""What is expected of a message, and whoever waits to read it."""


class Intake:
    """Gives out turns to read; to be used on the event loop's thread.

    A message is paid for when its turn is given out, as far as it is expected, and for the rest
    when it is there. Payments are worked off in their order, and nobody has a turn while more is
    left of them than may come at once. First frames and others have turns alternately, so that no
    crowd of the ones keeps out the others.
    """

    def __init__(self) -> None:
        # Oldest first; what is left of all of them, as of a time of the monotonic clock.
        self._payments: deque[Payment] = deque()
        self._left_ns = 0
        self._as_of_ns = 0
        # Bounded by the streams that are open: each reads one message at a time.
        self._new: deque[_Turn] = deque()
        self._known: deque[_Turn] = deque()
        self._gave_new = False
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, size_bytes: int, *, is_new: bool) -> Payment:
        """Wait for a turn.

        Args:
            size_bytes: what is expected of the message.
            is_new: whether it is a session's first frame.

        Returns:
            What was paid for it, to be settled when the message is there, or does not come.
        """
        if not self._is_waited_for and not self._wait_ns():
            return self._pay(size_bytes)
        turn: asyncio.Future[Payment] = asyncio.get_running_loop().create_future()
        (self._new if is_new else self._known).append((size_bytes, turn))
        self._give_out()
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # It came together with the cancellation.
                self.settle(turn.result(), 0)
            raise

    def settle(self, payment: Payment | None, size_bytes: int) -> None:
        """Pay for a message what was not expected of it, or have the rest given back.

        Args:
            payment: what was paid for its turn; None where it needed none.
            size_bytes: what it has; 0 for one that did not come.
        """
        missing_bytes = size_bytes - (payment.expected_bytes if payment else 0)
        if missing_bytes > 0:
            self._pay(missing_bytes)
        elif payment:
            self._give_back(payment, -missing_bytes)
        if self._is_waited_for:
            self._give_out()

    @property
    def _is_waited_for(self) -> bool:
        return bool(self._new or self._known)

    def _pay(self, size_bytes: int) -> Payment:
        self._work_off()
        longest_ns = _BURST_NS + _LONGEST_DEBT_NS - self._left_ns
        payment = Payment(size_bytes, min(_duration_ns(size_bytes), longest_ns))
        self._payments.append(payment)
        self._left_ns += payment.left_ns
        return payment

    def _give_back(self, payment: Payment, size_bytes: int) -> None:
        """Give back a part, unless it is worked off: that time has served others already."""
        self._work_off()
        part_ns = min(payment.left_ns, _duration_ns(size_bytes))
        payment.left_ns -= part_ns
        self._left_ns -= part_ns

    def _work_off(self) -> None:
        now_ns = time.monotonic_ns()
        passed_ns, self._as_of_ns = now_ns - self._as_of_ns, now_ns
        while passed_ns and self._payments:
            oldest = self._payments[0]
            part_ns = min(passed_ns, oldest.left_ns)
            passed_ns -= part_ns
            oldest.left_ns -= part_ns
            self._left_ns -= part_ns
            if not oldest.left_ns:
                self._payments.popleft()

    def _wait_ns(self) -> int:
        self._work_off()
        return max(0, self._left_ns - _BURST_NS)

    def _give_out(self) -> None:
        """Give out the turns that are due, and come back for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._is_waited_for:
            if wait_ns := self._wait_ns():
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait_ns / _NS_PER_S, self._give_out)
                return
            self._gave_new = bool(self._new) and not (self._known and self._gave_new)
            size_bytes, turn = (self._new if self._gave_new else self._known).popleft()
            if not turn.done():  # It is where the stream has ended.
                turn.set_result(self._pay(size_bytes))


def _duration_ns(size_bytes: int) -> int:
    return size_bytes * _NS_PER_S // _BYTES_A_SECOND


class Reader:
    """Reads the messages of one stream.

    Args:
        context: the RPC, whose requests are bytes.
        intake: gives out the turns of all streams.
    """

    __slots__ = ("_context", "_expected_bytes", "_granted_bytes", "_intake", "_is_new")

    def __init__(self, context: Any, intake: Intake) -> None:  # noqa: ANN401 - gRPC's, of bytes
        self._context = context
        self._intake = intake
        self._is_new = True
        # Of the next message: no less than any had, or 0 for a stream whose messages are small.
        self._expected_bytes = _FIRST_FRAME_BYTES
        self._granted_bytes = 0

    def grant(self, picture_bytes: int) -> None:
        """Let messages of this size need no turn.

        Args:
            picture_bytes: of a frame that came within its session's rate and grant, and is so in
                the load that the server admitted. Its message may be larger for no reason.
        """
        self._granted_bytes = max(self._granted_bytes, picture_bytes + _SMALL_BYTES)

    def take_grant_back(self) -> None:
        """Let all large messages have turns: a frame came beyond its session's rate or grant."""
        self._granted_bytes = 0

    async def opening(self) -> drive_service_pb2.DriveRequest | None:
        """Return the client's first message, which needs no turn; None where there is none.

        Raises:
            BadTicketError: it is too large, which only a ticket can make it; it was not parsed.
            InvalidFieldError: its bytes are no message of the wire contract.
        """
        data = await self._context.read()
        if not isinstance(data, bytes):
            return None
        if len(data) > _OPENING_BYTES:
            raise BadTicketError(
                f"the first message has {len(data):,} bytes, and may have {_OPENING_BYTES:,}; "
                "open without the ticket"
            )
        return _parsed(data)

    async def read(self) -> drive_service_pb2.DriveRequest | None:
        """Return the client's next message; None where it has closed its side.

        Raises:
            InvalidFieldError: its bytes are no message of the wire contract.
        """
        if self._expected_bytes > self._granted_bytes:
            data, payment = await self._in_turn()
        else:
            data, payment = await self._context.read(), None
        if not isinstance(data, bytes):
            return None
        self._expect(len(data), payment)
        return _parsed(data)

    async def _in_turn(self) -> tuple[object, Payment]:
        """Read when this stream has its turn; have the payment given back if nothing comes."""
        payment = await self._intake.turn(self._expected_bytes, is_new=self._is_new)
        data: object = None
        try:
            data = await self._context.read()
        finally:
            if not isinstance(data, bytes):
                self._intake.settle(payment, 0)
        return data, payment

    def _expect(self, size_bytes: int, payment: Payment | None) -> None:
        """Pay for what is there beyond what was paid, and expect the next message by it."""
        is_beyond = size_bytes > max(_SMALL_BYTES, self._granted_bytes)
        if payment or is_beyond:
            self._intake.settle(payment, size_bytes if is_beyond else 0)
        if size_bytes > _SMALL_BYTES:
            self._expected_bytes = max(self._expected_bytes, size_bytes)
        elif self._is_new:
            self._expected_bytes = 0
        self._is_new = False


def _parsed(data: bytes) -> drive_service_pb2.DriveRequest:
    try:
        return drive_service_pb2.DriveRequest.FromString(data)
    except DecodeError:
        raise InvalidFieldError(NO_MESSAGE) from None
