"""Bounds the calls that are open at once, for each method by itself.

So a crowd of vehicles cannot keep probes from a server that is well, and a crowd of probes cannot
keep vehicles from it. gRPC's own bound, `maximum_concurrent_rpcs`, is one for all methods, and its
refusals look like those of a message that is too large.

A call counts until its client has taken its status. One that lets the server send nothing would
hold a place for as long as it likes, so its connection is ended.

One connection begins calls at a pace: those of a flood wait, and then are refused.

Bytes that are no protobuf message are the client's fault, and end its call as such. gRPC would log
a traceback for each, and tell the client UNKNOWN.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from steerstream_service.telemetry.logs import fields
from steerstream_service.transport.handlers import (
    Behaviour,
    Continuation,
    Handler,
    behaviour_of,
    with_behaviour,
    within,
)
from steerstream_service.transport.hang_up import hang_up
from steerstream_service.transport.pace import LONGEST_NS, Pace

_log = logging.getLogger(__name__)

NO_MESSAGE = "the bytes are no message of this method; see the wire contract"

MOST_REQUESTS = 32
"""Calls whose request may be on its way, each up to the largest message. A request mostly comes
with its call; of more than these the oldest call ends."""
STATUS_S = 5.0
"""From the end of a call's work until its client has taken the status."""
REQUEST_S = 5.0
"""From the start of a call with one request to that request."""
_CALLS_HZ, _CALLS_AT_ONCE = 10.0, 100
"""Calls of a method that one connection may begin: more than any probe, balancer or tool does."""

Abort = Callable[[Any], Awaitable[None]]


class Bound(NamedTuple):
    """The bound of one method.

    Attributes:
        most: calls that may be open.
        make_room: what makes room for a call beyond them, or aborts it.
        pace: how fast one connection may begin calls.
        refuse: aborts a call beyond the pace.
        takes_bytes: whether the method reads its requests as bytes.
    """

    most: int
    make_room: Abort
    pace: Pace
    refuse: Abort
    takes_bytes: bool = False


def plain_bound(most: int) -> Bound:
    """Return the bound of a method where calls beyond it are refused."""
    return Bound(most, refuse, Pace(_CALLS_HZ, _CALLS_AT_ONCE), _refuse_fast)


class _Call:
    """An open call."""

    __slots__ = ("is_stuck", "method", "peer", "timer")

    def __init__(self, method: str, peer: str) -> None:
        self.method = method
        self.peer = peer
        self.timer: asyncio.TimerHandle | None = None
        self.is_stuck = False


_say_ending: ContextVar[Callable[[], None]] = ContextVar("_say_ending", default=lambda: None)


def say_ending() -> None:
    """To be called by a method before it sends its status, for which gRPC may wait for ever."""
    _say_ending.get()()


class CallBounds(grpc.aio.ServerInterceptor):
    """Refuses calls of a method of which there are enough, or which come too fast.

    Args:
        most: open calls of each method that is not in `own`.
        own: the bounds of some methods, by full name.
        count_call: is called for each call and each answer of reflection, which all cost CPU time.
    """

    def __init__(self, most: int, own: Mapping[str, Bound], count_call: Callable[[], None]) -> None:
        self._own = own
        self._other = plain_bound(most)
        self._count_call = count_call
        self._open: Counter[str] = Counter()
        # Bounded by the streams of a connection, and by those.
        self._calls: set[_Call] = set()
        # Calls whose one request has not come; oldest first.
        self._requests: dict[asyncio.Timeout, None] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Return the handler of a call, which counts it; see gRPC's documentation."""
        self._count_call()
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        behaviour = behaviour_of(handler)
        if not handler.request_streaming:
            # gRPC would wait for the one request before it calls the handler: for ever, if that
            # does not come, and without counting the call. To the client it makes no difference.
            behaviour = self._with_one_request(behaviour)
        method = handler_call_details.method
        bounded = self._bounded(method, behaviour)
        takes_bytes = self._bound(method).takes_bytes
        return with_behaviour(handler, bounded, takes_stream=True, takes_bytes=takes_bytes)

    def _bound(self, method: str) -> Bound:
        return self._own.get(method, self._other)

    def _begin(self, method: str, context: Any) -> _Call:  # noqa: ANN401 - any method's context
        """Count a call until its status is sent, or its connection ends."""
        call = _Call(method, context.peer())
        context.add_done_callback(partial(self._ended, call))
        self._open[method] += 1
        self._calls.add(call)
        _say_ending.set(partial(self._ending, call))
        return call

    def _ending(self, call: _Call) -> None:
        """A call has nothing left to do but to send its status."""
        if call in self._calls and call.timer is None:
            loop = asyncio.get_running_loop()
            call.timer = loop.call_later(STATUS_S, self._not_taken, call)

    def _ended(self, call: _Call, _: object) -> None:
        self._calls.discard(call)
        self._open[call.method] -= 1
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None  # it keeps the call's context, which keeps the call

    def _not_taken(self, call: _Call) -> None:
        """End a connection most of whose calls do not even take their status.

        Others of them may be those of a proxy's other vehicles.
        """
        call.is_stuck = True
        calls = [each for each in self._calls if each.peer == call.peer]
        if 2 * sum(each.is_stuck for each in calls) > len(calls):
            is_ended = hang_up(call.peer)
            _log.warning("hung_up", extra=fields(peer=call.peer, calls=len(calls), ended=is_ended))

    def _bounded(self, method: str, behaviour: Behaviour) -> Behaviour:
        bound = self._bound(method)

        @contextlib.asynccontextmanager
        async def place(context: Any) -> AsyncIterator[None]:  # noqa: ANN401
            await _keep_pace(bound, context)
            call = self._begin(method, context)
            try:
                if self._open[method] > bound.most:
                    await bound.make_room(context)
                yield
            except DecodeError:
                await _abort_no_message(context)
            finally:
                self._ending(call)

        async def counted(requests: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
            async for answer in behaviour(_paced(requests, bound, context), context):
                self._count_call()
                yield answer

        return within(counted if inspect.isasyncgenfunction(behaviour) else behaviour, place)

    def _with_one_request(self, behaviour: Behaviour) -> Behaviour:
        """Return what a method does with its one request, as a function of a stream of them."""

        async def call(_: object, context: Any) -> Any:  # noqa: ANN401 - any method's context
            try:
                async with asyncio.timeout(REQUEST_S) as time_left:
                    request = await self._request(context, time_left)
            except TimeoutError:
                text = f"no request came within {REQUEST_S:g} s, or too many calls wait for theirs"
                say_ending()
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
            if request is grpc.aio.EOF:
                await _abort_no_message(context)
            return await behaviour(request, context)

        return call

    async def _request(self, context: Any, time_left: asyncio.Timeout) -> Any:  # noqa: ANN401
        self._requests[time_left] = None
        try:
            if len(self._requests) > MOST_REQUESTS:
                oldest = next(iter(self._requests))
                del self._requests[oldest]
                oldest.reschedule(asyncio.get_running_loop().time())
            return await context.read()
        finally:
            self._requests.pop(time_left, None)


async def _keep_pace(bound: Bound, context: Any) -> None:  # noqa: ANN401
    wait_ns = bound.pace.wait_ns(context.peer(), time.monotonic_ns())
    if wait_ns is None:
        await bound.refuse(context)
    elif wait_ns:
        await asyncio.sleep(wait_ns / 1e9)


async def _paced(requests: Any, bound: Bound, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401
    """Yield the requests of a stream no faster than calls of it could come."""
    is_first = True
    async for request in requests:
        if not is_first:
            wait_ns = bound.pace.wait_ns(context.peer(), time.monotonic_ns())
            await asyncio.sleep(LONGEST_NS / 1e9 if wait_ns is None else wait_ns / 1e9)
        is_first = False
        yield request


async def _abort_no_message(context: Any) -> None:  # noqa: ANN401 - any method's context
    say_ending()
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, NO_MESSAGE)


async def refuse(context: Any) -> None:  # noqa: ANN401 - any method's context
    """Refuse a call beyond its method's bound."""
    say_ending()
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this method are open; try again"
    )


async def _refuse_fast(context: Any) -> None:  # noqa: ANN401 - any method's context
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "calls of this method come too fast; slow down"
    )
